"""Moves frames: capture, step, gate and every sink overlap, each on a thread of its own."""

import contextlib
import dataclasses
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from segjax.live.backgrounds import Background
from segjax.live.channel import Channel, Closed
from segjax.live.clock import Clock
from segjax.live.feed import IDLE_S, QUEUED, REST_S, Feed
from segjax.live.frames import Frame, Output, Sink, Source, SourceLost, Stuck
from segjax.live.gate import TICK_S, Gate, Scene, Taken
from segjax.live.governor import Governor
from segjax.live.guard import Composite, Fault, Guard, Look, Matting
from segjax.live.states import State
from segjax.live.timings import Report, Timings
from segjax.live.watch import Watch, hardly_differs
from segjax.memory import aligned

LEAVE_S = 5.0
"""How long to wait at the end for a thread that is stuck, as a source in its device."""

PATIENCE_S = (0.5, 5.0)
"""How long to wait before a lost source is tried again: at first, and at most. It doubles."""

UNUSABLE_S = 2.0
"""How long a source may give nothing but black or frozen pictures, at least, before it is opened
anew."""

STUCK_S = 60.0
"""A model that has not returned for so long never will."""


def say(line: str) -> None:
    """Tells the user something, apart from the output proper."""
    print(line, file=sys.stderr, flush=True)


@dataclasses.dataclass(frozen=True)
class Status:
    """What a run is doing: its state, that state in words, figures so far, and the quality that the
    governor chose."""

    state: State
    line: str
    frames: int
    composed: int
    repeated: int
    covered: int
    dropped: int
    fps: float
    quality: str = "full"


class Loop:
    """One run from a source to sinks.

        source ─ capture ─→ frames ─ step, guard ─→ done ─ gate ─→ feeds ─→ sinks

    Each arrow is a queue and each word beside one a thread; a window's is the main thread, which
    also tells the user what the others have to say. What may leave is made at the gate, which waits
    for no model, source or sink.

    Every buffer has one owner. A source's pixels are copied before it is asked for its next frame,
    so the step reads bytes that nobody writes; what a sink gets is its own.

    A live source's frames are dropped for newer ones while the step is busy, it is entered again
    when it is lost, and a sink that fails is done without while there is another. Other sources
    wait, lose no frame, and give one output for each. A window is shown these at their own times,
    other sinks as fast as they come. A `governor` lowers a live source's quality while there is too
    little time for it, by what the step has prepared.

    `stop`, SIGINT and SIGTERM end the run after the frames under way, with finished outputs; a
    second signal, or one before the model is ready, raises KeyboardInterrupt.
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
        governor: Governor | None = None,
        say: Callable[[str], None] = say,
        clock: Clock | None = None,
    ) -> None:
        self._source = source
        self._governor = governor if source.live else None
        self._max_frames = max_frames
        self._say = say
        self._clock = clock = clock or Clock()
        self._lines: deque[str] = deque()
        # Said by the main thread, since the others must not wait for who reads it.
        hear = self._lines.append
        self._look = Look(background, matting)
        self._scene = _scene(self._look, 0.0, *source.size)
        self._guard = Guard(
            self._look,
            live=source.live,
            others=self._governor is not None,
            say=hear,
            clock=clock,
        )
        self._gate = Gate(self._scene, live=source.live, rate=source.rate, clock=clock, say=hear)
        self._frames: Channel[Taken] = Channel(
            1 if source.live else QUEUED, newest_only=source.live, clock=clock
        )
        self._done: Channel[tuple[Taken, Composite | Fault | None]] = Channel(QUEUED, clock=clock)
        self._timings = Timings()
        self._changed = clock.condition()
        self._feeds = [
            Feed(
                sink,
                live=source.live,
                lets_out=self._gate.lets_out,
                timings=self._timings,
                clock=clock,
                changed=self._changed,
            )
            for sink in sinks
        ]
        self._report = Report(device, source.name, [sink.name for sink in sinks])
        self._error: BaseException | None = None
        self._warm = self._paused = self._stopped = False
        self._busy_since_s: float | None = None
        self._source_ended = self._exhausted = self._all_left = False
        """Whether the source gave its last frame; whether all of its frames went through; whether
        nothing more will leave."""

    def run(self) -> Report:
        """Runs until the source ends, `max_frames` have left, or it is stopped.

        Raises:
          SegjaxError: the source or a sink failed, and the run could not go on. Outputs are
            removed, unless the model of a live source was stuck: then they are finished first.
        """
        with self._signals():
            with contextlib.ExitStack() as sinks:
                for feed in self._feeds:
                    feed.sink.__enter__()
                    sinks.push(feed.leave)
                self._move()
                if self._error and not isinstance(self._error, Stuck):
                    raise self._error
            if self._error:
                raise self._error
        return self._finished_report()

    def stop(self) -> None:
        """Ends the run; may be called from any thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._frames.close()
        if self._source.live:  # whose step may never end
            self._done.close()
        for feed in self._feeds:
            feed.hurry()

    def pause(self) -> None:
        """Lets a live source go and covers from here on, or halts a file; from any thread."""
        with self._changed:
            self._paused = True
            if self._source.live:
                self._gate.pause()
            self._changed.notify_all()

    def resume(self) -> None:
        """Ends the pause; from any thread."""
        with self._changed:
            self._paused = False
            if self._source.live:
                self._gate.resume()
            self._changed.notify_all()

    @property
    def paused(self) -> bool:
        """Whether the user paused, by whatever shows the run."""
        return self._paused

    def switch(self, background: Background, matting: Matting | None = None) -> None:
        """Composes what comes next over another background, by another step if it is of another
        kind; from any thread. Waits until that step is prepared for the present size of frame.
        """
        height, width = self._scene.cover.shape[:2]
        if matting is not None:
            self._guard.prepare(matting, height, width)
            self._guard.prepare_others(matting, height, width)
        look = Look(background, matting or self._look.matting)
        self._gate.set_scene(_scene(look, 0.0, height, width))
        self._look = look

    def status(self) -> Status:
        """What the run is doing; from any thread."""
        made = self._gate.made
        return Status(
            self._gate.state,
            self._gate.line,
            self._timings.frames,
            made["composed"],
            made["repeated"],
            made["covered"],
            self._dropped(),
            self._timings.fps,
            self._governor.level.name if self._governor else "full",
        )

    # The main thread

    def _move(self) -> None:
        start = self._clock.start
        threads = [start(self._guarded(w), w.__name__) for w in (self._capture, self._step)]
        threads.append(start(self._guarded(self._leave), "_leave"))
        feeds = {
            start(feed.work, feed.sink.name): feed
            for feed in self._feeds
            if not feed.sink.main_thread
        }
        try:
            self._serve()
            if self._exhausted and not (self._error or self._stopped):
                self._linger()
        finally:
            self._end()
            until_s = self._clock.now() + LEAVE_S
            for thread, feed in feeds.items():
                if not self._clock.join(thread, until_s - self._clock.now()):
                    feed.leave_behind()
                    self._say(f"{feed.sink.name} is stuck: its output is not whole")
            for thread in threads:
                # A model that compiles cannot be interrupted: not waited for.
                self._clock.join(thread, until_s - self._clock.now() if self._warm else 0.0)
            self._gate.stop()
            self._speak()

    def _serve(self) -> None:
        """Serves the sinks that need the main thread, and looks after all of them."""
        until_s = float("inf")
        while self._clock.now() < until_s:
            self._speak()
            windows = [feed for feed in self._feeds if feed.sink.main_thread and not feed.over]
            for feed in windows:
                feed.turn()
            self._look_after_sinks()
            if all(feed.over for feed in self._feeds):
                return
            if not windows:
                self._rest()
            if self._error or (self._source.live and (self._stopped or self._all_left)):
                until_s = min(until_s, self._clock.now() + LEAVE_S)

    def _rest(self) -> None:
        """Waits until a sink is over, or for a moment."""
        over = sum(feed.over for feed in self._feeds)
        with self._changed:
            self._changed.wait_for(lambda: sum(feed.over for feed in self._feeds) != over, REST_S)

    def _look_after_sinks(self) -> None:
        for feed in self._feeds:
            if feed.sink.ended:
                self.stop()
            if feed.error is None or feed.sink.name in self._report.failed:
                continue
            words = str(feed.error).split("\n")[0] or type(feed.error).__name__
            self._report.failed[feed.sink.name] = words
            if self._source.live and not all(other.error for other in self._feeds):
                self._say(f"{feed.sink.name} failed, and the others go on: {words}")
                feed.abandon()
            else:
                self._error = self._error or feed.error
                self._end()

    def _linger(self) -> None:
        for feed in self._feeds:
            feed.sink.source_ended()
        while any(feed.sink.lingers for feed in self._feeds) and not self._stopped:
            for feed in self._feeds:
                feed.sink.idle()
            self._look_after_sinks()
            self._clock.sleep(IDLE_S)

    def _speak(self) -> None:
        while self._lines:
            self._say(self._lines.popleft())

    def _end(self) -> None:
        """Closes everything; what waits in between is given up."""
        self.stop()
        self._done.close()
        for feed in self._feeds:
            feed.close()

    # The other threads

    def _guarded(self, work: Callable[[], None]) -> Callable[[], None]:
        """A thread's work; what it raises ends the run and is raised there."""

        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                self._error = self._error or error
            finally:
                # Before the frames are closed: a source whose frame is refused is not opened again.
                self._all_left = self._all_left or work == self._leave
                self._frames.close()
                if work != self._capture:
                    self._done.close()
                if work == self._leave:
                    for feed in self._feeds:
                        feed.close()
                with self._changed:
                    self._changed.notify_all()

        return guarded

    def _capture(self) -> None:
        self._wait(lambda: self._warm)
        if not self._source.live:
            with self._source:
                self._source_ended = self._pump(Watch())
            return
        watch, patience_s, opened = Watch(), PATIENCE_S[0], False
        while not self._over():
            before = self._gate.made["composed"]
            try:
                with self._source:
                    opened = True
                    self._source_ended = self._pump(watch, max(UNUSABLE_S, patience_s))
                    if self._source_ended:
                        return
            except Exception as error:
                if not opened:  # the user can mend that, and has waited for nothing yet
                    raise
                words = str(error).split("\n")[0] or type(error).__name__
                self._gate.lost(words)
                if self._gate.made["composed"] > before:
                    patience_s = PATIENCE_S[0]
                self._wait(lambda: self._paused, 0.0 if watch.unusable else patience_s)
                patience_s = min(2 * patience_s, PATIENCE_S[1])
            self._wait(lambda: not self._paused)

    def _pump(self, watch: Watch, unusable_s: float = 0.0) -> bool:
        """Takes frames until the source ends, which is True, or may not be asked any more."""
        live = self._source.live
        first_index = self._gate.index + 1
        first_s: float | None = None
        usable_s = self._clock.now()
        frames = iter(self._source)
        while True:
            if not live:
                self._wait(lambda: not self._paused)
            elif self._paused:
                return False
            started_s = time.perf_counter()
            frame = next(frames, None)
            if frame is None:
                return True
            index, time_s = frame.index, frame.time_s
            if live:
                first_s = self._gate.time_s() - time_s if first_s is None else first_s
                index, time_s = first_index + index, first_s + time_s
            pixels = aligned(frame.pixels)  # and a copy that nobody else writes to
            frame = Frame(pixels, index, time_s, frame.captured_s)
            problem, thumb = watch(pixels, self._clock.now()) if live else ("", None)
            self._timings.add("capture", time.perf_counter() - started_s)
            taken = self._taken(frame, problem, thumb)
            usable_s = usable_s if problem else taken.arrived_s
            if taken.arrived_s - usable_s > unusable_s:
                raise SourceLost(f"{self._source.name} gives only {problem} pictures")
            if not self._frames.put(taken):
                return False

    def _taken(self, frame: Frame, problem: str, thumb: np.ndarray | None) -> Taken:
        height, width = (*frame.pixels.shape, 0, 0)[:2]
        if not height * width:  # a fault, as the guard will find
            height, width = self._source.size
        self._scene = _scene(self._look, frame.time_s, height, width, self._scene)
        fault = Fault(problem, f"the picture is {problem}") if problem else None
        arrived_s, since_s = self._gate.arrived(self._scene, frame.index, fault)
        return Taken(frame, self._scene, arrived_s, since_s, thumb, fault)

    def _step(self) -> None:
        matting, size = self._look.matting, self._source.size
        self._guard.prepare(matting, *size)
        if self._governor:
            self._clock.start(lambda: self._guard.prepare_others(matting, *size), "qualities")
        self._gate.begin()
        with self._changed:
            self._warm = True
            self._changed.notify_all()
        composed: Taken | None = None
        since_s: float | None = None
        while True:
            try:
                taken = self._frames.get()
            except Closed:
                return
            if since_s not in (None, taken.since_s):
                self._guard.forget()
                if self._governor:
                    self._governor.forget()
            since_s = taken.since_s
            if self._governor and not self._governor.takes(taken.arrived_s):
                continue
            started_s = time.perf_counter()
            if taken.problem:
                outcome = taken.problem
            elif composed and self._source.live and self._hardly_differs(taken, composed):
                outcome = None
            else:
                outcome = self._composite(taken)
                composed = None if isinstance(outcome, Fault) else taken
                self._timings.add("step", time.perf_counter() - started_s)
            if not self._done.put((taken, outcome)):
                return

    def _hardly_differs(self, taken: Taken, composed: Taken) -> bool:
        """Whether the output of a frame will do for another, too."""
        one, other = taken.scene, composed.scene
        return (
            one.look is other.look
            and one.picture is other.picture
            and taken.thumb is not None
            and composed.thumb is not None
            and hardly_differs(taken.thumb, composed.thumb)
            and self._gate.can_repeat(composed.frame.index)
        )

    def _composite(self, taken: Taken) -> Composite | Fault:
        frame, look = taken.frame, taken.scene.look
        began_s = self._busy_since_s = self._clock.now()
        quality = self._governor.level.quality if self._governor else 0
        try:
            composite = self._guard(frame, taken.scene.picture, look, quality)
        except Fault as fault:
            return fault
        finally:
            self._busy_since_s = None
        if self._governor:
            now_s = self._clock.now()
            costs = self._guard.costs(look.matting, *frame.pixels.shape[:2])
            line = self._governor.stepped(
                frame.index, taken.arrived_s, now_s, now_s - began_s, self._clock.cpu(), costs
            )
            if line:
                self._lines.append(line)
        return composite

    def _leave(self) -> None:
        left, busy = 0, (None, 0)
        while left != self._max_frames:
            try:
                taken, outcome = self._done.get(self._gate.wait_s())
            except TimeoutError:
                self._hand_out(self._gate.tick())
                busy = self._look_after_model(busy)
                continue
            except Closed:
                self._exhausted = self._source_ended
                return
            if outcome is None:
                output = self._gate.same(taken)
            elif isinstance(outcome, Fault):
                output = self._gate.refused(taken, outcome)
            else:
                output = self._gate.composed(taken, outcome)
            left += output is not None
            self._hand_out(output)

    def _hand_out(self, output: Output | None) -> None:
        if output is None:
            return
        self._timings.frame_left()
        for feed in self._feeds[1:]:
            feed.put(_copy(output))
        for feed in self._feeds[:1]:
            # The gate keeps a live source's output, to repeat it.
            feed.put(_copy(output) if self._source.live else output)

    def _look_after_model(self, busy: tuple[float | None, int]) -> tuple[float | None, int]:
        """Since when the model is busy, and for how many ticks: a machine that is suspended has
        none. `busy` is what this gave at the tick before.

        Raises:
          Stuck: for too many.
        """
        since_s, ticks = busy
        if self._busy_since_s is None or self._busy_since_s != since_s:
            return self._busy_since_s, 0
        if ticks * TICK_S > STUCK_S:
            raise Stuck(
                f"the model has not returned for {STUCK_S:g} s; a frame takes it milliseconds; "
                "start again, and if it comes back, restart the machine or update its GPU driver"
            )
        return since_s, ticks + 1

    def _dropped(self) -> int:
        return self._frames.dropped + (self._governor.skipped if self._governor else 0)

    def _over(self) -> bool:
        return self._stopped or self._all_left or self._error is not None

    def _wait(self, ready: Callable[[], bool], timeout_s: float | None = None) -> None:
        """Waits for a change that another thread makes, or the end."""
        with self._changed:
            self._changed.wait_for(lambda: ready() or self._over(), timeout_s)

    def _finished_report(self) -> Report:
        report = self._report
        report.frames = self._timings.frames
        report.fps = round(self._timings.fps, 3)
        report.stages = self._timings.stages()
        report.dropped = self._dropped()
        report.qualities = self._governor.times() if self._governor else {}
        made = self._gate.made
        report.composed, report.repeated = made["composed"], made["repeated"]
        report.covered = made["covered"]
        report.covered_because = dict(self._gate.covered_because)
        report.states = self._gate.times()
        report.held_up = {f.sink.name: f.dropped for f in self._feeds if f.dropped}
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
            if self._stopped or not self._warm:
                raise KeyboardInterrupt
            self._say(f"{signal.Signals(number).name}: finishing the outputs; again to give up")
            self.stop()

        before = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _scene(look: Look, time_s: float, height: int, width: int, last: Scene | None = None) -> Scene:
    """What a frame of this size is composed over at a time; `last` is taken again if it will do."""
    picture = look.background.picture(time_s, height, width)
    if (
        last is not None
        and last.look is look
        and last.picture is picture
        and last.cover.shape[:2] == (height, width)
    ):
        return last
    if picture is None or look.background.layered:
        cover = look.background.cover(height, width, time_s)
    else:
        cover = picture
    return Scene(look, picture, cover)


def _copy(output: Output) -> Output:
    return dataclasses.replace(output, pixels=output.pixels.copy())
