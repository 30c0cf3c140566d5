"""Video files as sources of frames."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream

from segjax.errors import SegjaxError
from segjax.images import SMALLEST_SIDE
from segjax.live import opening
from segjax.live.containers import FILE_ALONE, is_cut_short
from segjax.live.frames import Audio, Frame, Source

_USUAL_RATE = 30.0
_UNSPECIFIED = 2  # FFmpeg's AVCOL_SPC_UNSPECIFIED


class VideoFile(Source):
    """The frames of a video file: upright, with square pixels, at their own times.

    It may be iterated again and again, from the start each time.

    Raises:
      SegjaxError: the file is missing, is no video, is cut short, or holds no frame.
    """

    def __init__(self, path: Path, *, open_limit_s: float = opening.LIMIT_S) -> None:
        self.path = path
        self.name = str(path)
        if not path.is_file():
            what = "is no regular file" if path.exists() else "does not exist"
            raise SegjaxError(f"{path} {what}; a video is a file on a disk; give its path")
        opening.within(open_limit_s, self._inspect, self.name)

    def _inspect(self) -> None:
        if not self.path.stat().st_size:
            raise SegjaxError(f"{self.path} is empty (0 bytes); a video is needed; copy it again")
        with self._opened() as (container, stream):
            first = next(self._decoded(container, stream), None)
            if first is None:
                raise SegjaxError(f"{self.path} holds no frame; give a video that has some")
            height, width = upright(first, stream).shape[:2]
            rate = float(stream.average_rate or stream.guessed_rate or 0)
            self.size = (height, width)
            # Where the times of the frames are irregular, FFmpeg may guess a thousand a second.
            self.rate = rate if 1 <= rate <= 240 else _USUAL_RATE
            if container.streams.audio:
                self.audio = Audio(self.path, first.time or 0.0)
        if min(self.size) < SMALLEST_SIDE:
            raise SegjaxError(
                f"{self.path} is {width}x{height} pixels; a video needs at least {SMALLEST_SIDE} "
                "pixels a side; give a larger one"
            )

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        if is_cut_short(self.path):
            raise SegjaxError(
                f"{self.path} is cut short; a whole video is needed; copy or download it again"
            )
        try:
            container = av.open(f"file:{self.path.resolve()}", options=FILE_ALONE)
        except FFmpegError as error:
            raise SegjaxError(
                f"{self.path} is not a video that can be read ({error.strerror}); "
                "give an MP4, MOV, MKV, WebM or AVI file"
            ) from error
        with container:
            pictures = [
                stream
                for stream in container.streams.video
                if not stream.disposition & Disposition.attached_pic  # the cover of a song
            ]
            if not pictures:
                raise SegjaxError(f"{self.path} holds no video; give a file that does")
            pictures[0].thread_type = "AUTO"
            yield container, pictures[0]

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        count = 0
        try:
            for frame in container.decode(stream):
                yield frame
                count += 1
        except FFmpegError as error:
            raise SegjaxError(
                f"{self.path} breaks off after {count} frames ({error.strerror}); a whole video "
                "is needed; copy or download it again"
            ) from error

    def __iter__(self) -> Iterator[Frame]:
        origin_s: float | None = None
        with self._opened() as (container, stream):
            for index, decoded in enumerate(self._decoded(container, stream)):
                time_s = index / self.rate if decoded.time is None else decoded.time
                origin_s = time_s if origin_s is None else origin_s
                pixels = upright(decoded, stream)
                yield Frame(pixels, index, time_s - origin_s, time.perf_counter())


def upright(frame: VideoFrame, stream: VideoStream) -> np.ndarray:
    """uint8 RGB [H, W, 3] as it is meant to be seen: turned, and with square pixels."""
    aspect = stream.sample_aspect_ratio or 1
    # Files that do not name their colours mean BT.709 if they are HD; FFmpeg would take BT.601.
    hd = frame.colorspace == _UNSPECIFIED and frame.height >= 720
    pixels = frame.to_ndarray(
        format="rgb24",
        width=round(frame.width * aspect),
        height=frame.height,
        src_colorspace=Colorspace.ITU709 if hd else None,
    )
    quarters = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, quarters)) if quarters else pixels
