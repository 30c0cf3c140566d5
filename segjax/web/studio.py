"""What all viewers share: the step, the backgrounds, and how many the machine carries."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Literal, NamedTuple, Protocol, cast

import numpy as np

from segjax.errors import SegjaxError
from segjax.live import guard
from segjax.live.backgrounds import BLURS
from segjax.web.pictures import Make, Pictures
from segjax.web.settings import Person, Settings
from segjax.web.sizes import SIDES
from segjax.web.worker import Worker

RATE = 30.0
"""Frames a second that a viewer is reckoned with."""

MOST_VIEWERS = 8

MOST_SIZES = 12
"""Sizes of frames that the step is compiled for: cameras have few shapes, and each costs memory."""

Effect = Literal["blur", "bokeh", "picture"]
"""All that a viewer can choose is one of these to the step: a colour is a picture of it."""

USUAL: tuple[Effect, ...] = ("blur", "picture")
"""Made ready before anybody chooses them; bokeh, once somebody has."""


class Matting(guard.Matting, Protocol):
    """The step; `strength` of its blur or bokeh and `softness` of its edges may be changed between
    frames."""

    strength: float
    softness: float


class Step(NamedTuple):
    """Which step: each is compiled by itself, for each size of frame.

    Attributes:
      model: a name.
      effect: see `step_for`.
      person: who of several is shown.
    """

    model: str
    effect: Effect = "blur"
    person: Person = "all"


MakeMatting = Callable[[Step], Matting]
"""One for a new stream; streams share what was compiled."""


class Studio:
    """Everything but the viewers' own. May be used from any thread.

    Args:
      make_matting: see `MakeMatting`; it is called from a thread of its own.
      models: the names that it knows, the usual one first.
      backgrounds: name → what makes it.
      device: what computes, for people.
      place: the machine's name, for people.
      settings: what viewers begin with.
    """

    def __init__(
        self,
        make_matting: MakeMatting,
        models: Sequence[str],
        backgrounds: Mapping[str, Make],
        *,
        device: str,
        place: str,
        settings: Settings | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.models = tuple(models)
        self.pictures = Pictures(backgrounds)
        self.device = device
        self.place = place
        self.settings = settings or Settings()
        self.say = say
        self.capacity = 1
        """Viewers at once; measured when the step is ready."""
        self._make_matting = make_matting
        self._ready: set[tuple[Step, int, int]] = set()
        self._asked: set[tuple[Step, int, int]] = set()
        self._lock = threading.Lock()
        self._worker = Worker("prepare")
        """Compiles, one after another, while frames go on."""

    def step(self, settings: Settings) -> Step:
        """That of what a person chose."""
        return Step(settings.model or self.models[0], step_for(settings.effect), settings.person)

    def in_turn(
        self, work: Callable[..., object], *arguments: object, urgent: bool = True
    ) -> Future:
        """Does what takes long, after what was asked before; what is not `urgent`, last."""
        return self._worker.submit(work, *arguments, urgent=urgent)

    def close(self) -> None:
        self._worker.close()

    def matting(self, step: Step) -> Matting:
        """One for a new stream.

        Raises:
          SegjaxError: there is no such model.
        """
        if step.model not in self.models:
            raise SegjaxError(f"there is no model {step.model!r} here; choose {self.models[0]!r}")
        return self._make_matting(step)

    def is_ready(self, step: Step, height: int, width: int) -> bool:
        """Whether frames of this size need no compilation."""
        return (step, height, width) in self._ready

    def prepare(self, step: Step, height: int, width: int) -> None:
        """Compiles for a size, unless that was done.

        Raises:
          SegjaxError: the step was compiled for as many sizes as it may be.
        """
        if self.is_ready(step, height, width):
            return
        with self._lock:
            sizes = {(rows, columns) for _, rows, columns in self._ready}
            if len(sizes | {(height, width)}) > MOST_SIZES:
                raise SegjaxError(
                    f"the step was prepared for {MOST_SIZES} sizes of picture, the most it may "
                    "be; start the server again for another camera"
                )
        self.matting(step).prepare(height, width)
        self._ready.add((step, height, width))

    def warm(self, step: Step, height: int, width: int) -> None:
        """Has the step compiled for a shape of picture, small sizes first, one after another: for
        its effect and the usual ones."""
        for size in sizes_like(height, width):
            for one in _with_usual(step):
                with self._lock:
                    if (one, *size) in self._asked:
                        continue
                    self._asked.add((one, *size))
                self.in_turn(self._try_to_prepare, one, *size, urgent=False)

    def largest(self, step: Step, height: int, width: int) -> int:
        """How many of the sizes of this shape, from the smallest on, need no compilation for the
        step's effect and the usual ones."""
        count = 0
        for size in sizes_like(height, width):
            if not all(self.is_ready(one, *size) for one in _with_usual(step)):
                break
            count += 1
        return count

    def get_ready(self, height: int, width: int) -> None:
        """Has the usual model made ready for a shape of picture, before a viewer comes."""
        step, smallest = self.step(self.settings), sizes_like(height, width)[0]
        for one in _with_usual(step):
            self.in_turn(self._try_to_prepare, one, *smallest)
        self.in_turn(self._measure, *smallest)
        self.warm(step, height, width)

    def _measure(self, height: int, width: int) -> None:
        """Learns how many viewers the machine carries: those that the step leaves time for."""
        matting = self.matting(self.step(self.settings))
        blank = np.zeros((height, width, 3), np.uint8)
        took_s = []
        for index in range(8):
            started_s = time.perf_counter()
            matting(blank, None, index)
            took_s.append(time.perf_counter() - started_s)
        self.capacity = carried(min(took_s))
        self.say(
            f"ready: the model takes {1e3 * min(took_s):.0f} ms for {width}x{height}; "
            f"{self.capacity} can use the page at once"
        )

    def _try_to_prepare(self, step: Step, height: int, width: int) -> None:
        try:
            self.prepare(step, height, width)
        except Exception as error:  # covered, with this very reason, when a frame of it comes
            self.say(f"{step.model} is not ready for {width}x{height}: {error}")


def step_for(effect: str) -> Effect:
    """What a chosen effect is to the step."""
    return cast(Effect, effect) if effect in BLURS else "picture"


def _with_usual(step: Step) -> list[Step]:
    """The step and those of the usual effects, these first."""
    effects = dict.fromkeys((*USUAL, step.effect))
    return [step._replace(effect=effect) for effect in effects]


def carried(step_s: float) -> int:
    """Viewers whose frames the step can compose, as much again left for coding and the rest."""
    return max(1, min(MOST_VIEWERS, int(0.5 / (step_s * RATE))))


def sizes_like(height: int, width: int) -> list[tuple[int, int]]:
    """(height, width) of the sizes that are sent of a picture of this shape, small to large."""
    return [scaled(height, width, side) for side in SIDES]


def scaled(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width with the long side `side` and even numbers, as the page reckons too."""
    scale = side / max(height, width)
    return max(16, 2 * int(height * scale / 2 + 0.5)), max(16, 2 * int(width * scale / 2 + 0.5))
