"""Frames by WebRTC, for a page on another device: a video goes in, the composed one comes back.

No server is asked for the way (STUN, TURN) and no name is looked up: the only candidates are the
address at which the page reached this server, and the one from which it came.
"""

import asyncio
import contextlib
import functools
import importlib.util
import time
from collections.abc import Awaitable, Callable
from fractions import Fraction
from typing import TYPE_CHECKING

import cv2
import numpy as np
from av import VideoFrame

from segjax.errors import SegjaxError
from segjax.web.composer import Composer
from segjax.web.sizes import SIDES
from segjax.web.studio import scaled
from segjax.web.viewer import Answer

if TYPE_CHECKING:
    from aiortc import MediaStreamTrack, RTCIceGatherer

TRY_S = 5.0
"""How long a page tries WebRTC, before its frames go over the WebSocket."""

CLOCK = 90_000
"""Ticks a second of a video's timestamps."""

LARGEST_OFFER = 64 * 1024

Tell = Callable[[Answer], Awaitable[None]]


def available() -> bool:
    """Whether the package that speaks WebRTC is there."""
    return importlib.util.find_spec("aiortc") is not None


class Peer:
    """One page's connection.

    Args:
      composer: of whose answers' pictures the returned video is made, and of nothing else.
      here: this machine's address, at which it listens; there: the page's.
      tell: called with each answer that leaves.
    """

    def __init__(self, composer: Composer, here: str, there: str, tell: Tell) -> None:
        from aiortc import RTCConfiguration, RTCPeerConnection

        self._here, self._there = here, there
        # Without this, aiortc would ask a STUN server.
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._way = Way(composer, tell)
        self._reading: asyncio.Task | None = None

    async def accept(self, offer: object) -> str:
        """The answer to a page's offer of one video both ways: a session description.

        Raises:
          SegjaxError: it is another, or none.
        """
        from aiortc import RTCSessionDescription

        wrong = SegjaxError("the offer is not of one video and nothing else; load the page again")
        if not isinstance(offer, str) or len(offer) > LARGEST_OFFER:
            raise wrong
        kinds = [line.split(" ")[0] for line in offer.splitlines() if line.startswith("m=")]
        if kinds != ["m=video"]:
            raise wrong
        offer = only_from(offer, self._there)
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            (transceiver,) = self._connection.getTransceivers()
            gatherer = transceiver.receiver.transport.transport.iceGatherer
            _listen_only_at(self._here, gatherer)
            self._connection.addTrack(_returned(self._way))
            await self._connection.setLocalDescription(await self._connection.createAnswer())
        except Exception as error:  # a parser of hostile text raises what it likes
            raise wrong from error
        self._reading = asyncio.create_task(self._way.read(transceiver.receiver.track))
        return self._connection.localDescription.sdp

    async def close(self) -> None:
        if self._reading:
            self._reading.cancel()
        await self._connection.close()


class Way:
    """From a track's frames, of which the newest wins, to those of the returned one."""

    def __init__(self, composer: Composer, tell: Tell) -> None:
        self._composer = composer
        self._tell = tell
        self._newest: VideoFrame | None = None
        self._came = asyncio.Event()
        self._number = 0
        self._began_s = time.perf_counter()

    async def read(self, track: "MediaStreamTrack") -> None:
        """Takes frames until the track ends."""
        from aiortc.mediastreams import MediaStreamError

        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, VideoFrame)
                self._newest = frame
                self._came.set()

    async def next(self) -> VideoFrame:
        """The next frame to return: composed of the newest, or what the gate lets out when none
        comes."""
        with contextlib.suppress(TimeoutError):
            # Nothing goes back before something came.
            wait_s = self._composer.viewer.wait_s() if self._number else None
            await asyncio.wait_for(self._came.wait(), wait_s)
        frame, self._newest = self._newest, None
        self._came.clear()
        if frame is None:
            answer = self._composer.viewer.tick()
            picture = _pack(answer.output.pixels)
        else:
            self._number += 1
            size = scaled(frame.height, frame.width, SIDES[0])
            unpack = functools.partial(_unpack, frame, size)
            answer, picture = await self._composer(
                unpack, _pack, self._number, size, may_stand=True
            )
        await self._tell(answer)
        picture.pts = round((time.perf_counter() - self._began_s) * CLOCK)
        picture.time_base = Fraction(1, CLOCK)
        return picture


def _returned(way: Way) -> "MediaStreamTrack":
    from aiortc import MediaStreamTrack

    class Returned(MediaStreamTrack):
        kind = "video"

        async def recv(self) -> VideoFrame:
            return await way.next()

    return Returned()


def _unpack(frame: VideoFrame, size: tuple[int, int]) -> np.ndarray:
    """uint8 RGB of `size`: browsers send smaller pictures when they find the way narrow, and the
    step should not be compiled for each."""
    pixels = frame.to_ndarray(format="rgb24")
    if pixels.shape[:2] == size:
        return pixels
    return cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA)


def _pack(pixels: np.ndarray) -> VideoFrame:
    return VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")


def _listen_only_at(here: str, gatherer: "RTCIceGatherer") -> None:
    """Or it would at all addresses of the machine, but those of loopback."""
    ice = gatherer._connection
    gather = ice.get_component_candidates

    async def gather_here(component: int, addresses: list[str], timeout: int = 5) -> list:
        return await gather(component, [here], timeout)

    ice.get_component_candidates = gather_here


def only_from(offer: str, there: str) -> str:
    """An offer without candidates but the address `there`. Names in `.local`, by which browsers
    hide a device's address, mean it, too: looking them up would ask the whole network."""
    kept = []
    for line in offer.splitlines():
        if line.startswith("a=candidate:"):
            parts = line.split(" ")
            if len(parts) < 8 or parts[2].lower() != "udp" or parts[7] != "host":
                continue
            if parts[4].endswith(".local"):
                parts[4] = there
            if parts[4] != there:
                continue
            line = " ".join(parts)
        kept.append(line)
    return "\r\n".join(kept) + "\r\n"
