"""A thread that does one thing after another."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class Worker:
    """Like an executor with one thread, but the process does not wait for it at its end: a step
    that never returns would keep it alive for good."""

    def __init__(self, name: str) -> None:
        self._tasks: queue.SimpleQueue[tuple[Future, Callable, tuple] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future:
        """Has it done after all that was submitted before."""
        future: Future = Future()
        self._tasks.put((future, work, arguments))
        return future

    def close(self) -> None:
        """Ends the thread after what was submitted."""
        self._tasks.put(None)

    def _run(self) -> None:
        while task := self._tasks.get():
            future, work, arguments = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work(*arguments))
            except BaseException as error:
                future.set_exception(error)
            del task, future, work, arguments  # while it waits, it holds nobody's frame
