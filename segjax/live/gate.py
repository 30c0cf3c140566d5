"""The gate: everything that leaves the process is made here, and is one of three kinds.

*Composed*: a frame with the mask computed from that frame. *Repeated*: the bytes of an earlier
composed output, at most half a second old. *Covered*: made from settings and time alone.
"""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from segjax.live.clock import Clock
from segjax.live.frames import Frame, Kind, Output
from segjax.live.guard import REMEDY, Composite, Fault, Look
from segjax.live.states import Event, Machine, State

HOLD_S = 0.5
"""Nothing older leaves: no frame of a live source composed so late, and no repeated output."""

COVER_AFTER_S = 0.45
"""When a live source's last output gives way to a cover, so that this is there within HOLD_S."""

COMPOSE_AGAIN_S = 0.3
"""A picture that hardly differs from the last is composed again when the output is so old."""

TICK_S = 0.1
"""How often something leaves for a live source that gives nothing."""

LOST_AFTER_S = 2.5
"""A live source that has given nothing for so long is lost, even if it says nothing."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a frame is composed over. No byte of a camera goes into one.

    picture: the background's at the frame's time and size, uint8 [H, W, 3], if it has one, or the
      layer that it has.
    cover: what may leave in place of the frame: uint8 [H, W, 3], or RGBA [H, W, 4].
    Neither is to be written to.
    """

    look: Look
    picture: np.ndarray | None
    cover: np.ndarray


@dataclass(frozen=True, slots=True)
class Taken:
    """A frame on its way.

    arrived_s: when, by the loop's clock.
    since_s: when its unbroken stream of frames began.
    thumb: the thumbnail, of a live source.
    problem: why it may not be shown, if that is known already.
    """

    frame: Frame
    scene: Scene
    arrived_s: float
    since_s: float
    thumb: np.ndarray | None = None
    problem: Fault | None = None


class Gate:
    """Makes what leaves, in the order in which it does, and keeps the run's state.

    A file's frames each give one output, composed or covered. A live source's give one, or none if
    they are over by then; and when nothing comes in time, `tick` repeats the last output or covers.
    It waits for nobody, and may be used from any thread. The pixels of an output are not to be
    written to.
    """

    def __init__(
        self,
        scene: Scene,
        *,
        live: bool,
        rate: float,
        clock: Clock,
        say: Callable[[str], None],
        remedy: str = REMEDY,
    ) -> None:
        self.covered_because: Counter[str] = Counter()
        self.made: Counter[Kind] = Counter()
        self._live = live
        self._clock = clock
        self._remedy = remedy
        self._silent_s = min(max(TICK_S, 2.5 / rate), COVER_AFTER_S - TICK_S / 2)
        self._machine = Machine(clock, say, tell=live)
        self._lock = threading.RLock()
        self._scene = scene
        self._last: Output | None = None
        """The composed output that may be repeated."""
        self._because = State.WARMING.value
        self.index = -1
        """Of the last frame that came."""
        self._time_s = 0.0
        """Of the last output; and when that left:"""
        self._left_s = self._since_s = clock.now()
        self._arrived_s: float | None = None
        self._begun = False

    @property
    def state(self) -> State:
        """What the run is doing."""
        return self._machine.state

    @property
    def line(self) -> str:
        """The same in words."""
        return self._machine.line

    def times(self) -> dict[str, dict[str, float]]:
        """Entries into each state, and seconds in it."""
        with self._lock:
            return self._machine.times()

    # What happens to the source

    def begin(self) -> None:
        """The model is ready: from here on, something leaves at all times."""
        with self._lock:
            self._begun, self._left_s = True, self._clock.now()

    def time_s(self) -> float:
        """The time in the stream, which passes also while no frame comes."""
        with self._lock:
            return self._time_s + self._age_s(self._left_s)

    def arrived(self, scene: Scene, index: int, problem: Fault | None) -> tuple[float, float]:
        """Notes that the frame `index` came: its `arrived_s` and `since_s`."""
        with self._lock:
            now = self._arrived_s = self._clock.now()
            self._scene, self.index = scene, index
            if problem is None and self._machine.happen(Event.FOUND):
                self._since_s, self._because = now, State.WARMING.value
            return now, self._since_s

    def set_scene(self, scene: Scene) -> None:
        """What covers show until the next frame says."""
        with self._lock:
            self._scene = scene

    def lost(self, why: str) -> None:
        """The source gives nothing that can be used."""
        self._close(Event.LOST, why)

    def pause(self) -> None:
        """Covers from here on, also in place of what was composed and has not left yet."""
        self._close(Event.PAUSE)

    def resume(self) -> None:
        """Ends the pause."""
        with self._lock:
            if self._machine.happen(Event.RESUME):
                self._arrived_s = None
                self._since_s, self._because = self._clock.now(), State.WARMING.value

    def stop(self) -> None:
        """The run is over."""
        self._close(Event.STOP)

    def _close(self, event: Event, why: str = "") -> None:
        with self._lock:
            if self._machine.happen(event, why):
                self._last = self._arrived_s = None
                self._because = self.state.value

    # What leaves

    def composed(self, taken: Taken, composite: Composite) -> Output | None:
        """A composite that passed the guard."""
        with self._lock:
            if self._is_over(taken):
                return None
            if self._is_late(taken):
                why = f"the model takes longer than {HOLD_S:g} s for a frame; {self._remedy}"
                return self.refused(taken, Fault("late", why))
            self._machine.happen(Event.SHOWN)
            output = self._make(taken.frame, composite.image, "composed")
            self._last = output if self._live else None
            return output

    def can_repeat(self, index: int) -> bool:
        """Whether `same` will do in place of a composite, if the frame hardly differs from the
        frame `index`."""
        with self._lock:
            is_last = self._last is not None and self._last.index == index
            return is_last and self._repeatable(COMPOSE_AGAIN_S)

    def same(self, taken: Taken) -> Output | None:
        """A live frame that hardly differs from the last one composed."""
        with self._lock:
            if self._is_over(taken):
                return None
            if not self._repeatable():
                return self.refused(taken, Fault("overdue", "no picture was ready in time"))
            self._machine.happen(Event.SHOWN)
            return self._repeat(taken.frame.time_s)

    def refused(self, taken: Taken, fault: Fault) -> Output | None:
        """A frame that may not be shown."""
        with self._lock:
            if self._is_over(taken):
                return None
            preparing = fault.kind == "preparing"
            self._machine.happen(
                Event.UNREADY if preparing else Event.REFUSED, str(fault), fault.kind
            )
            self._because = fault.kind
            return self._cover(taken.scene, taken.frame)

    def tick(self) -> Output | None:
        """What leaves since nothing else has, by `wait_s`; nothing before the model is ready, and
        nothing unless the source is live."""
        with self._lock:
            if not (self._live and self._begun) or self.state is State.STOPPED:
                return None
            if self._arrived_s is not None and self._age_s(self._arrived_s) > LOST_AFTER_S:
                self.lost("the source has given no picture for a while")
            now_s = self.time_s()
            if self._repeatable(COVER_AFTER_S):
                self._machine.happen(Event.SILENT)
                return self._repeat(now_s)
            if self._machine.happen(Event.OVERDUE, "no picture was ready in time", "overdue"):
                self._because = "overdue"
            frame = Frame(self._scene.cover, self.index, now_s, self._clock.now())
            return self._cover(self._scene, frame)

    def wait_s(self) -> float | None:
        """Seconds until `tick` is due; None if it never is."""
        with self._lock:
            if not self._live:
                return None
            if not self._begun:
                return TICK_S
            due_s = self._left_s + (self._silent_s if self.state is State.LIVE else TICK_S)
            if self._last is not None:
                due_s = min(due_s, self._last.made_s + COVER_AFTER_S)
            return max(0.001, due_s - self._clock.now())

    def lets_out(self, output: Output) -> bool:
        """Whether an output that waited for its sink may still leave."""
        if not self._live or output.kind == "covered":
            return True
        with self._lock:
            closed = self.state in (State.PAUSED, State.RECONNECTING)
            after = output.made_s >= self._since_s
            return not closed and after and self._age_s(output.made_s) <= HOLD_S

    def _is_over(self, taken: Taken) -> bool:
        """Whether a live source's frame is from before it was lost or paused."""
        closed = (State.RECONNECTING, State.PAUSED, State.STOPPED)
        return self._live and (self.state in closed or taken.since_s != self._since_s)

    def _is_late(self, taken: Taken) -> bool:
        """Whether a live source's frame shows what is over."""
        return self._live and self._age_s(taken.arrived_s) > HOLD_S

    def _repeatable(self, limit_s: float = HOLD_S) -> bool:
        return self._last is not None and self._age_s(self._last.made_s) < limit_s

    def _repeat(self, time_s: float) -> Output:
        last = self._last
        assert last is not None
        frame = Frame(last.pixels, last.index, time_s, last.captured_s)
        return self._make(frame, last.pixels, "repeated", last.made_s)

    def _cover(self, scene: Scene, frame: Frame) -> Output:
        self._last = None
        self.covered_because[self._because] += 1
        return self._make(frame, scene.cover.copy(), "covered")

    def _make(
        self, frame: Frame, pixels: np.ndarray, kind: Kind, made_s: float | None = None
    ) -> Output:
        self.made[kind] += 1
        self._left_s = self._clock.now()
        self._time_s = max(self._time_s, frame.time_s)
        made_s = self._left_s if made_s is None else made_s
        return Output(pixels, frame.index, self._time_s, frame.captured_s, kind, made_s)

    def _age_s(self, then_s: float) -> float:
        return self._clock.now() - then_s
