"""Frames over a WebSocket: JPEGs with their number and capture time, the newest wins.

After its token the page sends frames, of which at most two are on their way, and JSON:
`{"settings": …}`, `{"figures": …}`, `{"offer": …}`. It gets the frames' answers, and JSON:
`{"hello": …}`, `{"refused": …}`, `{"problem": …}`, `{"waiting": …}`, `{"state": …}`,
`{"figures": …}`, `{"answer": …}`. Offer and answer open another way for frames, a `Peer`.
"""

import asyncio
import contextlib
import dataclasses
import functools
import struct
import sys
import time
from typing import Any

import cv2
import numpy as np
from aiohttp import WSCloseCode, web

from segjax.errors import SegjaxError
from segjax.live.states import State
from segjax.web.composer import Composer
from segjax.web.peer import Peer
from segjax.web.pictures import encode, size_of
from segjax.web.session import Session
from segjax.web.sizes import SIDES, Figures, Ladder
from segjax.web.studio import Studio
from segjax.web.viewer import Answer, Problem

FRAME = struct.Struct("<Id")
"""Before a frame's JPEG: its number, and when it was captured, in milliseconds of the page's clock,
which the answer repeats."""

ANSWER = struct.Struct("<IdBf")
"""Before an answer's JPEG: both again, the state by its place in STATES, and the milliseconds that
the server had the frame."""

STATES = tuple(State)


class Stream(Session):
    """Answers the frames of one page.

    Args:
      addresses: this machine's, at which the page reached it, and the page's.
      webrtc_s: how long the page is to try WebRTC first.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        studio: Studio,
        addresses: tuple[str, str],
        webrtc_s: float,
    ) -> None:
        super().__init__(socket)
        self.hello = {"side": SIDES[0], "webrtc_s": webrtc_s}
        self.tasks.append(self._answer_frames)
        self._addresses = addresses
        self._peer: Peer | None = None
        self._composer = Composer(studio)
        self._ladder = Ladder(SIDES)
        self._newest: tuple[bytes, float] | None = None
        self._arrived = asyncio.Event()
        self._told = {"problem": dataclasses.asdict(Problem()), "waiting": False, "state": ""}

    def take(self, data: bytes) -> None:
        self._newest = data, time.perf_counter()
        self._arrived.set()

    async def hear(self, said: dict[str, Any]) -> None:
        if "settings" in said:
            self._composer.viewer.change(said["settings"])
            self._told["state"] = ""  # a page that goes on after a pause waits for one
        if "figures" in said:
            await self._advise(said["figures"])
        if "offer" in said and self.hello["webrtc_s"]:
            await self._meet(said["offer"])

    async def end(self) -> None:
        if self._peer:
            await self._peer.close()
        self._composer.close()

    async def _advise(self, said: Any) -> None:
        """Tells the page the size to send, after its figures of another second."""
        names = ("shown_fps", "camera_fps", "p95_ms")
        if not isinstance(said, dict) or not all(_number(said.get(name)) for name in names):
            raise SegjaxError(f"figures are numbers: {', '.join(names)}")
        now_s = time.perf_counter()
        busy = self._composer.viewer.busy(now_s)
        figures = Figures(**{name: float(said[name]) for name in names}, busy=busy)
        side = self._ladder.advise(now_s, figures, self._composer.viewer.ready_sizes)
        await self.tell({"figures": {"side": side, "busy": round(busy, 3)}})

    async def _meet(self, offer: object) -> None:
        """Lets the page's frames come by WebRTC as well."""
        if self._peer:
            await self._peer.close()
        self._told["state"] = ""  # of a new way the page knows none
        self._peer = Peer(self._composer, *self._addresses, self._tell_peer)
        await self.tell({"answer": await self._peer.accept(offer)})

    async def _tell_peer(self, answer: Answer) -> None:
        with contextlib.suppress(ConnectionError):
            await self._tell_changes(answer)

    async def _answer_frames(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            if self._newest is None:
                continue
            (data, arrived_s), self._newest = self._newest, None
            try:
                number, captured_ms, size = _head(data)
                unpack = functools.partial(_pixels, data)
                answer, jpeg = await self._composer(unpack, encode, number, size)
            except SegjaxError as error:
                await self.complain(error)
                await self._socket.close(code=WSCloseCode.INVALID_TEXT)
                return
            took_ms = 1e3 * (time.perf_counter() - arrived_s)
            state = STATES.index(answer.state)
            head = ANSWER.pack(number, captured_ms, state, took_ms)
            await self._socket.send_bytes(head + jpeg)
            await self._tell_changes(answer)

    async def _tell_changes(self, answer: Answer) -> None:
        problem = dataclasses.asdict(answer.problem)
        now = {"problem": problem, "waiting": answer.waiting, "state": answer.state}
        told, self._told = self._told, now
        for name in [name for name in now if now[name] != told.get(name)]:
            await self.tell({name: now[name]})


def _head(data: bytes) -> tuple[int, float, tuple[int, int]]:
    """A frame's number, capture time and (height, width), which its JPEG's header says."""
    if len(data) <= FRAME.size:
        raise SegjaxError("a frame is damaged; start again")
    number, captured_ms = FRAME.unpack_from(data)
    height, width = size_of(data[FRAME.size :], ("JPEG",))
    if min(height, width) < 16 or max(height, width) > SIDES[-1]:
        raise SegjaxError(f"a frame is {width}x{height}; at most {SIDES[-1]} pixels a side go")
    return number, captured_ms, (height, width)


def _pixels(data: bytes) -> np.ndarray:
    """A frame's picture: uint8 RGB [H, W, 3]."""
    bgr = cv2.imdecode(
        np.frombuffer(data, np.uint8, offset=FRAME.size),
        cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION,
    )
    if bgr is None:
        raise SegjaxError("a frame is damaged; start again")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _number(value: object) -> bool:
    """Whether it is a number that a float can hold."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # pyright: ignore
