"""Video files as sinks."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import cast

import av
import cv2
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from segjax.errors import SegjaxError
from segjax.files import cannot_write, replacing
from segjax.live.containers import FILE_ALONE
from segjax.live.frames import Audio, Frame, Sink

TICKS = 60_000
"""Times are whole numbers of this part of a second: the usual rates, NTSC's too, come out even."""


@dataclass(frozen=True)
class Format:
    """What a kind of file holds.

    codecs: encoders of the picture, of which the first that this FFmpeg has is used.
    audio: encoder of the sound, where it cannot be copied.
    copied: sound that players expect in such a file, and that is copied as it is.
    alpha: encoder and pixel format of a picture with transparency, if there is one.
    """

    codecs: tuple[str, ...]
    audio: str
    copied: frozenset[str]
    alpha: tuple[str, str] | None = None


_H264 = ("libx264", "libopenh264", "mpeg4")
_MP4_AUDIO = frozenset({"aac", "mp3", "mp3float", "ac3", "eac3", "alac"})
_OPEN_AUDIO = frozenset({"opus", "libopus", "vorbis"})

FORMATS = {
    ".mp4": Format(_H264, "aac", _MP4_AUDIO),
    ".mov": Format(_H264, "aac", _MP4_AUDIO, ("prores_ks", "yuva444p10le")),
    ".mkv": Format(_H264, "aac", _MP4_AUDIO | _OPEN_AUDIO | {"flac", "pcm_s16le"}),
    ".webm": Format(("libvpx-vp9", "libvpx"), "libopus", _OPEN_AUDIO, ("libvpx-vp9", "yuva420p")),
}

_OPTIONS = {
    "libx264": {"preset": "veryfast", "crf": "20", "bf": "0"},
    "libvpx-vp9": {"crf": "30", "deadline": "realtime", "cpu-used": "8", "row-mt": "1"},
    "libvpx": {"crf": "10", "deadline": "realtime", "cpu-used": "8"},
}


class Recording(Sink):
    """A video file, written beside its name and renamed when it is whole.

    Frames keep their times. Odd sizes grow by a repeated row or column, since H.264 halves the
    resolution of colour; a frame of another size than the first is fitted into it. The sound of
    `audio` is laid beside the picture, up to its end, or up to the sound's own if the source went
    through.

    Raises:
      SegjaxError: the suffix is no video's, or `transparent` and not one that can hold
        transparency; the file cannot be written or the disk is full; the sound cannot be read.
    """

    def __init__(
        self,
        path: Path,
        *,
        rate: float = 30.0,
        transparent: bool = False,
        audio: Audio | None = None,
    ) -> None:
        suffix = path.suffix.lower()
        if suffix not in FORMATS:
            raise SegjaxError(
                f"{path} ends in {path.suffix!r}; video files end in {', '.join(FORMATS)}; "
                "give one of these"
            )
        self.name = str(path)
        self._path = path
        self._rate = rate
        self._format = FORMATS[suffix]
        if transparent and self._format.alpha is None:
            able = " or ".join(end for end, known in FORMATS.items() if known.alpha)
            raise SegjaxError(
                f"{path} cannot hold transparency; {able} can, and so can a folder of PNGs; "
                "give one of these"
            )
        self._transparent = transparent
        self._audio = audio
        self._sound: _Sound | None = None
        self._source_ended = False
        self._files = contextlib.ExitStack()
        self._container: OutputContainer | None = None
        """Opened with the first frame, which says the size; without one, nothing is written."""
        self._last_tick = -1
        self._last_s = 0.0

    def write(self, frame: Frame) -> None:
        with self._failures():
            if self._container is None:
                self._container = self._open(frame)
            picture = VideoFrame.from_ndarray(
                _fit(frame.pixels, self._stream.height, self._stream.width),
                format="rgba" if self._transparent else "rgb24",
            ).reformat(
                format=self._stream.pix_fmt,
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
            )
            tick = max(round(frame.time_s * TICKS), self._last_tick + 1)
            picture.pts, picture.time_base = tick, Fraction(1, TICKS)
            picture.duration = round(TICKS / self._rate)  # which counts for the last frame
            self._last_tick, self._last_s = tick, frame.time_s
            self._container.mux(self._stream.encode(picture))
            if self._sound:
                self._sound.advance(frame.time_s)

    def source_ended(self) -> None:
        self._source_ended = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._files.__exit__(kind, error, trace)
            return
        with self._files, self._failures():
            if self._container is not None:
                self._container.mux(self._stream.encode(None))
                if self._sound:
                    end_s = self._last_s + 1 / self._rate
                    self._sound.advance(math.inf if self._source_ended else end_s)
                self._container.close()

    def _open(self, frame: Frame) -> OutputContainer:
        beside = self._files.enter_context(replacing(self._path))
        container = av.open(str(beside), "w")
        self._files.callback(_abandon, container)
        if self._transparent and self._format.alpha:
            codec, pixel_format = self._format.alpha
        else:
            codec, pixel_format = _available(self._format.codecs), "yuv420p"
        rate = Fraction(self._rate).limit_denominator(1001)
        stream = cast(
            VideoStream,
            container.add_stream(codec, rate=rate, options=_OPTIONS.get(codec, {})),
        )
        height, width = frame.pixels.shape[:2]
        stream.height, stream.width = height + height % 2, width + width % 2
        stream.pix_fmt = pixel_format
        # Where the quality is not chosen by an option above, 0.1 bits for each pixel.
        stream.bit_rate = 0 if codec in _OPTIONS else round(0.1 * height * width * self._rate)
        context = stream.codec_context
        context.time_base = Fraction(1, TICKS)
        context.colorspace = context.color_primaries = context.color_trc = Colorspace.ITU709
        context.color_range = ColorRange.MPEG
        context.thread_count = 0
        self._stream = stream
        if self._audio:
            self._sound = self._files.enter_context(_Sound(self._audio, container, self._format))
        return container

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except FFmpegError as error:
            failure = OSError(error.errno, error.strerror)
            raise SegjaxError(cannot_write(self._path, failure)) from error


class _Sound(contextlib.AbstractContextManager):
    """The sound of one file on its way into another, as far as the picture has come."""

    def __init__(self, audio: Audio, container: OutputContainer, format: Format) -> None:
        self._audio = audio
        self._container = container
        with self._reading():
            self._input = av.open(f"file:{audio.path.resolve()}", options=FILE_ALONE)
        self._source = self._input.streams.audio[0]
        if self._source.codec_context.name in format.copied:
            self._stream = cast(AudioStream, container.add_stream_from_template(self._source))
            self._packets = self._copied()
        else:
            self._stream = cast(AudioStream, container.add_stream(format.audio, rate=48_000))
            self._stream.layout = "mono" if self._source.channels == 1 else "stereo"
            self._packets = self._encoded()
        self._next: Packet | None = None
        """The packet that is due next; the first is read when there is a picture for it."""

    def __exit__(self, *error: object) -> None:
        self._input.close()

    def advance(self, until_s: float) -> None:
        """Writes what sounds before `until_s` seconds of the picture.

        Raises:
          SegjaxError: the file breaks off, or its sound cannot be decoded.
        """
        while self._next is None or _time_s(self._next) < until_s:
            if self._next is not None:
                self._container.mux(self._next)
            with self._reading():
                self._next = next(self._packets, None)
            if self._next is None:
                return

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except FFmpegError as error:
            raise SegjaxError(
                f"the sound of {self._audio.path} cannot be read ({error.strerror}); "
                "a video's sound goes into its output; repair the file or remove its sound"
            ) from error

    def _copied(self) -> Iterator[Packet]:
        for packet in self._input.demux(self._source):
            if self._shift(packet):
                packet.stream = self._stream
                yield packet

    def _encoded(self) -> Iterator[Packet]:
        for frame in self._input.decode(self._source):
            if self._shift(frame):
                yield from self._stream.encode(frame)
        yield from self._stream.encode(None)

    def _shift(self, piece: Packet | AudioFrame) -> bool:
        """Moves a piece's times so that the first picture is at 0; False if it is over by then, or
        has no time."""
        if piece.pts is None or piece.time_base is None:
            return False
        shift = round(self._audio.origin_s / piece.time_base)
        piece.pts -= shift
        if piece.dts is not None:
            piece.dts -= shift
        # Encoders start before 0 with sound that only primes the decoder: that stays.
        return piece.pts + (piece.duration or 0) >= 0


def _time_s(packet: Packet) -> float:
    return float((packet.pts or 0) * packet.time_base)


def _available(codecs: tuple[str, ...]) -> str:
    """The first encoder that this FFmpeg has."""
    for name in codecs:
        with contextlib.suppress(FFmpegError, ValueError):
            av.Codec(name, "w")
            return name
    raise SegjaxError(
        f"this FFmpeg has no encoder of {', '.join(codecs)}; PyAV's own wheels have; "
        "run `pip install --force-reinstall av`"
    )


def _abandon(container: OutputContainer) -> None:
    """Closes a container that may be broken, or closed already."""
    with contextlib.suppress(FFmpegError):
        container.close()


def _fit(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixels of the stream's even size: a row or column repeated, or, where the picture has another
    size altogether, scaled into the middle of a black one."""
    h, w = pixels.shape[:2]
    if (h, w) == (height, width):
        return pixels
    if (h + h % 2, w + w % 2) == (height, width):
        return cv2.copyMakeBorder(pixels, 0, height - h, 0, width - w, cv2.BORDER_REPLICATE)
    scale = min(height / h, width / w)
    h, w = round(h * scale), round(w * scale)
    top, left = (height - h) // 2, (width - w) // 2
    scaled = cv2.resize(pixels, (w, h), interpolation=cv2.INTER_AREA)
    return cv2.copyMakeBorder(
        scaled, top, height - h - top, left, width - w - left, cv2.BORDER_CONSTANT
    )
