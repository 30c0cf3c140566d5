"""Frames over a WebSocket: JPEGs with their number and capture time, the newest wins.

The first message is `{"token": …}`. Then the page sends frames, of which at most two are on their
way, and JSON: `{"settings": …}`, `{"figures": …}`. It gets the frames' answers, and JSON:
`{"hello": …}`, `{"refused": …}`, `{"problem": …}`, `{"waiting": …}`, `{"figures": …}`. Another
way of carrying frames stands beside this one: a `Viewer` does not know what carries its frames.
"""

import asyncio
import json
import math
import struct
import time
from typing import Any

import cv2
import numpy as np
from aiohttp import WSCloseCode, WSMsgType, web

from segjax.errors import SegjaxError
from segjax.live.states import State
from segjax.web.pictures import encode, size_of
from segjax.web.security import is_token
from segjax.web.sizes import SIDES, Figures, Ladder
from segjax.web.studio import Studio
from segjax.web.viewer import Answer, Viewer
from segjax.web.worker import Worker

FRAME = struct.Struct("<Id")
"""Before a frame's JPEG: its number, and when it was captured, in milliseconds of the page's clock,
which the answer repeats."""

ANSWER = struct.Struct("<IdBf")
"""Before an answer's JPEG: both again, the state by its place in STATES, and the milliseconds that
the server had the frame."""

STATES = tuple(State)

LARGEST_MESSAGE = 4 * 1024 * 1024

TOKEN_WITHIN_S = 5.0

COVER_AFTER_S = 0.5
"""A frame whose picture is not ready by then is answered with a cover."""

REFUSED_TOKEN, REFUSED_FULL = 4401, 4503
"""Codes of closing, which the page knows."""


class Stream:
    """One page's WebSocket, from its first message to its end."""

    def __init__(self, socket: web.WebSocketResponse, studio: Studio) -> None:
        self._socket = socket
        self._studio = studio
        self._viewer = Viewer(studio)
        self._worker = Worker("viewer")
        self._ladder = Ladder(SIDES)
        self._newest: tuple[bytes, float] | None = None
        self._arrived = asyncio.Event()
        self._told: dict[str, Any] = {"problem": "", "waiting": False}

    async def run(self) -> None:
        """Answers until the page leaves."""
        tasks = [asyncio.create_task(work()) for work in (self._receive, self._answer_frames)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._worker.close()

    async def close(self) -> None:
        """Tells the page that the server ends."""
        await self._socket.close(code=WSCloseCode.GOING_AWAY)

    async def _receive(self) -> None:
        async for message in self._socket:
            if message.type is WSMsgType.BINARY:
                self._newest = message.data, time.perf_counter()
                self._arrived.set()
            elif message.type is WSMsgType.TEXT:
                await self._listen(message.data)

    async def _listen(self, text: str) -> None:
        try:
            said = _json(text)
            if "settings" in said:
                self._viewer.change(said["settings"])
            if "figures" in said:
                await self._advise(said["figures"])
        except SegjaxError as error:
            await self._tell({"problem": str(error)})

    async def _advise(self, said: Any) -> None:
        """Tells the page the size to send, after its figures of another second."""
        names = ("shown_fps", "camera_fps", "p95_ms")
        if not isinstance(said, dict) or not all(_number(said.get(name)) for name in names):
            raise SegjaxError(f"figures are numbers: {', '.join(names)}")
        now_s = time.perf_counter()
        busy = self._viewer.busy(now_s)
        figures = Figures(**{name: float(said[name]) for name in names}, busy=busy)
        side = self._ladder.advise(now_s, figures, self._viewer.ready_sizes)
        await self._tell({"figures": {"side": side, "busy": round(busy, 3)}})

    async def _answer_frames(self) -> None:
        working: asyncio.Future[tuple[Answer, bytes]] | None = None
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            if self._newest is None:
                continue
            (data, arrived_s), self._newest = self._newest, None
            try:
                number, captured_ms, size = _head(data)
                done = False
                if working is None or working.done():
                    composing = self._worker.submit(self._compose, data, number)
                    working = asyncio.wrap_future(composing)
                    working.add_done_callback(_forget)
                    done, _ = await asyncio.wait([working], timeout=COVER_AFTER_S)
                answer, jpeg = working.result() if done else self._late(*size, number)
            except SegjaxError as error:
                await self._tell({"problem": str(error)})
                await self._socket.close(code=WSCloseCode.INVALID_TEXT)
                return
            took_ms = 1e3 * (time.perf_counter() - arrived_s)
            state = STATES.index(answer.state)
            head = ANSWER.pack(number, captured_ms, state, took_ms)
            await self._socket.send_bytes(head + jpeg)
            await self._tell_changes({"problem": answer.why, "waiting": answer.waiting})

    def _compose(self, data: bytes, number: int) -> tuple[Answer, bytes]:
        bgr = cv2.imdecode(
            np.frombuffer(data, np.uint8, offset=FRAME.size),
            cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION,
        )
        if bgr is None:
            raise SegjaxError("a frame is damaged; start again")
        answer = self._viewer(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), number)
        return answer, encode(answer.pixels)

    def _late(self, height: int, width: int, number: int) -> tuple[Answer, bytes]:
        """What leaves when the model does not answer; made without its thread."""
        answer = self._viewer.late(height, width, number)
        return answer, encode(answer.pixels)

    async def _tell_changes(self, now: dict[str, Any]) -> None:
        for name in [name for name in now if now[name] != self._told[name]]:
            await self._tell({name: now[name]})
        self._told = now

    async def _tell(self, said: dict[str, Any]) -> None:
        await self._socket.send_str(json.dumps(said))


async def handle(request: web.Request, studio: Studio, token: str, streams: set[Stream]) -> Any:
    """Opens a page's stream, unless its token is wrong or the machine carries no more."""
    socket = web.WebSocketResponse(max_msg_size=LARGEST_MESSAGE, heartbeat=20, compress=False)
    await socket.prepare(request)
    try:
        first = _json(await socket.receive_str(timeout=TOKEN_WITHIN_S))
    except (SegjaxError, TypeError, TimeoutError):
        first = {}
    if not is_token(first.get("token"), token):
        await _refuse(
            socket, REFUSED_TOKEN, "the key is missing or old; open the address again in full"
        )
    elif len(streams) >= studio.capacity:
        await _refuse(
            socket,
            REFUSED_FULL,
            f"this computer carries {studio.capacity} at once, and so many are being served; "
            "try again when somebody has stopped",
        )
    else:
        stream = Stream(socket, studio)
        streams.add(stream)
        try:
            await socket.send_str(json.dumps({"hello": {"side": SIDES[0]}}))
            await stream.run()
        except ConnectionError:
            pass
        finally:
            streams.discard(stream)
    return socket


async def _refuse(socket: web.WebSocketResponse, code: int, why: str) -> None:
    await socket.send_str(json.dumps({"refused": {"code": code, "why": why}}))
    await socket.close(code=code)


def _head(data: bytes) -> tuple[int, float, tuple[int, int]]:
    """A frame's number, capture time and (height, width), which its JPEG's header says."""
    if len(data) <= FRAME.size:
        raise SegjaxError("a frame is damaged; start again")
    number, captured_ms = FRAME.unpack_from(data)
    height, width = size_of(data[FRAME.size :], ("JPEG",))
    if min(height, width) < 16 or max(height, width) > SIDES[-1]:
        raise SegjaxError(f"a frame is {width}x{height}; at most {SIDES[-1]} pixels a side go")
    return number, captured_ms, (height, width)


def _json(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise SegjaxError("a message is no JSON object; load the page again")
    return said


def _number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # pyright: ignore


def _forget(done: asyncio.Future) -> None:
    """Looks at an exception that came too late for anybody, so that asyncio does not complain."""
    if not done.cancelled():
        done.exception()
