"""`segjax serve --source browser` as a user starts it, with the real model."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_web_page import choose, find_chromium, start, wait_for_color, within
from web_fakes import write_y4m

from segjax import cli
from segjax.live.sample import Sample

ROOT = Path(__file__).resolve().parents[2]
ROOM = (20, 60, 170)

AROUND = [
    (115, 720), (155, 615), (290, 500), (305, 435), (385, 380), (385, 120), (470, 45), (560, 25),
    (710, 25), (795, 90), (805, 320), (725, 390), (815, 485), (855, 575), (930, 720),
]  # fmt: skip
"""Widely around the person of the sample's first picture, in its pixels (x, y)."""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Of a server in a process of its own, ended by Ctrl+C at the end."""
    child = subprocess.Popen(
        [sys.executable, "-m", "segjax", "serve", "--source", "browser", "--port", "0"],
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'kernels'}", "SEGJAX_SETTINGS": "off"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout
    yield child.stdout.readline().strip()
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert child.returncode == 0 and said.endswith("the server has ended\n"), said


def visit(
    address: str, folder: Path, chromium: str, *, what: str = "#result", limit_ms: int = 90_000
) -> None:
    """Opens the page in a browser whose camera films the sample's person in a room of one colour,
    clicks Start, and looks whether the person comes back without the room: in the element `what`,
    which is "#returned" by WebRTC."""
    from playwright import sync_api

    film = np.full((720, 1280, 3), ROOM, np.uint8)
    person = cv2.fillPoly(np.zeros((720, 1280), np.uint8), [np.array(AROUND)], 1) > 0
    film[person] = Sample().picture(0.0)[person]
    film = cv2.resize(film, (640, 360), interpolation=cv2.INTER_AREA)
    chance = np.random.default_rng(0)
    noise = [chance.integers(0, 3, film.shape, np.uint8) for _ in range(31)]
    write_y4m(folder / "film.y4m", [np.maximum(film, one) - one for one in noise])
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=[
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-video-capture={folder / 'film.y4m'}",
            ],
        )
        # The server signs its own certificate.
        page = browser.new_context(permissions=["camera"], ignore_https_errors=True).new_page()
        page.set_default_timeout(limit_ms)
        page.goto(address)
        start(page)
        choose(page, "Colour")
        page.locator("#color").fill("#e0c020")
        page.wait_for_selector(f"{what}:not([hidden])")
        shown = wait_for_color(page, (0xE0, 0xC0, 0x20), what=what, limit_ms=limit_ms)
        room = cv2.erode((~person).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        room = cv2.resize(room.astype(np.uint8), (640, 360)) > 0
        assert within(shown[room][None], ROOM) < 0.001
        face = np.s_[100:190, 245:335]
        assert np.abs(shown[face].astype(int) - film[face]).mean() < 12
        browser.close()


def test_a_first_time_user_sees_themselves_without_the_room(
    address: str, tmp_path: Path, needs: Callable
) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#[0-9a-f]{32}", address)
    needs("playwright.sync_api")
    visit(address, tmp_path, find_chromium(needs))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--backgrounds", "nowhere"), "got --backgrounds nowhere, which is no folder"),
        (("--edge-softness", "2"), "got --edge-softness 2; it is a number from 0"),
        (("--host", "0.0.0.0"), "which means every address of this machine"),
        (("--cert", "a.pem"), "got one of --cert and --key; TLS needs both; give the other one"),
    ],
)
def test_what_cannot_be_served_is_said_at_once(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.run("serve", ["--source", "browser", *arguments], prog="serve.py")
    assert ended.value.code == 2 and words in capsys.readouterr().err


def test_another_machine_without_cryptography_is_shown_the_tunnel(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(SystemExit):
        cli.run("serve", ["--source", "browser", "--host", "192.168.1.5"], prog="serve.py")
    said = capsys.readouterr().err
    assert "pip install 'segjax[tls]'" in said and "`ssh -L 8000:127.0.0.1:8000 " in said


LOOPBACK = """
import asyncio, fcntl, re, socket, struct, subprocess, sys
from pathlib import Path
lo = socket.socket()
fcntl.ioctl(lo, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up, running
lo.close()
import cv2, numpy as np
from aiohttp import ClientSession
import test_web_peer as peer, test_web_stream as stream
from web_fakes import Client
from segjax.live.sample import Sample

def print_sockets():
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
            print(kind, *line.split()[1:4])

async def there(address):
    url, token = address.split("/#")
    async with ClientSession(url) as session:
        client = Client(session, int(url.split(":")[-1]))
        assert (await client.get("/")).status == 200
        page = await stream.opened(client, token)
        await page.send_json({"settings": {"effect": "color", "color": "#e0c020"}})
        green, number = 0.0, 0
        while green < 0.2:
            number += 1
            film = cv2.resize(Sample().picture(number / 30), (640, 360))
            await stream.send(page, number, film)
            _, _, state, shown = await stream.answer(page)
            green = stream.near(shown, (0xE0, 0xC0, 0x20))
        face = np.s_[100:190, 245:335]
        assert np.abs(shown[face].astype(int) - film[face]).mean() < 12
        print_sockets()

child = subprocess.Popen([sys.executable, "-m", "segjax", "serve", "--source", "browser",
                          "--port", "0"], stdout=subprocess.PIPE, text=True)
try:
    asyncio.run(asyncio.wait_for(there(child.stdout.readline().strip()), 90))
finally:
    child.terminate()
    child.wait()
asyncio.run(asyncio.wait_for(peer.there_and_back(print_sockets), 20))
for file, name in (("snmp", "OutNoRoutes"), ("snmp6", "Ip6OutNoRoutes")):
    text = Path(f"/proc/net/{file}").read_text()
    if file == "snmp":  # a line of names, then one of numbers
        names, numbers = (line.split() for line in text.splitlines()[:2])
        print("lost", numbers[names.index(name)])
    else:
        print("lost", re.search(rf"{name}\\s+(\\d+)", text)[1])
"""


def in_own_network(needs: Callable, *program: str | Path) -> str:
    """What a Python program said in a network namespace that has nothing but loopback."""
    apart = ["unshare", "--net", "--map-root-user"]
    can = sys.platform == "linux" and shutil.which("unshare") is not None
    can = can and subprocess.run([*apart, "true"], capture_output=True).returncode == 0
    needs("a network namespace", can)
    paths = [ROOT, ROOT / "kernels", ROOT / "tests" / "web"]
    running = subprocess.Popen(
        [*apart, sys.executable, *program],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "SEGJAX_SETTINGS": "off"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, complained = running.communicate(timeout=240)
    finally:
        with contextlib.suppress(ProcessLookupError):  # whoever is left
            os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode == 0, complained
    return said


def test_with_nothing_but_loopback_it_works_and_listens_nowhere_else(needs: Callable) -> None:
    """In a network namespace that has no other interface: the real model over the WebSocket, then
    WebRTC. A packet for anywhere else would be counted as one without a route."""
    needs("aiortc")
    printed = in_own_network(needs, "-c", LOOPBACK)
    said = [line.split() for line in printed.splitlines()]
    assert [counted for kind, *counted in said if kind == "lost"] == [["0"], ["0"]]
    sockets = [line for line in said if line[0] != "lost"]
    listening = [(kind, there) for kind, _, there, state in sockets if state == "0A"]
    assert listening == [("tcp", "00000000:0000")]  # one, of the page
    assert any(kind == "udp" for kind, *_ in sockets)  # and those of WebRTC
    assert all(here.startswith("0100007F:") for _, here, _, _ in sockets)


def test_another_device_gets_its_picture_by_webrtc(needs: Callable, tmp_path: Path) -> None:
    """From a browser in another network namespace, with a cable to the server's."""
    for module in ("aiortc", "cryptography", "playwright.sync_api"):
        needs(module)
    needs("ip", shutil.which("ip") is not None)
    devices = Path(__file__).with_name("two_devices.py")
    said = in_own_network(needs, devices, tmp_path, find_chromium(needs))
    assert "the person came back by WebRTC" in said
