"""The step under guard: a frame composed with its own mask comes out, or a fault."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, cast

import numpy as np

from segjax.live.backgrounds import Background
from segjax.live.clock import Clock
from segjax.live.frames import Frame
from segjax.live.watch import is_picture

REMEDY = "close other programs, or ask the camera for a smaller picture with --camera-size 640x360"
"""Against a machine that has too little of what the step needs."""

JUMP = 0.4
"""A person does not come to cover, or uncover, so much of the picture between two frames."""

FULL = 0.98
"""Nobody covers more of the picture than this."""

AGREE_WITHIN = 0.1
AGREE = 5
"""After one of these, so many masks in a row, each covering about as much as the one before, are
believed again."""


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


class Graded(Matting, Protocol):
    """A step that can also do it less well in less time.

    qualities: their names, from the best on.
    quality: the one in use, which may change between two frames if it is prepared.
    """

    qualities: Sequence[str]
    quality: int

    def prepare_quality(self, quality: int, height: int, width: int) -> float:
        """Gets another quality ready, on any thread, while frames are composed by those that are:
        what it takes as a share of what the best one does."""
        ...


def graded(matting: Matting) -> Graded | None:
    """The step, if it has qualities."""
    return cast(Graded, matting) if hasattr(matting, "qualities") else None


class Fault(Exception):
    """Why a frame is covered: `kind` for counting, the message for the user."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Look:
    """What frames are composed over, and by which step."""

    background: Background
    matting: Matting


class Guard:
    """Calls the step, and lets only what it may have made of the frame pass.

    A frame passes if it is one; a composite, if it bears the frame's index, its alpha is finite, in
    [0, 1] and of the mask's size, and its image is of the frame's size; from a live source, also if
    the mask covers a believable share of the picture. Anything else, an exception of the step too,
    is a Fault, and makes the step forget its state.

    A live source does not wait while the step prepares for a new size: its frames are faults of the
    kind "preparing" until then. Other sources do. With `others`, the step's other qualities are
    prepared afterwards, while frames are composed by the best one.
    """

    CHECKS: ClassVar = ("check_index", "check_mask_shape", "check_mask_values", "check_image")
    """Of every composite."""

    def __init__(
        self,
        look: Look,
        *,
        live: bool = False,
        others: bool = False,
        say: Callable[[str], None] = print,
        clock: Clock | None = None,
        remedy: str = REMEDY,
    ) -> None:
        self.sizes: dict[tuple[int, int], tuple[int, int]] = {}
        """(height, width) of the frames that the step was prepared for, and of their masks."""
        self._live = live
        self._others = others
        self._say = say
        self._remedy = remedy
        self._clock = clock or Clock()
        self._matting = look.matting
        self._size: tuple[int, int] | None = None
        self._prepared: set[tuple[Matting, int, int]] = set()
        self._costs: dict[tuple[Matting, int, int], tuple[float, ...]] = {}
        self._preparing = False
        self._coverage: float | None = None
        self._to_agree = 0

    def prepare(self, matting: Matting, height: int, width: int) -> None:
        """Prepares a step for frames of this size and waits until it is ready."""
        # Noted first: a step that cannot be prepared is not prepared again for every frame, but
        # called as it is, and what it makes of that is checked like everything.
        key = (matting, height, width)
        if key in self._prepared:
            return
        self._prepared.add(key)
        self._say(
            f"preparing the model for {width}x{height}: compiling takes about 10 s the first time, "
            "and about 2 s when the compiled code is in the cache"
        )
        started_s = self._clock.now()
        matting.prepare(height, width)
        self.sizes[height, width] = matting.mask_size(height, width)
        self._say(f"ready after {self._clock.now() - started_s:.1f} s")

    def prepare_others(self, matting: Matting, height: int, width: int) -> None:
        """Prepares a step's other qualities, one after another, each of use as soon as it is."""
        key = (matting, height, width)
        step = graded(matting)
        if not self._others or step is None or key in self._costs:
            return
        self._costs[key] = (1.0,)
        # What goes wrong here only leaves the governor with less to choose from.
        with contextlib.suppress(Exception):
            for quality in range(1, len(step.qualities)):
                cost = step.prepare_quality(quality, height, width)
                self._costs[key] = (*self._costs[key], cost)

    def costs(self, matting: Matting, height: int, width: int) -> tuple[float, ...]:
        """What each quality that is ready takes, as a share of what the best one does."""
        return self._costs.get((matting, height, width), (1.0,))

    def forget(self) -> None:
        """What comes next has nothing to do with what came before."""
        self._coverage = None
        self._reset()

    def _reset(self) -> None:
        with contextlib.suppress(Exception):  # or the next call fails, too, and is a fault
            self._matting.reset()

    def __call__(
        self, frame: Frame, picture: np.ndarray | None, look: Look, quality: int = 0
    ) -> Composite:
        """The frame composed; `picture` is the background's at its time and size, or None.

        `quality` is the step's to use, if it is ready.

        Raises:
          Fault: it may not be shown.
        """
        try:
            self.check_frame(frame)
            height, width = frame.pixels.shape[:2]
            self._make_ready(look.matting, height, width)
            if step := graded(look.matting):
                step.quality = min(quality, len(self.costs(step, height, width)) - 1)
            composite = look.matting(frame.pixels, picture, frame.index)
            for check in self.CHECKS:
                getattr(self, check)(composite, frame, look)
            if self._live:
                self.check_coverage(composite)
            return composite
        except Fault as fault:
            # A state that a fault has passed through would spoil the frames that follow.
            if fault.kind not in ("preparing", "coverage"):
                self._reset()
            raise
        except Exception as error:
            self._reset()
            raise _as_fault(error, self._remedy) from error

    def check_frame(self, frame: Frame) -> None:
        """A camera may change its format while it runs."""
        pixels = frame.pixels
        if not is_picture(pixels):
            raise Fault(
                "frame format", f"the frame is {pixels.dtype} {pixels.shape}, not uint8 [H, W, 3]"
            )

    def check_index(self, composite: Composite, frame: Frame, look: Look) -> None:
        """The mask is of this frame."""
        if composite.index != frame.index:
            raise Fault("stale", "a mask of another frame came")

    def check_mask_shape(self, composite: Composite, frame: Frame, look: Look) -> None:
        """The mask is one."""
        alpha, expected = composite.alpha, look.matting.mask_size(*frame.pixels.shape[:2])
        if alpha.shape != expected or alpha.dtype != np.float32:
            raise Fault(
                "mask shape", f"the mask is {alpha.dtype} {alpha.shape}, not float32 {expected}"
            )

    def check_mask_values(self, composite: Composite, frame: Frame, look: Look) -> None:
        """The mask holds shares."""
        # NaN fails both comparisons, and infinity one.
        if not (composite.alpha.min() >= 0 and composite.alpha.max() <= 1):
            raise Fault("mask values", "the mask holds values outside [0, 1]")

    def check_image(self, composite: Composite, frame: Frame, look: Look) -> None:
        """The picture is one of the frame's size."""
        channels = 4 if look.background.kind == "transparent" else 3
        image, expected = composite.image, (*frame.pixels.shape[:2], channels)
        if image.shape != expected or image.dtype != np.uint8:
            raise Fault(
                "image shape", f"the picture is {image.dtype} {image.shape}, not uint8 {expected}"
            )

    def check_coverage(self, composite: Composite) -> None:
        """The mask covers a share of the picture that a person may, given the one before."""
        covers, before = float(composite.alpha.mean()), self._coverage
        self._coverage = covers
        if covers > FULL or (before is not None and abs(covers - before) > JUMP):
            self._to_agree = AGREE
        if covers <= FULL and self._to_agree:
            agrees = before is not None and abs(covers - before) <= AGREE_WITHIN
            self._to_agree = self._to_agree - 1 if agrees else AGREE - 1
        if self._to_agree:
            raise Fault(
                "coverage",
                "the mask suddenly covers far more or far less of the picture; it is believed "
                f"again after {AGREE} that agree",
            )

    def _make_ready(self, matting: Matting, height: int, width: int) -> None:
        """Sees to it that the step is ready for frames of this size."""
        if self._preparing:
            raise Fault("preparing", "the model prepares for another size of picture")
        if matting is self._matting and (height, width) == self._size:
            return
        if (matting, height, width) not in self._prepared:
            if self._live:
                self._preparing = True
                self._clock.start(lambda: self._prepare_aside(matting, height, width), "prepare")
                raise Fault("preparing", "the model prepares for another size of picture")
            self.prepare(matting, height, width)
        if self._size is not None:
            self.forget()
        self._matting, self._size = matting, (height, width)

    def _prepare_aside(self, matting: Matting, height: int, width: int) -> None:
        try:
            # What goes wrong here goes wrong again, and is noted, when the step is called.
            with contextlib.suppress(Exception):
                self.prepare(matting, height, width)
        finally:
            self._preparing = False
        self.prepare_others(matting, height, width)


def _as_fault(error: Exception, remedy: str) -> Fault:
    words = str(error).split("\n")[0]
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in words:
        return Fault(
            "out of memory", f"the machine has too little free memory for the model; {remedy}"
        )
    return Fault("exception", f"the model failed with {type(error).__name__}: {words}")
