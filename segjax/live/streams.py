"""Streams from the network: rtsp and http, from cameras, phones and servers."""

import re
import time
from collections.abc import Iterator
from typing import Any

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from segjax.errors import SegjaxError
from segjax.images import SMALLEST_SIDE
from segjax.live import opening
from segjax.live.frames import Frame, Source, SourceLost
from segjax.live.videos import upright

ADDRESS = re.compile(r"(rtsps?|https?)://", re.IGNORECASE)
"""How a stream's address begins."""

OPEN_S = 10.0
"""A stream that has not opened by then is not there."""

SILENT_S = 5.0
"""A stream that has sent nothing for this long is lost."""

_OPTIONS = {
    # What an address or a playlist leads to: never a file of this machine.
    "protocol_whitelist": "rtsp,rtsps,rtp,srtp,udp,tcp,tls,http,https,crypto",
    "rtsp_transport": "tcp",  # UDP loses packets on Wi-Fi, and a picture shows it for seconds
    "flags": "low_delay",
}


class Stream(Source):
    """Frames of an rtsp:// or http:// address, as they come.

    Live: frames that are not taken in time are lost, and a stream that ends or goes silent is
    entered again. A file behind http:// is shown at its own times, and ends.

    Raises:
      SegjaxError: there is no stream at the address, or it holds no picture.
      SourceLost: while iterating, it ended or went silent.
    """

    live = True

    def __init__(self, address: str, *, open_s: float = OPEN_S, silent_s: float = SILENT_S) -> None:
        self._address = address
        self.name = re.sub(r"(?<=://)[^/]*@", "", address)  # without user name and password
        self._limits_s = open_s, silent_s
        self._container: InputContainer | None = None

        def inspect() -> None:
            container, stream = self._open()
            with container:
                first = next(container.decode(stream), None)
                if first is None:
                    raise SegjaxError(f"{self.name} holds no picture; give a stream that does")
                height, width = upright(first, stream).shape[:2]
                self.size = (height, width)
                self.rate = float(stream.average_rate or 0)
                if not 1 <= self.rate <= 240:
                    self.rate = 30.0

        try:
            opening.within(open_s + silent_s, inspect, self.name)
        except FFmpegError as error:
            raise SegjaxError(self._absent(error)) from error
        if min(self.size) < SMALLEST_SIDE:
            raise SegjaxError(
                f"{self.name} is {self.size[1]}x{self.size[0]} pixels; a stream needs at least "
                f"{SMALLEST_SIDE} pixels a side; give a larger one"
            )

    def _open(self) -> tuple[InputContainer, VideoStream]:
        container = av.open(self._address, options=_OPTIONS, timeout=self._limits_s)
        if not container.streams.video:
            container.close()
            raise SegjaxError(f"{self.name} holds no video; give a stream that does")
        stream = container.streams.video[0]
        stream.thread_type = "SLICE"  # threads over frames would hold some of them back
        return container, stream

    def _absent(self, error: FFmpegError) -> str:
        return (
            f"there is no stream at {self.name} ({error.strerror}); check the address, user name "
            "and password, and that a player shows it"
        )

    def __enter__(self) -> "Stream":
        try:
            self._container, self._stream = self._open()
        except FFmpegError as error:
            raise SourceLost(self._absent(error)) from error
        return self

    def __exit__(self, *error: Any) -> None:
        if self._container is not None:
            self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        container = self._container
        assert container is not None
        is_file = container.duration is not None
        first_s: float | None = None
        began_s = time.perf_counter()
        try:
            for index, decoded in enumerate(container.decode(self._stream)):
                now_s = time.perf_counter() - began_s
                time_s = decoded.time if is_file and decoded.time is not None else now_s
                first_s = time_s if first_s is None else first_s
                if is_file:
                    time.sleep(max(0.0, time_s - first_s - now_s))
                pixels = upright(decoded, self._stream)
                yield Frame(pixels, index, time_s - first_s, time.perf_counter())
        except FFmpegError as error:
            raise SourceLost(f"{self.name} broke off ({error.strerror})") from error
        if not is_file:
            raise SourceLost(f"{self.name} ended")
