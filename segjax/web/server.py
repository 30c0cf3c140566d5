"""The routes, and the server's life."""

import asyncio
import contextlib
import dataclasses
import functools
import ipaddress
import signal
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from importlib import resources
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from segjax.errors import SegjaxError
from segjax.web import session
from segjax.web.pictures import LARGEST_BYTES, TooLarge
from segjax.web.preview import Preview, Remote
from segjax.web.security import Address, gate, headers
from segjax.web.stream import Stream
from segjax.web.studio import Studio
from segjax.web.worker import Worker

TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}

UPLOAD_WITHIN_S = 60.0

LEAVE_S = 2.0
"""How long the end waits for answers under way."""


class Server:
    """The page and what it asks for; every request has passed `security.gate`.

    GET / and its files; GET /api/choices; POST /api/backgrounds with a picture as the body, and GET
    /api/backgrounds/ID, a thumbnail; GET /stream, a WebSocket.

    A studio composes what pages send, who try WebRTC for `webrtc_s` seconds before their frames go
    over the WebSocket (0 is not at all). To a run that goes on without them, they are the remote.
    """

    def __init__(
        self, shared: Studio | Remote, address: Address, token: str, *, webrtc_s: float = 0.0
    ) -> None:
        self.shared = shared
        self._webrtc_s = webrtc_s
        self.address = address
        self._token = token
        self._sessions: set[session.Session] = set()
        self._files = Worker("pictures")
        """Decodes, one after another, so that a few large pictures do not fill the memory."""

    def app(self) -> web.Application:
        app = web.Application(
            middlewares=[_blame, gate(self.address, self._token)], client_max_size=LARGEST_BYTES
        )
        app.router.add_get("/api/choices", self._choices)
        app.router.add_post("/api/backgrounds", self._upload)
        app.router.add_get("/api/backgrounds/{id}", self._thumbnail)
        app.router.add_get("/stream", self._stream)
        for file in resources.files("segjax.web").joinpath("page").iterdir():
            suffix = file.name[file.name.rfind(".") :]
            if suffix in TYPES:
                answer = functools.partial(_page_file, file.read_bytes(), TYPES[suffix])
                app.router.add_get("/" if file.name == "index.html" else f"/{file.name}", answer)
        said = headers(self.address)

        async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
            response.headers.update(said)

        app.on_response_prepare.append(add_headers)
        app.on_shutdown.append(self._say_goodbye)
        return app

    async def _choices(self, _: web.Request) -> web.Response:
        shared = self.shared
        return web.json_response(
            {
                "models": shared.models,
                "pictures": shared.pictures.names(),
                "device": shared.device,
                "place": shared.place,
                "settings": dataclasses.asdict(shared.settings),
                "run": shared.name if isinstance(shared, Remote) else "",
            }
        )

    async def _upload(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(UPLOAD_WITHIN_S):
                data = await request.read()
            key = await self._apart(self.shared.pictures.add, data)
        except (web.HTTPRequestEntityTooLarge, TooLarge) as error:
            why = str(error if isinstance(error, TooLarge) else TooLarge())
            raise web.HTTPRequestEntityTooLarge(LARGEST_BYTES, 0, text=why) from error
        except TimeoutError:
            raise web.HTTPRequestTimeout(text="the picture took too long; try again") from None
        except SegjaxError as error:
            raise web.HTTPUnsupportedMediaType(text=str(error)) from error
        return web.json_response({"id": key}, status=201)

    async def _thumbnail(self, request: web.Request) -> web.Response:
        try:
            jpeg = await self._apart(self.shared.pictures.thumbnail, request.match_info["id"])
        except SegjaxError as error:
            raise web.HTTPNotFound(text=str(error)) from error
        return web.Response(body=jpeg, content_type="image/jpeg")

    async def _stream(self, request: web.Request) -> Any:
        shared, transport = self.shared, request.transport
        here = transport.get_extra_info("sockname")[0] if transport else ""

        def make(socket: web.WebSocketResponse) -> session.Session:
            if isinstance(shared, Remote):
                return Preview(socket, shared)
            return Stream(socket, shared, (here, request.remote or ""), self._webrtc_s)

        return await session.handle(request, self._token, self._sessions, shared.capacity, make)

    async def _apart(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.wrap_future(self._files.submit(work, *arguments))

    async def _say_goodbye(self, _: web.Application) -> None:
        await asyncio.gather(*(one.close() for one in self._sessions), return_exceptions=True)
        self._files.close()
        self.shared.close()


async def _page_file(data: bytes, kind: str, _: web.Request) -> web.Response:
    return web.Response(body=data, content_type=kind, charset="utf-8")


@web.middleware
async def _blame(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A connection that ends before its request or its answer does is no fault of the server."""
    try:
        return await handler(request)
    except ConnectionError:
        raise web.HTTPBadRequest(text="the connection ended too soon; try again") from None


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes any that is free.

    Raises:
      SegjaxError: the port is taken, or the host is none of this machine's, or all of them.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise SegjaxError(
            f"cannot listen at {host} port {port} ({error.strerror}); the page needs a free port "
            "at an address of this machine; give another --port, or --port 0 for any"
        ) from error
    if ipaddress.ip_address(listening.getsockname()[0]).is_unspecified:  # as 0, 0x0 and ::0 are
        listening.close()
        raise SegjaxError(
            f"got --host {host!r}, which means every address of this machine; the server answers "
            "to one name; give the address or the name by which the other device reaches this "
            "machine"
        )
    return listening


@contextlib.asynccontextmanager
async def serving(
    server: Server, listening: socket.socket, tls: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    """Answers requests inside the block."""
    # Requests are not logged: nobody needs them, and no key can get into a file.
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=LEAVE_S)
    await runner.setup()
    try:
        await web.SockSite(runner, listening, ssl_context=tls).start()
        yield
    finally:
        await runner.cleanup()


def run(
    server: Server,
    listening: socket.socket,
    tls: ssl.SSLContext | None,
    started: Callable[[], None],
) -> None:
    """Serves until SIGINT or SIGTERM. `started` is called once requests are answered."""

    async def until_stopped() -> None:
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows: Ctrl+C raises there
                asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        async with serving(server, listening, tls):
            started()
            await stopped.wait()

    asyncio.run(until_stopped())


@contextlib.contextmanager
def in_background(
    server: Server, listening: socket.socket, tls: ssl.SSLContext | None = None
) -> Iterator[None]:
    """Serves from a thread of its own inside the block."""
    begun: Future[asyncio.AbstractEventLoop] = Future()
    left = asyncio.Event()

    async def until_left() -> None:
        async with serving(server, listening, tls):
            begun.set_result(asyncio.get_running_loop())
            await left.wait()

    thread = threading.Thread(target=asyncio.run, args=(until_left(),), name="page", daemon=True)
    thread.start()
    here = begun.result()
    try:
        yield
    finally:
        here.call_soon_threadsafe(left.set)
        thread.join()
