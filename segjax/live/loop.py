"""Moves frames: capture, step and output overlap, each on a thread of its own."""

import contextlib
import dataclasses
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from segjax.live.backgrounds import Background
from segjax.live.channel import Channel, Closed
from segjax.live.frames import Frame, Source, SourceLost
from segjax.live.guard import STALE_S, Guard, Matting
from segjax.live.sinks import Sink
from segjax.live.timings import Report, Timings

QUEUED = 2
"""Frames that may wait between two threads: enough to overlap, few enough to stay prompt."""

IDLE_S = 0.02
"""How long the main thread waits before it looks after windows again."""

LEAVE_S = 5.0
"""How long to wait at the end for a source that is stuck in its device."""


def say(line: str) -> None:
    """Tells the user something, apart from the output proper."""
    print(line, file=sys.stderr, flush=True)


class Loop:
    """One run from a source to sinks.

        source ─ capture thread ─→ frames ─ step thread, guard ─→ done ─ main thread ─→ sinks

    Every buffer has one owner. A source's pixels are copied before it is asked for its next frame,
    so the step reads bytes that nobody writes; what the guard lets out belongs to the sink, and
    with several sinks each gets a copy of its own.

    A live source's frames are dropped for newer ones while the step is busy; other sources wait and
    lose none. A window is shown them at their own times, other sinks as fast as they come.

    `stop`, SIGINT and SIGTERM end the run after the frames under way, with finished outputs; a
    second signal, or one before the first frame, raises KeyboardInterrupt.
    """

    def __init__(
        self,
        source: Source,
        matting: Matting,
        background: Background,
        sinks: Sequence[Sink],
        *,
        device: str,
        max_frames: int | None = None,
        stale_s: float = STALE_S,
        say: Callable[[str], None] = say,
    ) -> None:
        self._source = source
        self._background = background
        self._sinks = sinks
        self._max_frames = max_frames
        self._say = say
        self._guard = Guard(matting, background, live=source.live, stale_s=stale_s, say=say)
        self._frames: Channel[tuple[Frame, np.ndarray | None]] = Channel(
            1 if source.live else QUEUED, newest_only=source.live
        )
        self._done: Channel[Frame] = Channel(QUEUED)
        self._timings = Timings()
        self._report = Report(device, source.name, [sink.name for sink in sinks])
        self._error: BaseException | None = None
        self._running = False
        self._stopped = threading.Event()
        self._source_ended = self._exhausted = False
        """Whether the source gave its last frame; whether all of its frames went through."""

    def run(self) -> Report:
        """Runs until the source ends, `max_frames` have left, or it is stopped.

        Raises:
          SegjaxError: the source or a sink failed. Outputs are removed, unless the source was a
            live one that was lost: then they are finished first.
        """
        with self._signals():
            with contextlib.ExitStack() as sinks:
                for sink in self._sinks:
                    sinks.enter_context(sink)
                self._guard.prepare(*self._source.size)
                self._move()
                if self._error and not isinstance(self._error, SourceLost):
                    raise self._error
            if self._error:
                raise self._error
        return self._finished_report()

    def stop(self) -> None:
        """Ends the run; may be called from any thread."""
        self._stopped.set()
        self._frames.close()

    def _move(self) -> None:
        threads = [
            threading.Thread(target=self._guarded, args=(work,), name=work.__name__, daemon=True)
            for work in (self._capture, self._step)
        ]
        self._running = True
        for thread in threads:
            thread.start()
        try:
            self._output()
        finally:
            self._frames.close()
            self._done.close()
            for thread in threads:
                thread.join(LEAVE_S)

    def _guarded(self, work: Callable[[], None]) -> None:
        """Runs a thread's work; what it raises ends the run and is raised there."""
        try:
            work()
        except BaseException as error:
            self._error = self._error or error
        finally:
            self._frames.close()
            if work == self._step:
                self._done.close()

    def _capture(self) -> None:
        with self._source:
            frames = iter(self._source)
            while True:
                started_s = time.perf_counter()
                frame = next(frames, None)
                if frame is None:
                    self._source_ended = True
                    return
                frame = dataclasses.replace(frame, pixels=np.array(frame.pixels, order="C"))
                self._timings.add("capture", time.perf_counter() - started_s)
                height, width = frame.pixels.shape[:2]
                picture = self._background.picture(frame.time_s, height, width)
                if not self._frames.put((frame, picture)):
                    return

    def _step(self) -> None:
        count = 0
        while count != self._max_frames:
            try:
                frame, picture = self._frames.get()
            except Closed:
                self._exhausted = self._source_ended
                return
            started_s = time.perf_counter()
            image = self._guard(frame, picture)
            self._timings.add("step", time.perf_counter() - started_s)
            if not self._done.put(dataclasses.replace(frame, pixels=image)):
                return
            count += 1

    def _output(self) -> None:
        pace = Pace() if not self._source.live and any(s.paced for s in self._sinks) else None
        while True:
            try:
                frame = self._done.get(IDLE_S)
            except TimeoutError:
                self._idle()
                continue
            except Closed:
                break
            while pace and pace.early_s(frame) > 0 and not self._stopped.is_set():
                self._idle()
                time.sleep(max(0.0, min(IDLE_S, pace.early_s(frame))))
            started_s = time.perf_counter()
            for sink in self._sinks[1:]:
                sink.write(dataclasses.replace(frame, pixels=frame.pixels.copy()))
            for sink in self._sinks[:1]:
                sink.write(frame)
            ended_s = time.perf_counter()
            self._timings.add("output", ended_s - started_s)
            self._timings.add("end_to_end", ended_s - frame.captured_s)
            self._timings.frame_left()
            self._look_for_end()
        if self._exhausted and not (self._error or self._stopped.is_set()):
            for sink in self._sinks:
                sink.source_ended()
            while any(sink.lingers for sink in self._sinks) and not self._stopped.is_set():
                self._idle()
                time.sleep(IDLE_S)

    def _idle(self) -> None:
        for sink in self._sinks:
            sink.idle()
        self._look_for_end()

    def _look_for_end(self) -> None:
        if any(sink.ended for sink in self._sinks):
            self.stop()

    def _finished_report(self) -> Report:
        report = self._report
        report.frames = self._timings.frames
        report.fps = round(self._timings.fps, 3)
        report.stages = self._timings.stages()
        report.dropped = self._frames.dropped
        report.covered = self._guard.covered.total()
        report.covered_because = dict(self._guard.covered)
        report.sizes = [
            {"frame": list(frame), "mask": list(mask)} for frame, mask in self._guard.sizes.items()
        ]
        return report

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Ends the run on SIGINT and SIGTERM."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, _: object) -> None:
            if self._stopped.is_set() or not self._running:
                raise KeyboardInterrupt
            self._say(f"{signal.Signals(number).name}: finishing the outputs; again to give up")
            self.stop()

        before = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


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
