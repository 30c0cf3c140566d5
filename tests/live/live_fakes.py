"""Steps, sources and sinks for the tests of the loop, in NumPy."""

import math
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

from segjax.live.clock import Clock
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
        clock: Clock | None = None,
    ) -> None:
        self.prepared: list[tuple[int, int]] = []
        self.resets = 0
        self.qualities = ("full",)
        self.quality = 0
        self._spoil = spoil
        self._channels = 4 if transparent else 3
        self._step_s = step_s
        self._clock = clock or Clock()

    def prepare(self, height: int, width: int) -> None:
        self.prepared.append((height, width))

    def prepare_quality(self, quality: int, height: int, width: int) -> float:
        raise AssertionError("there is one quality")

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
        self._clock.sleep(self._step_s)
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
        clock: Clock | None = None,
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
        self._clock = clock or Clock()

    def value(self, index: int) -> int:
        """The value of all bytes of a frame. A live source's frames are neither black nor alike."""
        value = 20 + 37 * index % 80 if self.live else index % 100
        return value if self._low else 156 + value

    def __iter__(self) -> Iterator[Frame]:
        buffer = np.empty((*self.size, 3), np.uint8)
        for index in range(self._count):
            self._clock.sleep(self._interval_s)
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
    """Keeps all outputs. With `scribble`, it overwrites every one that it got before."""

    name = "collector"

    def __init__(
        self,
        *,
        scribble: bool = False,
        error_at: int = -1,
        write_s: float = 0.0,
        clock: Clock | None = None,
    ) -> None:
        self.frames: list[Frame] = []
        self.copies: list[np.ndarray] = []
        self.threads: set[threading.Thread] = set()
        self.closed_with: list[BaseException | None] = []
        self.source_has_ended = False
        self._scribble = scribble
        self._error_at = error_at
        self._write_s = write_s
        self._clock = clock or Clock()

    def write(self, frame: Frame) -> None:
        if len(self.frames) == self._error_at:
            raise OSError(28, "No space left on device")
        self.threads.add(threading.current_thread())
        self._clock.sleep(self._write_s)
        self.frames.append(frame)
        self.copies.append(frame.pixels.copy())
        if self._scribble:
            for kept in self.frames:
                kept.pixels[:] = 77

    def source_ended(self) -> None:
        self.source_has_ended = True

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.closed_with.append(error)


class Abandoned(BaseException):
    """Ends a thread that waits for what never comes, when its clock is let go."""


@dataclass(eq=False)
class _Waiting:
    ready: Callable[[], Any]
    until_s: float
    turn: threading.Condition
    its_turn: bool = False


class ScriptedClock(Clock):
    """Time that stands still while any thread works and jumps to what they all wait for.

    One thread runs at a time and hands on only when it waits, so a run is the same every time.
    A context manager: leaving it ends threads that would wait for ever.
    """

    PATIENCE_S = 20.0
    """In real time; a thread that works for longer is stuck outside of this clock."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._lock = threading.RLock()
        self._waiting: list[_Waiting] = []
        self._ended: set[threading.Thread] = set()
        self._released = False

    def __enter__(self) -> "ScriptedClock":
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._released = True
            for waiting in self._waiting:
                waiting.turn.notify_all()

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self.wait(lambda: False, seconds)

    def condition(self) -> threading.Condition:
        return _ScriptedCondition(self, self._lock)

    def start(self, work: Callable[[], None], name: str) -> threading.Thread:
        started = _Waiting(lambda: True, math.inf, threading.Condition(self._lock))

        def scripted() -> None:
            try:
                with self._lock:
                    self._take_turn(started)
                work()
            except Abandoned:
                pass
            finally:
                with self._lock:
                    self._ended.add(threading.current_thread())
                    self._hand_on()

        with self._lock:
            self._waiting.append(started)
        return super().start(scripted, name)

    def join(self, thread: threading.Thread, timeout_s: float) -> bool:
        return bool(self.wait(lambda: thread in self._ended, max(0.0, timeout_s)))

    def jump(self, seconds: float) -> None:
        """Time passes although a thread works, as when the process is stopped."""
        self._now += seconds

    def wait(self, ready: Callable[[], Any], timeout_s: float | None = None) -> Any:
        """What `Condition.wait_for` does."""
        with self._lock:
            if self._released:
                raise Abandoned
            if not ready() and timeout_s != 0:
                until_s = math.inf if timeout_s is None else self._now + timeout_s
                waiting = _Waiting(ready, until_s, threading.Condition(self._lock))
                self._waiting.append(waiting)
                self._hand_on()
                self._take_turn(waiting)
            return ready()

    def _take_turn(self, waiting: _Waiting) -> None:
        if (
            not waiting.turn.wait_for(lambda: waiting.its_turn or self._released, self.PATIENCE_S)
            or not waiting.its_turn
        ):
            raise Abandoned
        self._waiting.remove(waiting)

    def _hand_on(self) -> None:
        """Gives the turn to who waits for nothing any more, else to who waits for the next time."""
        if not self._waiting:
            return
        chosen = next((each for each in self._waiting if each.ready()), None)
        if chosen is None:
            chosen = min(self._waiting, key=lambda each: each.until_s)
            self._now = max(self._now, chosen.until_s)
            assert math.isfinite(self._now), "every thread waits for another"
        chosen.its_turn = True
        chosen.turn.notify_all()


class _ScriptedCondition(threading.Condition):
    def __init__(self, clock: ScriptedClock, lock: Any) -> None:
        super().__init__(lock)
        self._clock = clock

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        return self._clock.wait(predicate, timeout)

    def notify_all(self) -> None:
        pass  # who waits is asked whenever a thread begins to wait


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
