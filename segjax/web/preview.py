"""The page as preview and remote control of a run: it shows what leaves, and nothing else."""

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from segjax.live.backgrounds import BLURS
from segjax.live.frames import Frame, Output, Sink
from segjax.live.loop import Loop
from segjax.live.overlays import Overlay, overlaid
from segjax.live.states import State
from segjax.web.pictures import Pictures, encode
from segjax.web.session import Session
from segjax.web.settings import Settings, make_background
from segjax.web.stream import ANSWER, STATES
from segjax.web.studio import Effect, Matting, step_for
from segjax.web.worker import Worker

IN_FLIGHT = 2
"""Pictures on their way to a page that has not said yet that it shows them."""

STATUS_EVERY_S = 1.0

CLOSED = (State.PAUSED, State.RECONNECTING)
"""In which only covers leave."""


class PageSink(Sink):
    """Keeps the newest output for the pages that look on; without one, nothing is coded.

    `serving` is entered and left with the sink.
    """

    name = "page"
    paced = True

    def __init__(self) -> None:
        self.serving: contextlib.AbstractContextManager = contextlib.nullcontext()
        self.newest: Output | None = None
        self._watching: set[Callable[[], None]] = set()
        self._coded: tuple[Output, bytes] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self.serving.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.serving.__exit__(kind, error, trace)

    def write(self, frame: Frame) -> None:
        assert isinstance(frame, Output)
        self.newest = frame
        for tell in tuple(self._watching):
            tell()

    @contextlib.contextmanager
    def watched(self, tell: Callable[[], None]):
        """Has `tell` called, from another thread, after each output that comes in the block."""
        self._watching.add(tell)
        try:
            yield
        finally:
            self._watching.discard(tell)

    def jpeg(self, output: Output) -> bytes:
        """An output as a JPEG, coded once for all pages."""
        with self._lock:
            if self._coded is None or self._coded[0] is not output:
                self._coded = output, encode(output.pixels)
            return self._coded[1]


class Remote:
    """A run, as pages see and change it; from any thread.

    Args:
      name: of the source, for people.
      settings: what the run began with, and `matting` the step.
      make_matting: effect → the step for it, which may take long.
      overlay: what every background has before it.
    """

    models = ()
    capacity = 8

    def __init__(
        self,
        loop: Loop,
        sink: PageSink,
        pictures: Pictures,
        settings: Settings,
        matting: Matting,
        make_matting: Callable[[Effect], Matting],
        overlay: Overlay | None = None,
        *,
        name: str,
        device: str,
        place: str,
        say: Callable[[str], None],
    ) -> None:
        self.loop = loop
        self.sink = sink
        self.pictures = pictures
        self._settings = settings
        self.name, self.device, self.place = name, device, place
        self._matting = matting
        """In use."""
        self._make_matting = make_matting
        self._overlay = overlay
        self._say = say
        self._given = self._wanted
        self._worker = Worker("change")

    @property
    def settings(self) -> Settings:
        """What is chosen; the window and other pages pause the run, too."""
        return dataclasses.replace(self._settings, paused=self.loop.paused)

    def change(self, values: object) -> None:
        """Follows what a page chose; what takes long is done aside.

        Raises:
          SegjaxError: that is not a choice.
        """
        chosen = self._settings = self.settings.changed(values)
        if isinstance(values, dict) and "paused" in values:
            (self.loop.pause if chosen.paused else self.loop.resume)()
        self._matting.softness = chosen.softness
        self._worker.submit(self._follow)

    @property
    def _wanted(self) -> tuple[str, str, float]:
        chosen = self.settings
        return *chosen.behind, chosen.strength if chosen.effect in BLURS else 0.0

    def _follow(self) -> None:
        wanted = effect, choice, strength = self._wanted
        if wanted == self._given:  # a later change, which has been followed already
            return
        self._given = wanted
        try:
            background = make_background(effect, choice, self.pictures)
            background = overlaid(background, self._overlay)
            matting = self._make_matting(step_for(effect))
            if effect in BLURS:
                matting.strength = strength
            matting.softness = self.settings.softness
            self.loop.switch(background, matting)
            self._matting = matting
            matting.softness = self.settings.softness  # which may have changed while it prepared
        except Exception as error:  # a file that is gone; the run goes on as it was
            self._say(f"the background stays: {error}")

    def close(self) -> None:
        self._worker.close()


class Preview(Session):
    """Shows one page what leaves: `{"run": …}` every second and after each change of its own, and
    JPEGs like a stream's answers, which the page confirms by `{"shown": number}`; the newest wins.
    """

    def __init__(self, socket: web.WebSocketResponse, remote: Remote) -> None:
        super().__init__(socket)
        self._remote = remote
        self.hello = {
            "side": 0,
            "webrtc_s": 0,
            "settings": dataclasses.asdict(remote.settings),
        }
        self.tasks += [self._show, self._report]
        self._shown = self._sent = 0
        self._due = asyncio.Event()

    async def hear(self, said: dict[str, Any]) -> None:
        if "settings" in said:
            self._remote.change(said["settings"])
            await self._tell_of_run()
        if isinstance(shown := said.get("shown"), int):
            self._shown = shown
            self._due.set()

    async def _show(self) -> None:
        sink, last = self._remote.sink, None
        here = asyncio.get_running_loop()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the server has ended
                here.call_soon_threadsafe(self._due.set)

        with sink.watched(tell):
            while True:
                await self._due.wait()
                self._due.clear()
                output = sink.newest
                if output is None or output is last or self._sent - self._shown >= IN_FLIGHT:
                    continue
                last = output
                jpeg = await asyncio.to_thread(sink.jpeg, output)
                state = self._remote.loop.status().state
                if output.kind != "covered" and state in CLOSED:
                    continue  # it was made before, and a cover follows
                self._sent += 1
                head = ANSWER.pack(self._sent, 0.0, STATES.index(state), 0.0)
                await self._socket.send_bytes(head + jpeg)

    async def _report(self) -> None:
        while True:
            await self._tell_of_run()
            await asyncio.sleep(STATUS_EVERY_S)

    async def _tell_of_run(self) -> None:
        loop = self._remote.loop
        status = loop.status()
        said = {"line": status.line, "fps": round(status.fps, 1), "paused": loop.paused}
        await self.tell({"run": said})
