"""One person's stream, whatever carries it: a frame in, what may leave."""

import dataclasses
import functools
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from segjax.errors import SegjaxError
from segjax.live.backgrounds import Background, Blur
from segjax.live.clock import Clock
from segjax.live.frames import Frame, Output
from segjax.live.gate import Gate, Scene, Taken
from segjax.live.guard import Fault, Guard, Look
from segjax.live.states import State
from segjax.live.watch import Watch
from segjax.web.settings import Settings, make_background
from segjax.web.sizes import SIDES
from segjax.web.studio import RATE, Matting, Step, Studio

REMEDY = "close other programs"
"""A page has no option for the camera's size."""


@dataclass(frozen=True)
class Problem:
    """What a person is told: `kind` is that of a `Fault`, or "choice" for one that could not be
    followed, and `why` the reason in words."""

    kind: str = ""
    why: str = ""


@dataclass(frozen=True)
class Answer:
    """What leaves in place of a frame.

    output: the gate's, composed of that frame or a cover in its place.
    state: in which it left.
    waiting: whether a choice is still being prepared, and this was composed as before.
    """

    output: Output
    state: State
    problem: Problem = Problem()
    waiting: bool = False


@dataclass(frozen=True)
class Wish:
    """What frames should be composed with. `behind` is the chosen effect with its picture's id or
    its colour; `size` is (height, width)."""

    step: Step
    behind: tuple[str, str]
    size: tuple[int, int]


class Viewer:
    """Composes frames under the guard and lets them through the gate, as the loop does.

    It changes its look without an interruption: until the new one is ready, frames are composed as
    before; those of a size that the step is not ready for are covered.

    A call comes from one thread at a time; `change`, `late` and `tick` may be called from any.
    """

    def __init__(self, studio: Studio) -> None:
        self.settings = studio.settings
        self._studio = studio
        self._mattings: dict[Step, Matting] = {}
        look = Look(Blur(), self._matting(Step(studio.models[0])))
        self._look = self._plain = look
        self._has: Wish | None = None
        self._coming: tuple[Wish, Future[Background]] | None = None
        self._failed: Wish | None = None
        self._why_not = ""
        self._guard = Guard(look, live=True, say=self._say, remedy=REMEDY)
        self._gate = Gate(
            self._scene(look, 0.0, (16, 16)),
            live=True,
            rate=RATE,
            clock=Clock(),
            say=self._say,
            remedy=REMEDY,
        )
        self._gate.begin()
        self._watch = Watch()
        self._began_s = time.perf_counter()
        self._worked: deque[tuple[float, float]] = deque(maxlen=120)

    def change(self, values: object) -> None:
        """Follows what the page chose.

        Raises:
          SegjaxError: that is not a choice.
        """
        before, self.settings = self.settings, self.settings.changed(values)
        if self.settings.paused != before.paused:
            (self._gate.pause if self.settings.paused else self._gate.resume)()

    def __call__(self, pixels: np.ndarray, number: int, *, may_stand: bool = False) -> Answer:
        """What leaves in place of a frame, uint8 RGB [H, W, 3], with a number that grows.

        A camera's picture that does not change by a byte for a second is frozen, unless it
        `may_stand`, as one does that was coded by what differs from the one before.
        """
        started_s = time.perf_counter()
        settings = self.settings
        height, width = pixels.shape[:2]
        wish = self._wish(settings, (height, width))
        self._keep_up(wish)
        look = self._look
        ready = self._has is not None and self._has.size == (height, width)
        scene = self._scene(look if ready else self._plain, self._time_s(), (height, width))
        frame = Frame(pixels, number, self._time_s(), started_s)
        what, _ = self._watch(pixels, started_s)
        what = "" if what == "frozen" and may_stand else what
        useless = Fault(what, f"the camera's picture is {what}") if what else None
        taken = Taken(frame, scene, *self._gate.arrived(scene, number, useless))
        try:
            if useless:
                raise useless
            if not (ready and self._has):
                raise Fault("choice" if self._why_not else "preparing", self._why_not)
            matting = self._matting(self._has.step)
            matting.strength, matting.softness = settings.strength, settings.softness
            composite = self._guard(frame, scene.picture, look)
            output = self._gate.composed(taken, composite)
            problem = Problem("choice", self._why_not) if self._why_not else Problem()
        except Fault as fault:
            output, problem = self._gate.refused(taken, fault), _told(fault)
        self._worked.append((started_s, time.perf_counter() - started_s))
        waiting = self._coming is not None and wish != self._has
        return self._answer(output, problem, ready and waiting)

    def late(self, height: int, width: int, number: int) -> Answer:
        """What leaves in place of a frame whose picture does not come in time."""
        scene = self._scene(self._plain, 0.0, (height, width))
        frame = Frame(scene.cover, number, self._time_s(), time.perf_counter())
        taken = Taken(frame, scene, *self._gate.arrived(scene, number, None))
        fault = Fault("late", f"the model takes too long for a picture; {REMEDY}")
        return self._answer(self._gate.refused(taken, fault), _told(fault))

    def tick(self) -> Answer:
        """What leaves when no frame has come for `wait_s`."""
        return self._answer(None, Problem())

    def wait_s(self) -> float:
        """Seconds until `tick` is due, for what carries a steady stream."""
        return self._gate.wait_s() or 0.0

    def _answer(self, output: Output | None, problem: Problem, waiting: bool = False) -> Answer:
        output = output or self._gate.tick()  # of a frame that came before a pause: a cover
        assert output is not None
        return Answer(output, self._gate.state, problem, waiting)

    def busy(self, now_s: float, since_s: float = 1.0) -> float:
        """The share of the last second that frames were being worked on."""
        return sum(took for at, took in tuple(self._worked) if at > now_s - since_s) / since_s

    @property
    def ready_sizes(self) -> int:
        """How many of the sizes that a page may send, small to large, need no compilation."""
        has = self._has
        return self._studio.largest(has.step, *has.size) if has else 1

    def _time_s(self) -> float:
        return time.perf_counter() - self._began_s

    def _wish(self, settings: Settings, size: tuple[int, int]) -> Wish:
        return Wish(self._studio.step(settings), settings.behind, size)

    def _keep_up(self, wish: Wish) -> None:
        """Sees to it that frames get the look that is wished for."""
        if wish == self._has:  # again, perhaps: what was wished for meanwhile is forgotten
            self._failed, self._why_not = None, ""
            if self._coming and self._coming[1].done():
                self._coming = None
            return
        if self._coming and self._coming[1].done():
            (came, background), self._coming = self._coming, None
            try:
                self._set(came, background.result())
            except SegjaxError as error:
                self._failed, self._why_not = came, str(error)
            except Exception as error:
                words = str(error).split("\n")[0]
                self._failed = came
                self._why_not = f"the model failed with {type(error).__name__}: {words}"
        if wish in (self._has, self._failed) or self._coming:
            return
        background = self._at_hand(wish)
        if background:
            self._set(wish, background)  # at once: no frame is covered
            return
        self._coming = wish, self._studio.in_turn(self._make_ready, wish)
        if max(wish.size) in SIDES:
            self._studio.warm(wish.step, *wish.size)

    def _at_hand(self, wish: Wish) -> Background | None:
        """What is wished for, if nothing of it takes long."""
        if not self._studio.is_ready(wish.step, *wish.size):
            return None
        if self._has and dataclasses.replace(self._has, size=wish.size) == wish:
            return self._look.background
        if wish.step.effect == "picture":  # which may be to be drawn or decoded
            return None
        return make_background(*wish.behind, self._studio.pictures)

    def _make_ready(self, wish: Wish) -> Background:
        """Does what takes long, in a thread that frames do not wait for."""
        background = make_background(*wish.behind, self._studio.pictures)
        background.picture(0.0, *wish.size)  # drawn or decoded here
        self._studio.prepare(wish.step, *wish.size)
        return background

    def _set(self, wish: Wish, background: Background) -> None:
        matting = self._matting(wish.step)
        self._guard.prepare(matting, *wish.size)  # compiled already
        self._look = Look(background, matting)
        self._has, self._failed, self._why_not = wish, None, ""

    def _matting(self, step: Step) -> Matting:
        if step not in self._mattings:
            self._mattings[step] = self._studio.matting(step)
        return self._mattings[step]

    def _scene(self, look: Look, time_s: float, size: tuple[int, int]) -> Scene:
        picture = look.background.picture(time_s, *size)
        return Scene(look, picture, cover(*size) if picture is None else picture)

    def _say(self, line: str) -> None:
        if line.startswith("covered"):  # not every change of state or of size
            self._studio.say(line)


@functools.lru_cache(maxsize=16)
def cover(height: int, width: int) -> np.ndarray:
    """What depends on no frame and no choice: plain grey, not to be written to."""
    pixels = Blur().cover(height, width, 0.0)
    pixels.flags.writeable = False
    return pixels


def _told(fault: Fault) -> Problem:
    return Problem(fault.kind, str(fault)) if str(fault) else Problem()
