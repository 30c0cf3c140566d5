"""What may leave the process: a frame composed with its own mask, or a cover."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np

from segjax.live.backgrounds import Background
from segjax.live.frames import Frame

STALE_S = 2.0
"""A live frame older than this when its picture is ready shows what is over."""


class Composite(Protocol):
    """What a step makes of a frame.

    image: uint8 [H, W, 3], or RGBA [H, W, 4] for a transparent background; the receiver's own.
    alpha: float32 [h, w] in [0, 1], at mask size.
    index: that of the frame.
    """

    @property
    def image(self) -> np.ndarray: ...
    @property
    def alpha(self) -> np.ndarray: ...
    @property
    def index(self) -> int: ...


class Matting(Protocol):
    """The step: one stream's frames to composites, with its state in time."""

    def prepare(self, height: int, width: int) -> None:
        """Gets ready for frames of this size, which may take long, and forgets the state."""
        ...

    def mask_size(self, height: int, width: int) -> tuple[int, int]:
        """The size of `alpha` for frames of this size."""
        ...

    def reset(self) -> None:
        """Forgets the state."""
        ...

    def __call__(
        self, pixels: np.ndarray, background: np.ndarray | None, index: int
    ) -> Composite: ...


class Fault(Exception):
    """Why a frame is covered: `kind` for counting, the message for the user."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Guard:
    """Turns frames into what may leave, and counts what it had to cover.

    A composite passes if it bears the frame's index, its alpha is finite, in [0, 1] and of the
    mask's size, its image is of the frame's size, and, from a live source, the frame is not stale.
    Anything else, an exception of the step too, gives the background's cover, is told to `say` once
    a kind, and makes the step forget its state.

    A live source does not wait while the step prepares for a new size: its frames are covered until
    then. Other sources do.
    """

    def __init__(
        self,
        matting: Matting,
        background: Background,
        *,
        live: bool = False,
        stale_s: float = STALE_S,
        say: Callable[[str], None] = print,
    ) -> None:
        self.covered: Counter[str] = Counter()
        self.sizes: dict[tuple[int, int], tuple[int, int]] = {}
        """(height, width) of the frames that the step was prepared for, and of their masks."""
        self._matting = matting
        self._background = background
        self._channels = 4 if background.kind == "transparent" else 3
        self._live = live
        self._stale_s = stale_s
        self._say = say
        self._size: tuple[int, int] | None = None
        self._worker = ThreadPoolExecutor(1, "prepare")
        self._preparing: Future[None] | None = None

    def prepare(self, height: int, width: int) -> None:
        """Prepares the step for frames of this size and waits until it is ready."""
        # Noted first: a step that cannot be prepared is not prepared again for every frame, but
        # called as it is, and what it makes of that is checked like everything.
        self._size = (height, width)
        if (height, width) in self.sizes:  # compiled before; only the state starts anew
            self._matting.prepare(height, width)
            return
        self._say(
            f"preparing the model for {width}x{height}: compiling takes about 10 s the first time, "
            "and about 2 s when the compiled code is in the cache"
        )
        started_s = time.perf_counter()
        self._matting.prepare(height, width)
        self.sizes[height, width] = self._matting.mask_size(height, width)
        self._say(f"ready after {time.perf_counter() - started_s:.1f} s")

    def __call__(self, frame: Frame, picture: np.ndarray | None) -> np.ndarray:
        """What may leave in place of the frame: uint8 [H, W, 3 or 4], owned by the caller.

        `picture` is the background's at the frame's time and size, or None.
        """
        height, width = frame.pixels.shape[:2]
        try:
            if not self._ready((height, width)):
                raise Fault("preparing", "frames are covered until the model is ready")
            composite = self._matting(frame.pixels, picture, frame.index)
            self._check(composite, frame)
            return composite.image
        except Exception as error:
            self._note(error, frame)
        if picture is not None:
            return picture.copy()
        return self._background.cover(height, width, frame.time_s)

    def _check(self, composite: Composite, frame: Frame) -> None:
        height, width = frame.pixels.shape[:2]
        alpha, image = composite.alpha, composite.image
        if composite.index != frame.index:
            raise Fault("stale", f"a mask of frame {composite.index} came for another")
        if self._live and time.perf_counter() - frame.captured_s > self._stale_s:
            raise Fault("late", f"the mask took longer than {self._stale_s:g} s")
        expected = self._matting.mask_size(height, width)
        if alpha.shape != expected or alpha.dtype != np.float32:
            raise Fault(
                "mask shape", f"the mask is {alpha.dtype} {alpha.shape}, not float32 {expected}"
            )
        # NaN fails both comparisons, and infinity one.
        if not (alpha.min() >= 0 and alpha.max() <= 1):
            raise Fault("mask values", "the mask holds values outside [0, 1]")
        shape = (height, width, self._channels)
        if image.shape != shape or image.dtype != np.uint8:
            raise Fault(
                "image shape", f"the picture is {image.dtype} {image.shape}, not uint8 {shape}"
            )

    def _note(self, error: Exception, frame: Frame) -> None:
        if isinstance(error, Fault):
            kind, message = error.kind, str(error)
        else:
            kind = "exception"
            message = f"the model failed with {type(error).__name__}: {error}".split("\n")[0]
        if kind not in self.covered:
            self._say(f"covered, from frame {frame.index} on: {message}")
        self.covered[kind] += 1
        if kind != "preparing":
            # A state that a fault has passed through would spoil the frames that follow; if
            # forgetting it fails, the next call does, too, and is noted then.
            with contextlib.suppress(Exception):
                self._matting.reset()

    def _ready(self, size: tuple[int, int]) -> bool:
        """Whether the step is ready for frames of this size; if not, sees to it."""
        if self._preparing is not None:
            if not self._preparing.done():
                return False
            preparing, self._preparing = self._preparing, None
            preparing.result()
        if size == self._size:
            return True
        if self._live:
            self._preparing = self._worker.submit(self.prepare, *size)
            return False
        self.prepare(*size)
        return True
