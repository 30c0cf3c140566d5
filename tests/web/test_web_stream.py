"""Frames over the WebSocket, and what happens to them on the way."""

import asyncio
import json
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType, web
from web_fakes import PERSON, ROOM, TOKEN, Client, decoded, encoded, jpeg, scene, serving, studio

from segjax.errors import SegjaxError
from segjax.web import composer
from segjax.web.stream import ANSWER, FRAME, STATES
from segjax.web.viewer import Settings


def run(test: Callable[..., Any], shared: Any = None) -> None:
    async def within() -> None:
        async with serving(shared) as client, asyncio.timeout(20):
            await test(client)

    asyncio.run(within())


async def opened(client: Client, token: str = TOKEN) -> ClientWebSocketResponse:
    origin = {"Origin": client.own["Origin"]}
    socket = await client.session.ws_connect("/stream", headers=origin)
    await socket.send_json({"token": token})
    return socket


async def greeted(client: Client) -> ClientWebSocketResponse:
    socket = await opened(client)
    assert await socket.receive_json() == {"hello": {"side": 640, "webrtc_s": 0}}
    return socket


async def send(
    socket: ClientWebSocketResponse, number: int, pixels: np.ndarray, captured_ms: float = 0.5
) -> None:
    """Sends a frame; a corner of it changes from one to the next, as a camera's pixels do."""
    pixels[:8, :8] = 37 * number % 256
    await socket.send_bytes(FRAME.pack(number, captured_ms) + jpeg(pixels))


async def answer(socket: ClientWebSocketResponse) -> tuple[int, float, str, np.ndarray]:
    """The next frame's answer, JSON in between left out."""
    while True:
        message = await socket.receive()
        assert message.type in (WSMsgType.BINARY, WSMsgType.TEXT), message
        if message.type is WSMsgType.BINARY:
            number, captured_ms, state, _ = ANSWER.unpack_from(message.data)
            return number, captured_ms, STATES[state], decoded(message.data[ANSWER.size :])


async def told(socket: ClientWebSocketResponse, what: str) -> Any:
    """The next JSON of a kind, all else left out."""
    while True:
        message = await socket.receive()
        assert message.type in (WSMsgType.BINARY, WSMsgType.TEXT), message
        if message.type is WSMsgType.TEXT and what in (said := json.loads(message.data)):
            return said[what]


async def live(
    socket: ClientWebSocketResponse, number: int, x: float = 0.5, size: tuple[int, int] = (360, 640)
) -> tuple[int, np.ndarray]:
    """Sends a frame again and again until its answer is composed."""
    while True:
        number += 1
        await send(socket, number, scene(*size, x=x))
        got, _, state, pixels = await answer(socket)
        assert got == number
        if state == "live":
            return number, pixels
        assert near(pixels, PERSON) == near(pixels, ROOM) == 0
        await asyncio.sleep(0.01)


async def changed(
    socket: ClientWebSocketResponse, number: int, color: tuple[int, int, int], share: float
) -> tuple[int, np.ndarray]:
    """Sends a frame again and again until that much of its answer has a colour."""
    for _ in range(500):
        number, pixels = await live(socket, number)
        if near(pixels, color) > share:
            return number, pixels
    raise AssertionError(f"{color} did not come")


def near(pixels: np.ndarray, color: tuple[int, int, int]) -> float:
    """The share of pixels of about this colour."""
    return float((np.abs(pixels.astype(int) - color).max(2) < 30).mean())


def test_a_frame_comes_back_with_its_number_and_time_and_without_the_room() -> None:
    async def test(client: Client) -> None:
        socket = await greeted(client)
        number, pixels = await live(socket, 0)
        assert pixels.shape == (360, 640, 3)
        assert near(pixels, PERSON) > 0.1 and near(pixels, ROOM) < 0.001
        for x in (0.2, 0.8):
            number += 7
            await send(socket, number, scene(x=x), captured_ms=1234.5678)
            got, captured_ms, state, pixels = await answer(socket)
            assert (got, captured_ms, state) == (number, 1234.5678, "live")
            person = np.abs(pixels.astype(int) - PERSON).max(2) < 30
            assert abs(person[120].nonzero()[0].mean() / 640 - x) < 0.02  # of this very frame

    run(test)


def test_effects_change_and_a_colour_is_exact() -> None:
    async def test(client: Client) -> None:
        socket = await greeted(client)
        number, _ = await live(socket, 0)
        for settings, color in [
            ({"effect": "color", "color": "#c0a020"}, (0xC0, 0xA0, 0x20)),
            ({"effect": "picture", "picture": "given-0"}, (150, 70, 40)),
            ({"effect": "blur"}, (128, 128, 128)),
        ]:
            await socket.send_json({"settings": settings})
            number, pixels = await changed(socket, number, color, 0.5)
            assert near(pixels, ROOM) < 0.001
        await socket.send_json({"settings": {"effect": "transparent"}})
        _, pixels = await changed(socket, number, (205, 205, 205), 0.2)
        assert near(pixels, (240, 240, 240)) > 0.2

    run(test)


def test_a_choice_that_cannot_be_followed_is_said_and_the_old_one_stays() -> None:
    async def test(client: Client) -> None:
        socket = await greeted(client)
        number, _ = await live(socket, 0)
        await socket.send_json({"settings": {"effect": "picture", "picture": "gone"}})
        number, _ = await live(socket, number)
        asking = asyncio.create_task(told(socket, "problem"))
        while not asking.done():
            await send(socket, number := number + 1, scene())
            await asyncio.sleep(0.02)
        assert asking.result()["kind"] == "choice"
        assert "that picture is no longer there" in asking.result()["why"]
        await socket.send_json({"settings": {"effect": "blurr"}})
        assert "got effect 'blurr'; known are blur" in (await told(socket, "problem"))["why"]

    run(test)


def test_a_pause_covers() -> None:
    async def test(client: Client) -> None:
        socket = await greeted(client)
        number, _ = await live(socket, 0)
        await socket.send_json({"settings": {"paused": True}})
        await send(socket, number + 1, scene())
        _, _, state, pixels = await answer(socket)
        assert state == "paused" and near(pixels, PERSON) == near(pixels, ROOM) == 0
        await socket.send_json({"settings": {"paused": False}})
        await live(socket, number + 1)

    run(test)


@pytest.mark.parametrize("fault", ["raises", "stalls"])
def test_a_step_that_fails_or_stalls_is_covered_in_time_and_recovers(fault: str) -> None:
    broken = threading.Event()
    mended = threading.Event()

    def before(index: int) -> None:
        if broken.is_set() and not mended.is_set():
            if fault == "raises":
                raise RuntimeError("out of luck")
            mended.wait(15)

    async def test(client: Client) -> None:
        socket = await greeted(client)
        number, _ = await live(socket, 0)
        broken.set()
        for _ in range(4):
            number += 1
            await send(socket, number, scene())
            got, _, state, pixels = await answer(socket)
            assert (got, state) == (number, "covered")
            assert near(pixels, PERSON) == near(pixels, ROOM) == 0
        mended.set()
        await live(socket, number)

    run(test, studio(before))


def test_the_newest_wins_and_only_one_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a frame is being composed, of those that follow only the last is."""
    monkeypatch.setattr(composer, "COVER_AFTER_S", 15)
    seen: list[int] = []
    began, go_on = threading.Event(), threading.Event()

    def before(index: int) -> None:
        seen.append(index)
        if index == 1000:
            began.set()
            go_on.wait(10)

    async def test(client: Client) -> None:
        socket = await greeted(client)
        await live(socket, 0)
        await send(socket, 1000, scene())
        await asyncio.to_thread(began.wait, 10)
        for number in range(1001, 1010):
            await send(socket, number, scene())
        await socket.send_json({"figures": {"shown_fps": 1, "camera_fps": 1, "p95_ms": 1}})
        await told(socket, "figures")  # and so it has all that was sent before
        go_on.set()
        numbers = [(await answer(socket))[0] for _ in range(2)]
        assert numbers == [1000, 1009] and seen[-2:] == [1000, 1009]

    run(test, studio(before))


def test_another_size_is_covered_until_the_step_is_ready() -> None:
    async def test(client: Client) -> None:
        socket = await greeted(client)
        number, _ = await live(socket, 0)
        number, pixels = await live(socket, number, size=(480, 640))
        assert pixels.shape == (480, 640, 3)
        figures = {"shown_fps": 30, "camera_fps": 30, "p95_ms": 20}
        await socket.send_json({"figures": figures})
        assert (await told(socket, "figures"))["side"] == 640

    run(test)


@pytest.mark.parametrize(
    "value", [10**400, float("nan"), True, "1"], ids=lambda value: str(value)[:4]
)
def test_figures_that_are_no_numbers_are_refused_and_the_stream_goes_on(value: object) -> None:
    async def test(client: Client) -> None:
        socket = await greeted(client)
        figures = {"shown_fps": 30, "camera_fps": value, "p95_ms": 20}
        await socket.send_json({"figures": figures})
        assert "figures are numbers: shown_fps" in (await told(socket, "problem"))["why"]
        await socket.send_json({"figures": figures | {"camera_fps": 30}})
        await told(socket, "figures")

    run(test)


# --- who may, and how many --------------------------------------------------------------------


@pytest.mark.parametrize("first", [{"token": "0" * 32}, {"token": None}, {"other": 1}, [], "x"])
def test_a_stream_without_its_token_ends_before_a_frame(first: object) -> None:
    async def test(client: Client) -> None:
        origin = {"Origin": client.own["Origin"]}
        socket = await client.session.ws_connect("/stream", headers=origin)
        await socket.send_json(first)
        await socket.send_bytes(FRAME.pack(1, 0.0) + jpeg(scene()))
        refused = (await socket.receive_json())["refused"]
        assert "the key is missing or old" in refused["why"]
        assert (await socket.receive()).type is WSMsgType.CLOSE and socket.close_code == 4401

    run(test)


def test_viewers_have_their_own_state_and_one_too_many_is_told_so() -> None:
    async def test(client: Client) -> None:
        one, two = await greeted(client), await greeted(client)
        await two.send_json({"settings": {"effect": "color", "color": "#c0a020"}})
        await changed(two, 0, (0xC0, 0xA0, 0x20), 0.5)
        await changed(one, 0, (128, 128, 128), 0.5)
        three = await opened(client)
        assert "this computer carries 2 at once" in (await three.receive_json())["refused"]["why"]
        await three.receive()
        assert three.close_code == 4503
        await one.close()
        four = await opened(client)
        assert "hello" in await four.receive_json(), "the place of one who left is not given away"

    run(test)


def test_who_starts_before_their_own_place_is_free_waits_for_it() -> None:
    async def test(client: Client) -> None:
        one, _ = await greeted(client), await greeted(client)
        again = asyncio.create_task(greeted(client))
        await asyncio.sleep(0.1)
        assert not again.done()
        await one.close()
        await again

    run(test)


@pytest.mark.parametrize("token", [TOKEN, "0" * 32], ids=["right", "wrong"])
def test_who_leaves_before_the_greeting_leaves_nothing(
    token: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def gone(*_: object) -> None:
        raise ConnectionResetError

    def viewers() -> set[threading.Thread]:
        return {one for one in threading.enumerate() if one.name == "viewer"}

    async def test(client: Client) -> None:
        before = viewers()
        await (await opened(client, token)).receive()
        while viewers() - before:
            await asyncio.sleep(0.01)
        assert not caplog.records

    monkeypatch.setattr(web.WebSocketResponse, "send_str", gone)
    run(test)


NO_FRAMES = {
    "empty": b"",
    "short": b"x",
    "no jpeg": FRAME.pack(1, 0.0),
    "nonsense": FRAME.pack(1, 0.0) + b"no picture",
    "too large": FRAME.pack(1, 0.0) + jpeg(np.zeros((20, 1400, 3), np.uint8)),
    "png": FRAME.pack(1, 0.0) + encoded(".png", scene()),
    "head alone": FRAME.pack(1, 0.0) + jpeg(scene())[:300],
}


@pytest.mark.parametrize("data", NO_FRAMES.values(), ids=NO_FRAMES.keys())
def test_what_is_no_frame_ends_the_stream_and_not_the_server(data: bytes) -> None:
    async def test(client: Client) -> None:
        socket = await greeted(client)
        await socket.send_bytes(data)
        assert await told(socket, "problem")
        assert (await socket.receive()).type is WSMsgType.CLOSE
        await live(await greeted(client), 0)

    run(test)


@pytest.mark.parametrize(
    "values",
    [[], {"effect": 3}, {"strength": "1"}, {"strength": 0}, {"strength": float("nan")},
     {"color": "red"}, {"color": "#12345\n"}, {"paused": 1}, {"unknown": 1}, {"effect": None}],
    ids=str,
)  # fmt: skip
def test_settings_are_checked(values: object) -> None:
    with pytest.raises(SegjaxError, match=r"^got .+; (known|it) "):
        Settings().changed(values)


def test_fifty_connections_opened_and_dropped_leave_nothing() -> None:
    def held() -> tuple[int, int]:
        handles = Path("/proc/self/fd")  # of Linux
        return threading.active_count(), len(list(handles.iterdir())) if handles.exists() else 0

    async def test(client: Client) -> None:
        await (await greeted(client)).close()
        await asyncio.sleep(0.2)
        before = held()
        for number in range(50):
            reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
            if number % 3:
                host = f"127.0.0.1:{client.port}"
                writer.write(
                    f"GET /stream HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n"
                    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
                )
                await reader.readuntil(b"\r\n\r\n")
            if number % 3 == 2:
                token = bytes(byte ^ 1 for byte in f'{{"token": "{TOKEN}"}}'.encode())
                writer.write(struct.pack(">BB", 0x81, 0x80 | len(token)) + b"\1\1\1\1" + token)
                await writer.drain()
            writer.transport.abort()
        until_s = time.monotonic() + 10
        while held() > before and time.monotonic() < until_s:
            await asyncio.sleep(0.05)
        assert held() <= before

    run(test)
