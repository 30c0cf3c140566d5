"""Steps, sources and sinks for the tests of the loop, in NumPy."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from segjax.live.frames import Frame, Sink, Source


@dataclass(frozen=True)
class Composite:
    image: np.ndarray
    alpha: np.ndarray
    index: int


class FakeMatting:
    """Keeps the left half of a frame; `spoil` may make a fault of what it gives for a frame.

    It reads the frame last, after `step_s` seconds, as JAX may.
    """

    def __init__(
        self,
        spoil: Callable[[Composite], Composite] = lambda good: good,
        *,
        transparent: bool = False,
        step_s: float = 0.0,
    ) -> None:
        self.prepared: list[tuple[int, int]] = []
        self.resets = 0
        self._spoil = spoil
        self._channels = 4 if transparent else 3
        self._step_s = step_s

    def prepare(self, height: int, width: int) -> None:
        self.prepared.append((height, width))

    def mask_size(self, height: int, width: int) -> tuple[int, int]:
        return height // 2, width // 2

    def reset(self) -> None:
        self.resets += 1

    def __call__(self, pixels: np.ndarray, background: np.ndarray | None, index: int) -> Composite:
        height, width = pixels.shape[:2]
        alpha = np.zeros(self.mask_size(height, width), np.float32)
        alpha[:, : width // 4] = 1
        image = np.zeros((height, width, self._channels), np.uint8)
        if background is not None:
            image[:] = background
        time.sleep(self._step_s)
        image[:, : width // 2, :3] = pixels[:, : width // 2]
        image[:, : width // 2, 3:] = 255
        return self._spoil(Composite(image, alpha, index))


class FakeSource(Source):
    """Frames of one value each; `low` keeps all of their bytes below 100, else above 155, so that
    two such sources have no byte in common. With `scribble`, there is one buffer, overwritten as
    soon as the next frame is asked for."""

    name = "fake"

    def __init__(
        self,
        count: int = 8,
        *,
        low: bool = True,
        live: bool = False,
        size: tuple[int, int] = (32, 48),
        sizes: Callable[[int], tuple[int, int]] | None = None,
        interval_s: float = 0.0,
        scribble: bool = False,
        error: Exception | None = None,
    ) -> None:
        self.size = size
        self.rate = 30.0
        self.live = live
        self.handed_over = 0
        self._count = count
        self._low = low
        self._sizes = sizes or (lambda index: size)
        self._interval_s = interval_s
        self._scribble = scribble
        self._error = error

    def value(self, index: int) -> int:
        """The value of all bytes of a frame."""
        return index % 100 if self._low else 156 + index % 100

    def __iter__(self) -> Iterator[Frame]:
        buffer = np.empty((*self.size, 3), np.uint8)
        for index in range(self._count):
            time.sleep(self._interval_s)
            if not self._scribble:
                buffer = np.empty((*self._sizes(index), 3), np.uint8)
            buffer[:] = self.value(index)
            self.handed_over += 1
            yield Frame(buffer, index, index / self.rate, time.perf_counter())
            if self._scribble:
                buffer[:] = 255
        if self._error:
            raise self._error


class Collector(Sink):
    """Keeps all frames. With `scribble`, it overwrites every one that it got before."""

    name = "collector"

    def __init__(self, *, scribble: bool = False, error_at: int = -1, write_s: float = 0.0) -> None:
        self.frames: list[Frame] = []
        self.copies: list[np.ndarray] = []
        self.threads: set[threading.Thread] = set()
        self.closed_with: list[BaseException | None] = []
        self.source_has_ended = False
        self._scribble = scribble
        self._error_at = error_at
        self._write_s = write_s

    def write(self, frame: Frame) -> None:
        if len(self.frames) == self._error_at:
            raise OSError(28, "No space left on device")
        self.threads.add(threading.current_thread())
        time.sleep(self._write_s)
        self.frames.append(frame)
        self.copies.append(frame.pixels.copy())
        if self._scribble:
            for kept in self.frames:
                kept.pixels[:] = 77

    def source_ended(self) -> None:
        self.source_has_ended = True

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.closed_with.append(error)


def make_video(
    path: Path,
    ticks: Sequence[int] = range(0, 40_000, 2_000),
    *,
    size: tuple[int, int] = (48, 64),
    codec: str = "libx264",
    audio: str | None = None,
    rotation: int | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Writes a video of one frame for each of `ticks` (1/60000 s): its upper half is red, its lower
    half grey and lighter from frame to frame. `audio` is the codec of a tone as long as it."""
    height, width = size
    with av.open(str(path), "w", options=options or {}) as container:
        video: Any = container.add_stream(codec, rate=30)
        video.height, video.width, video.pix_fmt = height, width, "yuv420p"
        video.codec_context.time_base = Fraction(1, 60_000)
        if rotation is not None:
            video.set_display_rotation(rotation)
        sound: Any = container.add_stream(audio, rate=48_000) if audio else None
        if sound:
            sound.layout = "mono"
        for index, tick in enumerate(ticks):
            pixels = np.full((height, width, 3), 40 + 5 * index % 200, np.uint8)
            pixels[: height // 2] = (200, 20, 20)
            frame = VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, 60_000)
            container.mux(video.encode(frame))
        if sound:
            samples = np.sin(np.arange(int((ticks[-1] + 2_000) / 60_000 * 48_000)) / 20)
            for start in range(0, len(samples), 960):
                chunk = samples[start : start + 960].astype(np.float32)[None]
                piece = AudioFrame.from_ndarray(chunk, format="fltp", layout="mono")
                piece.sample_rate, piece.pts = 48_000, start
                piece.time_base = Fraction(1, 48_000)
                container.mux(sound.encode(piece))
            container.mux(sound.encode(None))
        container.mux(video.encode(None))
    return path


def folder_contents(folder: Path) -> list[str]:
    """All names in a folder, hidden ones too."""
    return sorted(path.name for path in folder.iterdir())
