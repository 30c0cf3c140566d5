"""The page of a run: what it shows is what leaves, and no more."""

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientSession, ClientWebSocketResponse
from test_web_stream import answer, near, opened, told
from web_fakes import (
    PERSON,
    ROOM,
    Client,
    Composite,
    RedIsPerson,
    Room,
    remote_run,
    serving,
    wait_until,
)  # fmt: skip

from segjax.cli import serve
from segjax.cli.page import begun_with, remote_control
from segjax.errors import SegjaxError
from segjax.images import write_image
from segjax.live.backgrounds import Background, parse_background
from segjax.live.frames import Output
from segjax.live.overlays import Overlay, overlaid
from segjax.web import server
from segjax.web.preview import IN_FLIGHT, PageSink, Remote
from segjax.web.settings import Settings


def output(index: int, level: int = 0) -> Output:
    pixels = np.full((90, 160, 3), level, np.uint8)
    return Output(pixels, index, index / 30, 0.0, "composed", 0.0)


def test_an_output_is_coded_once_and_only_if_somebody_looks() -> None:
    sink, seen = PageSink(), []
    with sink:
        sink.write(output(0))
        with sink.watched(lambda: seen.append(sink.newest)):
            second = output(1)
            sink.write(second)
        sink.write(output(2))
    assert seen == [second]
    assert sink.jpeg(second) is sink.jpeg(second)


def test_a_page_sees_what_leaves_and_changes_the_run() -> None:
    async def until(socket: ClientWebSocketResponse, color: Any, state: str = "live") -> None:
        for _ in range(300):
            _, _, now, pixels = await answer(socket)
            assert near(pixels, ROOM) < 0.001
            if now == state and near(pixels, color) > 0.4:
                assert (near(pixels, PERSON) > 0.1) == (state == "live")
                return
        raise AssertionError(f"{color} did not come")

    async def test(client: Client) -> None:
        choices = await (await client.get("/api/choices", headers=client.own)).json()
        assert (choices["run"], choices["models"], choices["place"]) == ("camera", [], "desk")
        socket = await opened(client)
        hello = (await socket.receive_json())["hello"]
        assert hello["settings"]["effect"] == "blur" and not hello["webrtc_s"]
        await socket.send_json({"shown": 1_000_000})  # and so the server waits for no more of these
        await until(socket, (128, 128, 128))
        await socket.send_json({"settings": {"softness": 0.9}})  # by the run's own step
        await until(socket, (128, 230, 128))
        await socket.send_json({"settings": {"effect": "bokeh", "strength": 0.8}})
        await until(socket, (204, 230, 40))
        await socket.send_json({"settings": {"softness": 0.2}})
        await until(socket, (204, 51, 40))
        await socket.send_json({"settings": {"effect": "color", "color": "#c0a020"}})
        await until(socket, (0xC0, 0xA0, 0x20))
        assert (await told(socket, "run"))["line"] == "live"
        await socket.send_json({"settings": {"effect": "blurr"}})
        assert "got effect 'blurr'" in (await told(socket, "problem"))["why"]
        await socket.send_json({"settings": {"paused": True}})
        await until(socket, (0xC0, 0xA0, 0x20), "paused")
        other = await opened(client)  # another page finds what the first chose
        settings = (await other.receive_json())["hello"]["settings"]
        assert settings["paused"] and settings["color"] == "#c0a020"
        assert settings["softness"] == 0.2

    with remote_run() as remote:
        run(test, remote)


def test_a_page_knows_of_a_pause_that_came_from_elsewhere() -> None:
    async def test(client: Client) -> None:
        socket = await opened(client)

        async def until(paused: bool) -> None:
            while (await told(socket, "run"))["paused"] != paused:
                pass
            assert remote.settings.paused == remote.loop.paused == paused

        async def choose(softness: float, **settings: bool) -> None:
            await socket.send_json({"settings": {"softness": softness, **settings}})
            while remote.settings.softness != softness:
                await asyncio.sleep(0.005)

        await until(False)
        remote.loop.pause()  # as the run's window does
        await until(True)
        await choose(0.1)
        await until(True)
        await choose(0.2, paused=False)
        await until(False)
        await choose(0.3, paused=True)
        remote.loop.resume()
        await choose(0.4, paused=True)
        await until(True)

    with remote_run() as remote:
        run(test, remote)


def test_a_page_that_confirms_nothing_gets_no_more() -> None:
    async def test(client: Client) -> None:
        socket = await opened(client)
        for _ in range(IN_FLIGHT):
            await answer(socket)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(answer(socket), 0.3)

    with remote_run() as remote:
        run(test, remote)


def run(test: Any, shared: Any) -> None:
    async def within() -> None:
        async with serving(shared) as client, asyncio.timeout(20):
            await test(client)

    asyncio.run(within())


class Nobody(RedIsPerson):
    """Finds nobody in any picture."""

    qualities = ("full",)
    quality = 0

    def __call__(self, pixels: np.ndarray, background: np.ndarray | None, index: int) -> Composite:
        return super().__call__(np.zeros_like(pixels), background, index)


def test_serve_opens_the_page_of_its_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve, "load_matting", lambda options, background: Nobody())
    monkeypatch.setattr(serve, "device_name", lambda: "abacus")
    options = serve.Options(
        source="sample",
        background="#c0a020",
        sinks=("page", "null"),
        port=0,
        max_frames=150,
        governor=False,
    )
    running = threading.Thread(target=serve.main, args=(options,))
    running.start()
    said: list[str] = []

    def address() -> bool:
        said.extend(capsys.readouterr().out.split())
        return any("#" in word for word in said)

    wait_until(address)
    url, token = next(word for word in said if "#" in word).split("/#")

    async def look() -> None:
        async with ClientSession(url) as session, asyncio.timeout(20):
            client = Client(session, int(url.rpartition(":")[2]))
            socket = await opened(client, token)
            settings = (await socket.receive_json())["hello"]["settings"]
            assert (settings["effect"], settings["color"]) == ("color", "#c0a020")
            _, _, _, pixels = await answer(socket)
            assert pixels.shape == (720, 1280, 3)
            await socket.send_json({"shown": 1_000_000, "settings": {"color": "#20c0a0"}})
            while near(pixels, (0x20, 0xC0, 0xA0)) < 0.9:
                _, _, _, pixels = await answer(socket)

    asyncio.run(look())
    running.join(30)
    assert not running.is_alive()  # the run ended, and the page with it


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Remote]:
    """What pages are served from here on."""
    served: list[Remote] = []
    make = server.Server
    monkeypatch.setattr(
        server, "Server", lambda remote, *rest: served.append(remote) or make(remote, *rest)
    )
    return served


def test_a_page_is_told_its_source_without_user_name_and_password(
    served: list[Remote], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Camera(Room):
        name = "rtsp://door/"

    monkeypatch.setattr(serve, "load_matting", lambda options, background: Nobody())
    monkeypatch.setattr(serve, "device_name", lambda: "abacus")
    monkeypatch.setattr(serve, "open_source", lambda spec, **options: Camera())
    source = "rtsp://ann:secret@door/"
    serve.main(serve.Options(source=source, sinks=("page",), port=0, max_frames=1, governor=False))
    assert [remote.name for remote in served] == ["rtsp://door/"]
    assert "secret" not in capsys.readouterr().err


def test_what_a_page_chooses_has_the_overlay_and_is_not_the_run_s_own(
    served: list[Remote], tmp_path: Path
) -> None:
    logo = np.zeros((90, 160, 4), np.uint8)
    logo[:30] = (*PERSON, 255)
    write_image(tmp_path / "logo.png", logo)
    write_image(tmp_path / "room.png", np.full((90, 160, 3), ROOM, np.uint8))
    options = serve.Options(background=str(tmp_path / "room.png"), port=0)
    overlay = Overlay(tmp_path / "logo.png")
    background = overlaid(parse_background(options.background), overlay)
    step, made, switched = RedIsPerson(), [], []

    def make(behind: Background) -> RedIsPerson:
        made.append((behind.kind, behind.layered))
        return RedIsPerson(kind=behind.kind)

    loop: Any = SimpleNamespace(paused=False, switch=lambda *given: switched.append(given))
    sink = PageSink()
    remote_control(options, sink, loop, "camera", background, overlay, step, make, "abacus")
    with sink:
        [remote] = served
        shown = background.picture(0.0, 180, 320)
        assert remote.settings.picture == "given-0" and remote.pictures.thumbnail("given-0")
        assert background.picture(0.0, 180, 320) is shown
        for count, settings in enumerate(
            [{"effect": "color", "color": "#102030"}, {"effect": "blur"}, {"effect": "picture"}], 1
        ):
            remote.change(settings)
            wait_until(lambda count=count: len(switched) == count)
    (colour, first), (blur, second), (room, third) = switched
    assert made == [("blur", True)] and (first, third) == (step, step) and second.kind == "blur"
    for behind, below in ((colour, (16, 32, 48)), (room, ROOM)):
        pixels = behind.picture(0.0, 90, 160)
        assert (pixels[:30] == PERSON).all() and (pixels[31:] == below).all()
    assert (blur.picture(0.0, 90, 160)[0, :30] == PERSON).all()


@pytest.mark.parametrize(
    ("background", "settings"),
    [
        ("blur:0.3", Settings("blur", 0.3, 0.7)),
        ("bokeh:0.8", Settings("bokeh", 0.8, 0.7)),
        ("#c0a020", Settings("color", softness=0.7, color="#c0a020")),
        ("studio", Settings("picture", softness=0.7, picture="given-0")),
    ],
)
def test_a_page_finds_what_its_run_began_with(background: str, settings: Settings) -> None:
    assert begun_with(parse_background(background), 0.7) == settings


def test_the_page_shows_no_transparency() -> None:
    options = serve.Options(source="sample", background="transparent", sinks=("page",))
    with pytest.raises(SegjaxError, match="the page cannot show transparency; give another --b"):
        serve.main(options)
