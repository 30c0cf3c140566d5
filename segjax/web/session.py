"""One page's WebSocket from its token to its end, whatever goes over it."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from segjax.errors import SegjaxError
from segjax.web.security import is_token

LARGEST_MESSAGE = 4 * 1024 * 1024

TOKEN_WITHIN_S = 5.0

PLACE_WITHIN_S = 1.0
"""A page that stops and starts again at once may come before its own session has ended."""

REFUSED_TOKEN, REFUSED_FULL = 4401, 4503
"""Codes of closing, which the page knows."""


class Session:
    """Takes messages until the page leaves, and does its `tasks` meanwhile.

    The first message is `{"token": …}`, which `handle` takes; `hello` is what answers it.
    """

    hello: dict[str, Any]

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self.tasks: list[Callable[[], Coroutine]] = [self._receive]

    async def hear(self, said: dict[str, Any]) -> None:
        """Follows a message.

        Raises:
          SegjaxError: it cannot be followed.
        """
        raise NotImplementedError

    def take(self, data: bytes) -> None:
        """Takes a message that is no text."""

    async def end(self) -> None:
        """Gives back what the session held."""

    async def run(self) -> None:
        """Greets the page and serves it until it leaves."""
        tasks = []
        try:
            await self.tell({"hello": self.hello})
            tasks += [asyncio.create_task(work()) for work in self.tasks]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.end()

    async def close(self) -> None:
        """Tells the page that the server ends."""
        await self._socket.close(code=WSCloseCode.GOING_AWAY)

    async def _receive(self) -> None:
        async for message in self._socket:
            if message.type is WSMsgType.BINARY:
                self.take(message.data)
            elif message.type is WSMsgType.TEXT:
                try:
                    await self.hear(_json(message.data))
                except SegjaxError as error:
                    await self.complain(error)

    async def complain(self, error: SegjaxError) -> None:
        """Tells the page of what is none of a frame's."""
        await self.tell({"problem": {"kind": "message", "why": str(error)}})

    async def tell(self, said: dict[str, Any]) -> None:
        await self._socket.send_str(json.dumps(said))


async def handle(
    request: web.Request,
    token: str,
    sessions: set[Session],
    capacity: int,
    make: Callable[[web.WebSocketResponse], Session],
) -> web.WebSocketResponse:
    """Opens a page's session, unless its token is wrong or the machine carries no more."""
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
    elif not await _is_place(sessions, capacity):
        await _refuse(
            socket,
            REFUSED_FULL,
            f"this computer carries {capacity} at once, and so many are being served; "
            "try again when somebody has stopped",
        )
    else:
        session = make(socket)
        sessions.add(session)
        try:
            await session.run()
        except ConnectionError:
            pass
        finally:
            sessions.discard(session)
    return socket


async def _is_place(sessions: set[Session], capacity: int) -> bool:
    """Whether one more may come; who asks takes the place before awaiting anything else."""
    until = asyncio.get_running_loop().time() + PLACE_WITHIN_S
    while len(sessions) >= capacity and asyncio.get_running_loop().time() < until:
        await asyncio.sleep(0.02)
    return len(sessions) < capacity


async def _refuse(socket: web.WebSocketResponse, code: int, why: str) -> None:
    with contextlib.suppress(ConnectionError):
        await socket.send_str(json.dumps({"refused": {"code": code, "why": why}}))
        await socket.close(code=code)


def _json(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise SegjaxError("a message is no JSON object; load the page again")
    return said
