"""From the gate to one sink."""

import contextlib
import threading
import time
from collections.abc import Callable
from types import TracebackType

from segjax.live.channel import Channel, Closed
from segjax.live.clock import Clock
from segjax.live.frames import Frame, Output, Sink
from segjax.live.timings import Timings

QUEUED = 2
"""Outputs that may wait for a sink: enough to overlap, few enough to stay prompt."""

IDLE_S = 0.02
"""How long is waited for an output before a window is looked after again."""

REST_S = 0.2
"""The same for other sinks, and for the main thread where there is no window."""


class Feed:
    """Gives one sink its outputs, at their own times if it is `paced`.

    For a live source, what the sink is too slow for is given up, the oldest first, and what became
    too old meanwhile: `lets_out` says. `changed` is told when it is over.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        live: bool,
        lets_out: Callable[[Output], bool],
        timings: Timings,
        clock: Clock,
        changed: threading.Condition,
    ) -> None:
        self.sink = sink
        self.over = False
        """Whether it takes nothing more."""
        self.error: BaseException | None = None
        self._channel: Channel[Output] = Channel(QUEUED, newest_only=live, clock=clock)
        self._lets_out = lets_out
        self._timings = timings
        self._clock = clock
        self._changed = changed
        self._idle_s = IDLE_S if sink.main_thread else REST_S
        self._pace = Pace() if sink.paced and not live else None
        self._hurried = self._exited = False

    @property
    def dropped(self) -> int:
        """Outputs that the sink was too slow for."""
        return self._channel.dropped

    def put(self, output: Output) -> None:
        """Hands an output over, which the sink then owns; waits for a place unless live."""
        self._channel.put(output)

    def close(self) -> None:
        """Hands over nothing more; what waits still comes out."""
        self._channel.close()

    def hurry(self) -> None:
        """Gives what waits now, not at its time."""
        self._hurried = True

    def work(self) -> None:
        """Serves the sink to the end: what its thread does."""
        try:
            while not self.over:
                self.turn()
        except BaseException as error:  # a thread would die of it without a word
            self._fail(error)
        finally:
            with self._changed:
                self._changed.notify_all()

    def turn(self) -> None:
        """Gives the sink the next output, or looks after it when none comes."""
        try:
            output = self._channel.get(self._idle_s)
            while self._pace and self._pace.early_s(output) > 0 and not self._hurried:
                self.sink.idle()
                self._clock.sleep(max(0.0, min(IDLE_S, self._pace.early_s(output))))
            if self._lets_out(output):
                self._write(output)
        except TimeoutError:
            self.sink.idle()
        except Closed:
            self.over = True
        except Exception as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self.error, self.over = error, True
        self.close()

    def _write(self, output: Output) -> None:
        started_s = time.perf_counter()
        self.sink.write(output)
        ended_s = time.perf_counter()
        composed = output.kind == "composed"
        self._timings.written(
            ended_s - started_s, ended_s - output.captured_s if composed else None
        )

    def leave(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        """Leaves the sink's block, once."""
        if not self._exited:
            self._exited = True
            self.sink.__exit__(kind, error, trace)

    def abandon(self) -> None:
        """Leaves the block of a sink that failed: what it wrote is not whole."""
        error = self.error
        with contextlib.suppress(Exception):
            self.leave(type(error) if error else None, error, error and error.__traceback__)

    def leave_behind(self) -> None:
        """Does not leave the block of a sink that is stuck in it."""
        self._exited = True


class Pace:
    """Says how early a frame is for its own time, given those shown before.

    After a hold-up frames follow each other faster, but only to make up for a tenth of a second:
    what was later than that stays later.
    """

    CATCH_UP_S = 0.1

    def __init__(self) -> None:
        self._start_s: float | None = None

    def early_s(self, frame: Frame) -> float:
        """Seconds until the frame is due; not positive when it is."""
        now = time.perf_counter()
        if self._start_s is None:
            self._start_s = now - frame.time_s
        self._start_s = max(self._start_s, now - frame.time_s - self.CATCH_UP_S)
        return self._start_s + frame.time_s - now
