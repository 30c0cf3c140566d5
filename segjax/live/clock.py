"""Time and threads: all waiting of the loop goes through here, so that a test can script it."""

import os
import sys
import threading
import time
from collections.abc import Callable

_BOOT_TIME = getattr(time, "CLOCK_BOOTTIME", None) or getattr(time, "CLOCK_MONOTONIC", None)

_PROCESSORS = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class Clock:
    """The machine's time, and threads that run by it."""

    def now(self) -> float:
        """Seconds; they pass while the machine is suspended, too, unlike `time.perf_counter`'s:
        a picture from before is old afterwards."""
        return time.perf_counter() if _BOOT_TIME is None else time.clock_gettime(_BOOT_TIME)

    def cpu(self) -> float:
        """Seconds of all processors together that this process has taken: 1 a second is all."""
        return time.process_time() / _PROCESSORS

    def sleep(self, seconds: float) -> None:
        """Waits."""
        time.sleep(seconds)

    def condition(self) -> threading.Condition:
        """Something to wait for, with `wait_for`."""
        return threading.Condition()

    def start(self, work: Callable[[], None], name: str) -> threading.Thread:
        """Runs `work` in a thread that does not keep the process alive."""
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        return thread

    def join(self, thread: threading.Thread, timeout_s: float) -> bool:
        """Waits for a thread's end; False if it goes on for longer than `timeout_s`."""
        thread.join(timeout_s)
        return not thread.is_alive()
