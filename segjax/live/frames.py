"""What flows through the loop, and the two ends of it: what a source and a sink are."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np

from segjax.errors import SegjaxError


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a stream.

    pixels: uint8 RGB [H, W, 3]; [H, W, 4] RGBA when it leaves with a transparent background. From
      a source they are valid until the source is asked for the next frame, since it may use its
      buffer again; a sink owns the pixels that it gets.
    index: counts every frame of the source from 0, dropped ones too. A live source that is entered
      anew may start from 0 again; the loop counts on.
    time_s: seconds since the source's first frame, as the source says.
    captured_s: `time.perf_counter()` when the frame was there.
    """

    pixels: np.ndarray
    index: int
    time_s: float
    captured_s: float


Kind = Literal["composed", "repeated", "covered"]


@dataclass(frozen=True, slots=True)
class Output(Frame):
    """What leaves the process; there is nothing else that a sink gets. `Gate` alone makes it.

    kind: "composed", the frame `index` with the mask computed from that frame; "repeated", the
      bytes of an earlier composed output, whose `index` it bears; or "covered", made from settings
      and time alone in place of the frame `index`, which is that of the last one if none came, and
      -1 before the first.
    made_s: when it was composed, by the loop's clock; of a repeated one, when the original was.

    `time_s` only grows from one output to the next.
    """

    kind: Kind
    made_s: float


@dataclass(frozen=True, slots=True)
class Audio:
    """The sound that belongs to a source: that of the file `path`, in which the source's first
    frame stands at `origin_s` seconds."""

    path: Path
    origin_s: float


class Source:
    """Gives frames: a context manager, iterated inside its block.

    The constructor finds what the user got wrong; a camera opens only on entering. A live source is
    left and entered again after a pause, and when it raised while it was open.
    """

    name: str
    live = False
    """A live source does not wait: what is not taken in time is lost."""
    size: tuple[int, int]
    """(height, width) of the frames to expect: of the first one, or as asked of a camera."""
    rate: float
    """Frames a second, nominally."""
    audio: Audio | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        raise NotImplementedError


class Sink:
    """Takes outputs: a context manager. What it is given is its own to keep or to overwrite.

    A block that ends with an exception leaves nothing of what was written.
    """

    name: str
    paced = False
    """Whether frames are shown at their own times."""
    main_thread = False
    """Whether it must be used from the main thread, as windows must. Each other sink has a thread
    of its own, so that one that is stuck holds up no other sink of a live source."""

    @property
    def ended(self) -> bool:
        """Whether the user has closed it, which ends the run."""
        return False

    @property
    def lingers(self) -> bool:
        """Whether it is still looked at after the last frame."""
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def write(self, frame: Frame) -> None:
        """Takes a frame: of a run, an Output."""
        raise NotImplementedError

    def idle(self) -> None:
        """Called often while no frame comes."""

    def source_ended(self) -> None:
        """Called after the last frame of a source that was not interrupted."""


class SourceLost(SegjaxError):
    """A live source gives nothing more for now. It is tried again."""


class Stuck(SegjaxError):
    """The model does not return: the run cannot go on, but what came before is worth keeping."""
