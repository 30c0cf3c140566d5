"""The page in a real browser, with a film for a camera."""

import asyncio
import base64
import contextlib
import http.server
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from aiohttp import web
from web_fakes import (
    PERSON,
    ROOM,
    TOKEN,
    decoded,
    encoded,
    remote_run,
    scene,
    studio,
    wait_until,
    write_y4m,
)  # fmt: skip

from segjax.web import peer, server
from segjax.web.preview import Remote
from segjax.web.security import Address
from segjax.web.server import Server, listen
from segjax.web.settings import Settings
from segjax.web.studio import Studio
from segjax.web.viewer import Viewer

CAMERA = (360, 640)
LIMIT_MS = 60_000


class Site:
    """A server on a thread of its own, that can be ended and started again at its address."""

    def __init__(self, shared: Studio | Remote) -> None:
        self.studio = shared
        self.port = 0
        self.webrtc_s = 0.0
        self.start()

    def start(self) -> None:
        listening = listen("127.0.0.1", self.port)
        self.port = listening.getsockname()[1]
        made = Server(self.studio, Address(port=self.port), TOKEN, webrtc_s=self.webrtc_s)
        self._serving = server.in_background(made, listening)
        self._serving.__enter__()

    def stop(self) -> None:
        self._serving.__exit__(None, None, None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site(studio())
    yield made
    made.stop()


def find_chromium(needs: Callable) -> str:
    """The system's; Playwright brings none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    needs("Chromium", found is not None)
    return found or ""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, needs: Callable) -> Iterator[Any]:
    """Chromium, whose camera shows a person who moves in a room."""
    sync_api = needs("playwright.sync_api")
    found = find_chromium(needs)
    film = tmp_path_factory.mktemp("camera") / "camera.y4m"
    write_y4m(film, [scene(*CAMERA, x=0.4 + 0.02 * i) for i in range(10)])
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=found,
            args=[
                "--use-fake-device-for-media-stream",
                "--allow-loopback-in-peer-connection",
                f"--use-file-for-fake-video-capture={film}",
            ],
        )
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any, site: Site) -> Iterator[Callable[..., Any]]:
    """Opens the page; at the end it must have said nothing on the console, unless not `quiet`."""
    said: list[str] = []
    contexts = []

    def open_page(
        url: str | None = None, *, camera: bool = True, script: str = "", quiet: bool = True,
        **options: Any,
    ) -> Any:  # fmt: skip
        context = browser.new_context(permissions=["camera"] if camera else [], **options)
        contexts.append(context)
        if script:
            context.add_init_script(script)
        page = context.new_page()
        page.set_default_timeout(LIMIT_MS)
        if quiet:
            page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(url or f"{site.url}#{TOKEN}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not said


def wait_for_state(page: Any, state: str) -> None:
    page.wait_for_selector(f"#state[data-state={state}]")


def wait_for(page: Any, what: str) -> None:
    """Waits until an expression holds; Playwright's own way is against the page's policy."""
    for _ in range(LIMIT_MS // 50):
        if page.evaluate(what):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{what} did not come to pass")


def start(page: Any) -> None:
    page.click("#start")
    wait_for_state(page, "live")


READ = """(what) => {
  const from = document.querySelector(what);
  const canvas = document.createElement("canvas");
  canvas.width = from.videoWidth || from.width;
  canvas.height = from.videoHeight || from.height;
  canvas.getContext("2d").drawImage(from, 0, 0);
  return canvas.toDataURL("image/png").split(",")[1];
}"""


def pixels(page: Any, what: str = "#result") -> np.ndarray:
    """What an element shows: uint8 RGB [H, W, 3]."""
    return decoded(base64.b64decode(page.evaluate(READ, what)))


def within(shown: np.ndarray, color: tuple[int, int, int], delta_e: float = 10) -> float:
    """The share of pixels within ΔE (CIE 1976) of a colour."""

    def lab(rgb: np.ndarray) -> np.ndarray:
        return cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)

    distance = np.linalg.norm(lab(shown) - lab(np.array(color)[None, None]), axis=2)
    return float((distance <= delta_e).mean())


def wait_for_color(
    page: Any,
    color: tuple[int, int, int],
    share: float = 0.4,
    what: str = "#result",
    limit_ms: int = LIMIT_MS,
) -> np.ndarray:
    """What an element shows once that much of it has the colour."""
    for _ in range(limit_ms // 50):
        shown = pixels(page, what)
        if within(shown, color) > share:
            return shown
        page.wait_for_timeout(50)
    raise AssertionError(f"{color} did not come")


def choose(page: Any, effect: str) -> None:
    page.locator("#effects .choices label", has_text=effect).click()


DROP = """(data) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], "beach house.png", { type: "image/png" }));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
}"""


def test_the_room_goes_out_and_does_not_come_back(open_page: Callable, site: Site) -> None:
    assert isinstance(site.studio, Studio)
    site.studio.settings = Settings(softness=0.4)
    page = open_page()
    assert page.url == site.url  # the key is off the bar
    assert page.evaluate("sessionStorage.token") == TOKEN
    assert "go from this page to the segjax program" in page.inner_text("#welcome")
    assert "“desk”" in page.inner_text("#place")
    start(page)
    assert within(pixels(page, "#original"), ROOM) > 0.5  # the browser's own picture
    for what, act, color in (
        ("blur", None, (128, 102, 128)),
        ("bokeh", lambda: choose(page, "Bokeh"), (128, 102, 40)),
        ("strong", lambda: page.fill("#strength", "0.8"), (204, 102, 40)),
        ("soft", lambda: page.fill("#softness", "0.9"), (204, 230, 40)),
        ("colour", lambda: choose(page, "Colour"), (0, 0xB1, 0x40)),
        ("picture", lambda: choose(page, "Picture"), (150, 70, 40)),
        ("dropped", lambda: page.evaluate(DROP, beach()), (230, 220, 130)),
        ("transparent", lambda: choose(page, "Transparent"), (240, 240, 240)),
    ):
        if act:
            act()
        shown = wait_for_color(page, color, 0.2 if what == "transparent" else 0.5)
        assert shown.shape == (*CAMERA, 3)
        assert within(shown, ROOM) < 0.001, what
        assert within(shown, PERSON) > 0.15, what
    assert page.input_value("#softness") == "0.9"  # kept by every effect
    assert page.locator("#gallery label").all_inner_texts() == ["brick", "beach house"]
    page.select_option("#person", "central")  # of whom a part is out of the middle
    wait_until(lambda: 0.05 < within(pixels(page), PERSON) < 0.8 * within(shown, PERSON))
    page.click("#pause")
    wait_for_state(page, "paused")
    page.wait_for_selector("#fps:text-is('0')")
    assert within(pixels(page), PERSON) == within(pixels(page), ROOM) == 0
    page.click("#pause")
    wait_for_state(page, "live")
    page.reload()  # the key is still there, and what the server begins with
    page.wait_for_selector("#gallery label", state="attached")
    assert page.input_value("#softness") == "0.4"
    start(page)


def beach() -> str:
    sand = np.full((90, 160, 3), (230, 220, 130), np.uint8)
    return base64.b64encode(encoded(".png", sand)).decode()


CAMERAS = """
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
window.asked = []; window.tracks = [];
navigator.mediaDevices.getUserMedia = async (wish) => {
  window.asked.push(wish.audio ?? false);
  const stream = await ask(wish);
  window.tracks.push(...stream.getTracks());
  await window.held;
  return stream;
};"""


def test_stop_turns_the_camera_off_and_no_sound_was_asked_for(open_page: Callable) -> None:
    page = open_page(script=CAMERAS)
    start(page)
    page.check("#mirror")
    assert "matrix(-1" in page.evaluate("getComputedStyle(result).transform")
    assert page.locator("#camera option").count() >= 1
    page.click("#stop")
    wait_for_state(page, "stopped")
    assert page.evaluate("tracks.map((track) => track.readyState)") == ["ended"]
    assert page.evaluate("asked") == [False]
    assert page.evaluate("document.activeElement.id") == "start"
    start(page)
    assert page.evaluate("tracks.map((track) => track.readyState)") == ["ended", "live"]
    page.click("#pause")
    page.click("#stop")
    page.click("#start")
    wait_for_state(page, "paused")


def test_stop_calls_off_a_camera_that_is_still_being_opened(open_page: Callable) -> None:
    page = open_page(script=CAMERAS)
    start(page)
    page.evaluate("() => { window.held = new Promise((done) => { window.release = done; }); }")
    page.evaluate("camera.dispatchEvent(new Event('change'))")
    wait_for(page, "tracks.length === 2")
    page.click("#stop")
    wait_for_state(page, "stopped")
    page.evaluate("release()")
    wait_for(page, "tracks.every((track) => track.readyState === 'ended')")
    assert page.inner_text("#state") == "Stopped"
    start(page)
    assert page.evaluate("tracks.map((track) => track.readyState)") == ["ended", "ended", "live"]


HIDDEN = """
const timeout = window.setTimeout.bind(window);
window.setInterval = window.setTimeout = (act, after) => timeout(act, Math.max(1000, after));
window.requestAnimationFrame = () => 0;"""


def test_a_hidden_tab_keeps_its_rate(open_page: Callable) -> None:
    """With what browsers do to the timers of one."""
    answered = []
    answer = Viewer.__call__

    def count(self: Viewer, *arguments: Any, **options: Any) -> Any:
        answered.append(None)
        return answer(self, *arguments, **options)

    page = open_page(script=HIDDEN)
    start(page)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Viewer, "__call__", count)
        page.wait_for_timeout(2000)
    assert len(answered) >= 10


FAIL_ONCE = """
const convert = OffscreenCanvas.prototype.convertToBlob;
OffscreenCanvas.prototype.convertToBlob = function () {
  OffscreenCanvas.prototype.convertToBlob = convert;
  throw new DOMException("no", "EncodingError");
};
"""


def test_a_frame_that_cannot_be_coded_is_left_out(
    open_page: Callable, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    page_file = server._page_file

    async def failing(data: bytes, kind: str, request: web.Request) -> web.Response:
        fails = request.path == "/worker.js"
        return await page_file(data + FAIL_ONCE.encode() * fails, kind, request)

    site.stop()
    monkeypatch.setattr(server, "_page_file", failing)
    site.studio = studio()
    site.start()
    start(open_page(quiet=False))  # the browser notes it


def test_two_pages_have_their_own_state_and_the_third_is_told(open_page: Callable) -> None:
    one, two, three = open_page(), open_page(), open_page()
    start(one)
    start(two)
    choose(two, "Colour")
    wait_for_color(two, (0, 0xB1, 0x40))
    wait_for_color(one, (128, 128, 128))
    three.click("#start")
    three.wait_for_selector("#problem:has-text('this computer carries 2 at once')")
    one.click("#stop")
    for _ in range(20):  # until the server has heard of it
        three.click("#problem button")
        three.wait_for_selector("#state:is([data-state=live], [data-state=stopped])")
        if three.get_attribute("#state", "data-state") == "live":
            return
        three.wait_for_timeout(100)
    raise AssertionError("the place of one who left was not given away")


# --- from another device ----------------------------------------------------------------------


@pytest.fixture
def far_site(site: Site, needs: Callable) -> Callable[[float], None]:
    """Has pages try WebRTC for so long, as those of another device do."""
    needs("aiortc")

    def far_site(webrtc_s: float) -> None:
        site.stop()
        site.studio, site.webrtc_s = studio(), webrtc_s
        site.start()

    return far_site


COUNT = """
const Real = RTCPeerConnection;
window.peers = [];
window.RTCPeerConnection = class extends Real {
  constructor(wish) { super(wish); window.peers.push([this, wish]); }
};
const Its = Worker;
window.workers = [];
window.Worker = class extends Its {
  constructor(...given) { super(...given); window.workers.push(this); }
};"""


def test_another_device_is_served_by_webrtc(open_page: Callable, far_site: Callable) -> None:
    far_site(15)
    page = open_page(script=COUNT)
    start(page)
    page.wait_for_selector("#returned:not([hidden])")
    choose(page, "Colour")
    shown = wait_for_color(page, (0, 0xB1, 0x40), what="#returned")
    assert shown.shape == (*CAMERA, 3)
    assert within(shown, ROOM) < 0.001 and within(shown, PERSON) > 0.15
    assert within(pixels(page), PERSON) == 0  # nothing goes by the other way
    assert page.evaluate("peers.map(([, wish]) => wish.iceServers.length)") == [0]
    assert page.evaluate("peers[0][0].getSenders().map((one) => one.track.kind)") == ["video"]
    page.wait_for_selector("#fps:text-matches('^[1-9]')")
    page.evaluate("pause.click(); pause.click()")
    wait_for_state(page, "live")
    page.click("#pause")
    wait_for_state(page, "paused")
    # Said before the pause, and late.
    page.evaluate("workers[0].onmessage({ data: { state: 'live' } })")
    assert page.get_attribute("#state", "data-state") == "paused"
    assert page.locator("#returned").is_hidden()
    page.click("#pause")
    wait_for_state(page, "live")
    page.click("#stop")
    assert page.evaluate("peers[0][0].connectionState") == "closed"


def test_a_pause_begins_no_webrtc(open_page: Callable, site: Site, far_site: Callable) -> None:
    far_site(15)
    page = open_page(script=COUNT, quiet=False)  # the browser notes every try
    start(page)
    page.wait_for_selector("#returned:not([hidden])")
    page.click("#pause")
    site.stop()
    page.wait_for_selector("#problem:has-text('does not answer')")
    site.studio = studio()
    site.start()
    wait_for_state(page, "paused")
    assert page.evaluate("peers.length") == 1
    page.evaluate("pause.click(); pause.click()")  # before anything is carried
    wait_for_state(page, "paused")
    assert page.evaluate("peers.map(([one]) => one.connectionState)") == ["closed", "closed"]
    page.click("#pause")
    wait_for_state(page, "live")
    page.wait_for_selector("#returned:not([hidden])")


def test_where_webrtc_finds_no_way_the_websocket_does(
    open_page: Callable, far_site: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, only_from = peer.Peer.accept, peer.only_from

    async def unreachable(self: peer.Peer, offer: object) -> str:
        lines = (await answer(self, offer)).splitlines(keepends=True)
        return "".join(line for line in lines if "candidate" not in line)

    monkeypatch.setattr(peer.Peer, "accept", unreachable)
    monkeypatch.setattr(peer, "only_from", lambda offer, there: only_from(offer, "nowhere"))
    far_site(1)
    page = open_page()
    start(page)
    assert page.locator("#returned").is_hidden()
    wait_for_color(page, (128, 128, 128))


def test_where_webrtc_falls_silent_the_websocket_goes_on(
    open_page: Callable, far_site: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    far_site(15)
    page = open_page()
    start(page)
    page.wait_for_selector("#returned:not([hidden])")
    monkeypatch.setattr(peer.Way, "next", lambda self: asyncio.Event().wait())
    page.wait_for_selector("#returned", state="hidden")
    wait_for_color(page, (128, 128, 128))
    wait_for_state(page, "live")


# --- the page of a run ------------------------------------------------------------------------


def test_a_run_is_shown_and_changed_and_no_camera_is_asked_for(open_page: Callable) -> None:
    with remote_run() as remote:
        run = Site(remote)
        try:
            page = open_page(f"{run.url}#{TOKEN}", camera=False)
            page.wait_for_selector("#start:text-is('Show the picture')")
            assert "what leaves the segjax program" in page.inner_text("#welcome")
            start(page)
            assert page.locator("#original").is_hidden() and page.locator("#camera").is_hidden()
            shown = wait_for_color(page, (128, 128, 128))
            assert within(shown, ROOM) < 0.001 and within(shown, PERSON) > 0.1
            page.fill("#softness", "0.9")
            wait_for_color(page, (128, 230, 128))
            choose(page, "Bokeh")
            wait_for_color(page, (128, 230, 40))
            choose(page, "Colour")
            wait_for_color(page, (0, 0xB1, 0x40))
            page.evaluate(DROP, beach())
            wait_for_color(page, (230, 220, 130))
            page.click("#pause")
            wait_for_state(page, "paused")
            other = open_page(f"{run.url}#{TOKEN}", camera=False)
            other.click("#start")
            wait_for_state(other, "paused")
            assert other.is_checked("[name=effect][value=picture]")
            assert other.input_value("#softness") == "0.9"
            other.click("#pause")
            wait_for_state(page, "live")
            page.wait_for_selector("#pause[aria-pressed=false]")
            remote.loop.pause()  # as the run's window does
            page.wait_for_selector("#pause[aria-pressed=true]")
            page.click("#pause")
            wait_for_state(page, "live")
            page.click("#stop")
            wait_for_state(page, "stopped")
        finally:
            run.stop()


# --- what goes wrong --------------------------------------------------------------------------

REFUSE = """navigator.mediaDevices.getUserMedia = async () => {{
  throw new DOMException("no", "{}");
}};"""


@pytest.mark.parametrize(
    ("options", "sentence", "button"),
    [
        ({"camera": False}, "does not let this page use the camera", "Ask again"),
        ({"script": REFUSE.format("NotFoundError")}, "No camera was found", "Look again"),
        ({"script": REFUSE.format("NotReadableError")}, "Another program or tab", "Try again"),
        (
            {"script": "Object.defineProperty(window, 'isSecureContext', {value: false})"},
            "only to a secure page",
            "Open the secure page",
        ),
    ],
    ids=["refused", "none", "busy", "insecure"],
)
def test_each_problem_has_its_sentence_and_its_button(
    open_page: Callable, options: dict[str, Any], sentence: str, button: str
) -> None:
    page = open_page(**options)
    page.click("#start")
    page.wait_for_selector(f"#problem[role=alert]:has-text('{sentence}')")
    assert page.inner_text("#problem button") == button
    assert page.is_visible("#start") and page.locator("#pictures").is_hidden()
    assert page.inner_text("#state") == "Stopped"


def test_without_its_key_the_page_says_where_it_is(open_page: Callable, site: Site) -> None:
    page = open_page(site.url)
    page.wait_for_selector("#problem:has-text('Open the whole address')")
    old = open_page(f"{site.url}#{'0' * 32}", quiet=False)  # the browser notes the 401
    old.wait_for_selector("#problem:has-text('of an earlier start')")


def test_a_camera_that_is_unplugged_and_comes_back(open_page: Callable) -> None:
    page = open_page()
    start(page)
    page.evaluate(
        """() => { const [track] = original.srcObject.getVideoTracks();
                   track.stop(); track.onended(); }"""
    )
    page.wait_for_selector("#problem:has-text('was unplugged')")
    wait_for_state(page, "stopped")
    others = page.evaluate(
        """async () => {
          const devices = navigator.mediaDevices;
          const other = { kind: "videoinput", deviceId: "other", label: "Other" };
          devices.enumerateDevices = async () => [other];
          devices.dispatchEvent(new Event("devicechange"));
          await new Promise((done) => setTimeout(done));
          delete devices.enumerateDevices;
          return [...camera.options].map((one) => one.label);
        }"""
    )
    assert others == ["Other"] and page.inner_text("#state") == "Stopped"
    assert page.is_visible("#problem:has-text('was unplugged')")
    page.evaluate("navigator.mediaDevices.dispatchEvent(new Event('devicechange'))")
    wait_for_state(page, "live")
    assert page.locator("#problem").is_hidden()


DRAWN = """
window.draws = "room";
navigator.mediaDevices.getUserMedia = async () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 360 });
  const picture = canvas.getContext("2d");
  let number = 0;
  setInterval(() => {
    if (window.draws === "nothing") return;
    number += 1;
    picture.fillStyle = window.draws === "black" ? "#000" : `rgb(20 90 ${100 + (number % 50)})`;
    picture.fillRect(0, 0, 640, 360);
  }, 30);
  return canvas.captureStream();
};"""


def test_a_camera_that_gives_black_or_nothing_is_said(open_page: Callable) -> None:
    page = open_page(script=DRAWN)
    start(page)
    page.evaluate("draws = 'black'")
    wait_for_state(page, "covered")
    page.wait_for_selector("#problem:has-text('picture is black')")
    page.click("#problem button")
    assert page.evaluate("document.activeElement.id") == "camera"
    page.evaluate("draws = 'room'")
    wait_for_state(page, "live")
    page.wait_for_selector("#problem", state="hidden")
    page.evaluate("draws = 'nothing'")
    wait_for_state(page, "silent")
    assert len(np.unique(pixels(page).reshape(-1, 3), axis=0)) == 1
    page.evaluate("draws = 'room'")
    wait_for_state(page, "live")


def test_a_camera_that_gives_nothing_from_the_beginning_is_said(open_page: Callable) -> None:
    page = open_page(script=DRAWN.replace('"room"', '"nothing"'))
    page.click("#start")
    wait_for_state(page, "silent")
    page.evaluate("draws = 'room'")
    wait_for_state(page, "live")
    page.click("#pause")
    wait_for_state(page, "paused")
    page.evaluate("draws = 'nothing'")
    page.wait_for_timeout(2500)  # a pause is no silence
    assert page.get_attribute("#state", "data-state") == "paused"
    page.click("#pause")
    wait_for_state(page, "silent")


def test_a_server_that_ends_and_comes_back(open_page: Callable, site: Site) -> None:
    page = open_page(quiet=False)  # the browser notes every try
    start(page)
    choose(page, "Colour")
    wait_for_color(page, (0, 0xB1, 0x40))
    site.stop()
    page.wait_for_selector("#problem:has-text('does not answer')")
    assert within(pixels(page), PERSON) == 0
    site.studio = studio()
    site.start()
    wait_for_state(page, "live")
    assert page.locator("#problem").is_hidden()
    wait_for_color(page, (0, 0xB1, 0x40))  # what was chosen is said again


# --- for everybody ----------------------------------------------------------------------------


def test_the_whole_way_by_keyboard(open_page: Callable) -> None:
    page = open_page()

    def tab_to(what: str) -> None:
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.evaluate("(what) => document.activeElement.matches(what)", what):
                outline = page.evaluate(
                    """() => { const at = document.activeElement;
                       const seen = at.type === 'radio' ? at.nextElementSibling : at;
                       return getComputedStyle(seen).outlineStyle; }"""
                )
                assert outline == "solid"
                return
        raise AssertionError(f"no Tab leads to {what}")

    tab_to("#start")
    page.keyboard.press("Enter")
    wait_for_state(page, "live")
    assert page.evaluate("document.activeElement.id") == "stop"
    tab_to("[name=effect]")
    page.keyboard.press("ArrowRight")
    wait_for_color(page, (128, 128, 40))
    page.keyboard.press("ArrowRight")
    wait_for_color(page, (150, 70, 40))  # the first picture
    tab_to("[name=picture]")
    tab_to("#add")
    tab_to("#softness")
    page.keyboard.press("End")
    assert page.input_value("#softness") == "1"
    tab_to("#mirror")
    page.keyboard.press("Space")
    assert page.is_checked("#mirror")
    for _ in range(30):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.id") == "pause":
            break
    page.keyboard.press("Enter")
    wait_for_state(page, "paused")
    assert page.get_attribute("#pause", "aria-pressed") == "true"
    tab_to("#stop")
    page.keyboard.press("Space")
    wait_for_state(page, "stopped")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page: Callable, needs: Callable, scheme: str) -> None:
    axe = needs("axe_playwright_python.sync_playwright").Axe()
    page = open_page(color_scheme=scheme, viewport={"width": 1280, "height": 900}, quiet=False)

    def check(where: str) -> None:
        page.evaluate("document.getAnimations().forEach((one) => one.finish())")
        found = axe.run(page).response["violations"]
        serious = [one["id"] for one in found if one["impact"] in ("serious", "critical")]
        assert not serious, where

    check("welcome")
    start(page)
    for effect in ("Blur", "Bokeh", "Picture", "Colour", "Transparent"):
        choose(page, effect)
        check(effect)
    page.click("#pause")
    wait_for_state(page, "paused")
    check("paused")
    page.evaluate(DROP, base64.b64encode(b"<svg/>").decode())
    page.wait_for_selector("#problem")
    check("problem")


def test_what_is_chosen_is_seen_in_forced_colours_too(open_page: Callable) -> None:
    page = open_page(forced_colors="active")
    page.wait_for_selector("#gallery label", state="attached")
    seen = page.evaluate(
        """() => [...document.querySelectorAll("[name=effect], [name=picture]")].map((one) => {
             const width = () => getComputedStyle(one.nextElementSibling).borderTopWidth;
             one.checked = false;
             const before = width();
             one.checked = true;
             return before !== width(); })"""
    )
    assert len(seen) > 5 and all(seen)


def test_a_narrow_phone_shows_all_in_one_column(open_page: Callable) -> None:
    page = open_page(viewport={"width": 360, "height": 740}, reduced_motion="reduce")
    start(page)
    choose(page, "Picture")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, select, .choices label, #gallery label,"
             + ".line:has(input)")].filter((one) => one.checkVisibility()).map((one) => {
             const { width, height } = one.getBoundingClientRect();
             return [one.textContent.trim(), width, height]; })
           .filter(([, width, height]) => width < 44 || height < 44)"""
    )
    assert small == []
    assert page.evaluate("getComputedStyle(veil).transitionDuration") == "0s"


# --- another page -----------------------------------------------------------------------------

ATTACK = """<!doctype html><title>attack</title>
<form id="form" method="post" action="{url}api/backgrounds" target="frame">
<input name="a" value="b"></form><iframe name="frame"></iframe>"""

TRIES = """async (url) => {
  document.getElementById("form").submit();
  const tries = {};
  for (const path of ["", "api/choices"]) {
    tries[`read ${path}`] = await fetch(url + path).then((a) => `${a.status}`, () => "refused");
  }
  tries.post = await fetch(`${url}api/backgrounds`, { method: "POST", body: "x", mode: "no-cors" })
    .then((answer) => answer.type, () => "refused");
  tries.key = await fetch(`${url}api/choices`, { headers: { "X-Segjax-Token": "%s" } })
    .then((answer) => `${answer.status}`, () => "refused");
  tries.stream = await new Promise((done) => {
    const socket = new WebSocket(`${url.replace("http", "ws")}stream`);
    socket.onopen = () => done("open");
    socket.onerror = () => done("refused");
  });
  return tries;
}"""


def test_another_page_gets_nothing(open_page: Callable, site: Site, tmp_path: Path) -> None:
    (tmp_path / "attack.html").write_text(ATTACK.format(url=site.url))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path))

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        with contextlib.closing(other.socket):
            page = open_page(f"http://127.0.0.1:{other.server_port}/attack.html", quiet=False)
            tries = page.evaluate(TRIES % TOKEN, site.url)
            other.shutdown()
    assert set(tries.values()) <= {"refused", "opaque"}, tries
    assert not site.studio.pictures._sent
