"""What flows through the loop, and the two ends of it: what a source and a sink are."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from segjax.errors import SegjaxError


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a stream.

    pixels: uint8 RGB [H, W, 3]; [H, W, 4] RGBA when it leaves with a transparent background. From
      a source they are valid until the source is asked for the next frame, since it may use its
      buffer again; a sink owns the pixels that it gets.
    index: counts every frame of the source from 0, dropped ones too.
    time_s: seconds since the source's first frame, as the source says.
    captured_s: `time.perf_counter()` when the frame was there.
    """

    pixels: np.ndarray
    index: int
    time_s: float
    captured_s: float


@dataclass(frozen=True, slots=True)
class Audio:
    """The sound that belongs to a source: that of the file `path`, in which the source's first
    frame stands at `origin_s` seconds."""

    path: Path
    origin_s: float


class Source:
    """Gives frames: a context manager, iterated inside its block.

    The constructor finds what the user got wrong; a camera opens only on entering.
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
    """Takes frames: a context manager. What it is given is its own to keep or to overwrite.

    A block that ends with an exception leaves nothing of what was written.
    """

    name: str
    paced = False
    """Whether frames are shown at their own times."""

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
        """Takes a frame."""
        raise NotImplementedError

    def idle(self) -> None:
        """Called often while no frame comes."""

    def source_ended(self) -> None:
        """Called after the last frame of a source that was not interrupted."""


class SourceLost(SegjaxError):
    """A live source ended by itself: what came before is whole and worth keeping."""
