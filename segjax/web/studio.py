"""What all viewers share: the step, the backgrounds, and how many the machine carries."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Literal, Protocol, cast

import numpy as np

from segjax.errors import SegjaxError
from segjax.live import guard
from segjax.live.backgrounds import BLURS
from segjax.web.pictures import Make, Pictures
from segjax.web.settings import Settings
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


MakeMatting = Callable[[str, Effect], Matting]
"""(model, effect) → one for a new stream; streams share what was compiled."""


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
        self._ready: set[tuple[str, str, int, int]] = set()
        self._asked: set[tuple[str, str, int, int]] = set()
        self._lock = threading.Lock()
        self._worker = Worker("prepare")
        """Compiles, one after another, while frames go on."""

    def in_turn(
        self, work: Callable[..., object], *arguments: object, urgent: bool = True
    ) -> Future:
        """Does what takes long, after what was asked before; what is not `urgent`, last."""
        return self._worker.submit(work, *arguments, urgent=urgent)

    def close(self) -> None:
        self._worker.close()

    def ended(self, within_s: float) -> bool:
        """Whether nothing is compiled any more in that time, after `close`."""
        return self._worker.ended(within_s)

    def matting(self, model: str, effect: Effect) -> Matting:
        """One for a new stream.

        Raises:
          SegjaxError: there is no such model.
        """
        if model not in self.models:
            raise SegjaxError(f"there is no model {model!r} here; choose {self.models[0]!r}")
        return self._make_matting(model, effect)

    def is_ready(self, model: str, effect: Effect, height: int, width: int) -> bool:
        """Whether frames of this size need no compilation."""
        return (model, effect, height, width) in self._ready

    def prepare(self, model: str, effect: Effect, height: int, width: int) -> None:
        """Compiles for a size, unless that was done.

        Raises:
          SegjaxError: the step was compiled for as many sizes as it may be.
        """
        if self.is_ready(model, effect, height, width):
            return
        with self._lock:
            sizes = {(rows, columns) for _, _, rows, columns in self._ready}
            if len(sizes | {(height, width)}) > MOST_SIZES:
                raise SegjaxError(
                    f"the step was prepared for {MOST_SIZES} sizes of picture, the most it may "
                    "be; start the server again for another camera"
                )
        self.matting(model, effect).prepare(height, width)
        self._ready.add((model, effect, height, width))

    def warm(self, model: str, effect: Effect, height: int, width: int) -> None:
        """Has the step compiled for a shape of picture, small sizes first, one after another: for
        the effect and the usual ones."""
        for rows, columns in sizes_like(height, width):
            for one in (*USUAL, effect):
                with self._lock:
                    if (model, one, rows, columns) in self._asked:
                        continue
                    self._asked.add((model, one, rows, columns))
                self.in_turn(self._try_to_prepare, model, one, rows, columns, urgent=False)

    def largest(self, model: str, effect: Effect, height: int, width: int) -> int:
        """How many of the sizes of this shape, from the smallest on, need no compilation for the
        effect and the usual ones."""
        count = 0
        for rows, columns in sizes_like(height, width):
            if not all(self.is_ready(model, one, rows, columns) for one in (*USUAL, effect)):
                break
            count += 1
        return count

    def get_ready(self, height: int, width: int) -> None:
        """Has the usual model made ready for a shape of picture, before a viewer comes."""
        model, smallest = self.models[0], sizes_like(height, width)[0]
        for effect in USUAL:
            self.in_turn(self._try_to_prepare, model, effect, *smallest)
        self.in_turn(self._measure, *smallest)
        self.warm(model, "blur", height, width)

    def _measure(self, height: int, width: int) -> None:
        """Learns how many viewers the machine carries: those that the step leaves time for."""
        matting = self.matting(self.models[0], "blur")
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

    def _try_to_prepare(self, model: str, effect: Effect, height: int, width: int) -> None:
        try:
            self.prepare(model, effect, height, width)
        except Exception as error:  # covered, with this very reason, when a frame of it comes
            self.say(f"{model} is not ready for {width}x{height}: {error}")


def step_for(effect: str) -> Effect:
    """What a chosen effect is to the step."""
    return cast(Effect, effect) if effect in BLURS else "picture"


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
