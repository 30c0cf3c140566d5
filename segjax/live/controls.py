"""What a user changes and looks at while a run goes on."""

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from segjax.live.backgrounds import BLURS, Background, Blur, Color, Picture, parse_background
from segjax.live.guard import Composite, Matting
from segjax.live.overlays import Overlay, overlaid
from segjax.scenery import SCENES

if TYPE_CHECKING:
    from segjax.live.loop import Loop, Status

STEP = 0.1
"""By which the blur becomes stronger or weaker."""

KEPT = 8
"""Frames that may be on their way between the step and a window."""


class Views:
    """The latest frames and masks, for a window that shows them beside what leaves; kept only while
    `wanted`. Nothing of it goes to another sink."""

    def __init__(self) -> None:
        self.wanted = False
        self._kept: deque[tuple[int, np.ndarray, np.ndarray]] = deque(maxlen=KEPT)

    def of(self, matting: Matting) -> "Seen":
        """The same step, looked at."""
        return Seen(matting, self)

    def keep(self, index: int, pixels: np.ndarray, alpha: np.ndarray) -> None:
        """Notes a frame, uint8 [H, W, 3], and its mask, float32 [h, w]; neither is written to."""
        if self.wanted:
            self._kept.append((index, pixels, alpha))
        else:
            self._kept.clear()

    def find(self, index: int) -> tuple[np.ndarray, np.ndarray] | None:
        """The frame of an index and its mask, if they are still here."""
        kept = (each for each in tuple(self._kept) if each[0] == index)
        return next(((pixels, alpha) for _, pixels, alpha in kept), None)


class Seen:
    """A step whose frames and masks can be looked at."""

    def __init__(self, matting: Any, views: Views) -> None:
        self._matting = matting
        self._views = views
        self.prepare = matting.prepare
        self.mask_size = matting.mask_size
        self.reset = matting.reset

    def __getattr__(self, name: str) -> Any:
        return getattr(self._matting, name)

    @property
    def quality(self) -> int:
        """In use."""
        return self._matting.quality

    @quality.setter
    def quality(self, quality: int) -> None:
        self._matting.quality = quality

    @property
    def strength(self) -> float:
        """Of the blur."""
        return self._matting.strength

    @strength.setter
    def strength(self, strength: float) -> None:
        self._matting.strength = strength

    @property
    def softness(self) -> float:
        """Of the edges."""
        return self._matting.softness

    @softness.setter
    def softness(self, softness: float) -> None:
        self._matting.softness = softness

    def __call__(self, pixels: np.ndarray, background: np.ndarray | None, index: int) -> Composite:
        composite = self._matting(pixels, background, index)
        self._views.keep(index, pixels, composite.alpha)
        return composite


class Controls:
    """Changes a run from a window's keys. Nothing here waits: what takes long is done aside.

    Args:
      background: what the run began with, as `spec` names it, composed by `matting`.
      make: another step for a background of another kind; it may take seconds.
      views: what `make`'s steps and the run's own are looked at by.
      say: told what became of a change.
      overlay: what every background has before it.
    """

    def __init__(
        self,
        loop: "Loop",
        spec: str,
        background: Background,
        matting: Seen,
        make: Callable[[Background], Seen],
        views: Views,
        say: Callable[[str], None],
        overlay: Overlay | None = None,
    ) -> None:
        self.views = views
        self._loop = loop
        self._make = make
        self._say = say
        self._overlay = overlay
        blurs = [kind for kind in BLURS if kind != background.kind]
        self._choices = tuple(dict.fromkeys((spec, *blurs, *SCENES)))
        self._fixed = background.kind == "transparent"  # its sinks expect RGBA
        self._strength = background.strength
        self._mattings = {background.kind: matting}
        self._current = 0
        self._wanted: tuple[int, float] = 0, self._strength
        self._busy = False
        self._lock = threading.Lock()

    def next_background(self) -> str:
        """Goes to the next background; what the user is told meanwhile."""
        if self._fixed:
            return "transparent stays: the files that are being written hold transparency"
        with self._lock:
            number, strength = self._wanted
            self._wanted = (number + 1) % len(self._choices), strength
            name = self._choices[self._wanted[0]]
        self._change()
        return f"background: {name}"

    def blur(self, steps: int) -> str:
        """Makes the blur stronger by so many steps, or weaker; what the user is told."""
        with self._lock:
            number, strength = self._wanted
            if self._choices[number].partition(":")[0] not in BLURS:
                return "this background is not blurred"
            strength = round(min(1.0, max(STEP, strength + steps * STEP)), 2)
            self._wanted = number, strength
        self._change()
        return f"blur: {strength:.0%}"

    def pause(self) -> str:
        """Pauses, or goes on."""
        if self._loop.paused:
            self._loop.resume()
            return "going on"
        self._loop.pause()
        return "paused"

    def status(self) -> "Status":
        """What the run is doing."""
        return self._loop.status()

    def _change(self) -> None:
        """Sees to it that the run gets what is wanted, now or after what it is getting."""
        with self._lock:
            if self._busy:
                return
            self._busy = True
        threading.Thread(target=self._follow, name="change", daemon=True).start()

    def _follow(self) -> None:
        given: tuple[int, float] | None = None
        while True:
            with self._lock:
                wanted = self._wanted
                if wanted == given:
                    self._busy = False
                    return
            given = wanted
            try:
                self._give(self._choices[wanted[0]], wanted[1])
            except Exception as error:  # a file that is gone; the run goes on as it was
                self._say(f"the background stays: {error}")

    def _give(self, spec: str, strength: float) -> None:
        background = parse_background(spec)
        if isinstance(background, Blur):
            background = type(background)(strength)
        if isinstance(background, Color):  # which a step has built in; a picture it is given
            background = Picture(np.full((16, 16, 3), background.color, np.uint8))
        background = overlaid(background, self._overlay)
        matting = self._mattings.get(background.kind)
        if matting is None:
            matting = self._mattings[background.kind] = self._make(background)
        if background.kind in BLURS:
            matting.strength = strength
        self._loop.switch(background, matting)
