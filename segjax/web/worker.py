"""A thread that does one thing after another."""

import atexit
import itertools
import queue
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

END_S = 1.0
"""How long the process's end waits for what is being done."""


class Worker:
    """Like an executor with one thread, but the process does not wait for it for long at its end: a
    step that never returns would keep it alive for good."""

    def __init__(self, name: str) -> None:
        self._tasks: queue.PriorityQueue[tuple[int, int, Callable[[], None]]] = (
            queue.PriorityQueue()
        )
        self._numbers = itertools.count()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        with _lock:
            _workers.add(self)

    def submit(self, work: Callable[..., Any], *arguments: Any, urgent: bool = True) -> Future[Any]:
        """Has it done after all that was submitted before, or, if it is not `urgent`, when nothing
        else is to be done."""
        future: Future[Any] = Future()

        def do() -> None:
            try:
                future.set_result(work(*arguments))
            except BaseException as error:
                future.set_exception(error)

        self._tasks.put((0 if urgent else 1, next(self._numbers), do))
        return future

    def close(self) -> None:
        """Ends the thread after what is under way and what is urgent."""
        self._tasks.put((0, next(self._numbers), _end))

    def ended(self, within_s: float) -> bool:
        """Whether the thread ends in that time, after `close`."""
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            *_, do = self._tasks.get()
            if do is _end:
                return
            do()
            del do  # while it waits, it holds nobody's frame


_workers: weakref.WeakSet[Worker] = weakref.WeakSet()
_lock = threading.Lock()


def end_all(within_s: float = END_S) -> bool:
    """Closes all that there are; whether they ended in that time.

    Python ends by aborting where a thread comes back from compiled code after it: whoever is told
    that one goes on ends by `os._exit`.
    """
    with _lock:
        workers, until_s = list(_workers), time.monotonic() + within_s
    for worker in workers:
        worker.close()
    return all(worker.ended(max(0.0, until_s - time.monotonic())) for worker in workers)


atexit.register(end_all)


def _end() -> None:
    pass
