"""A window's keys: what they change of the run, and that its views are the window's alone."""

import threading
import time
from typing import Any

import cv2
import numpy as np
import pytest
from live_fakes import Collector, Composite, FakeMatting, FakeSource

from segjax import scenery
from segjax.live import window
from segjax.live.backgrounds import Background, Blur, Bokeh, Color, Drawn, Picture, parse_background
from segjax.live.controls import Controls, Seen, Views
from segjax.live.frames import Frame
from segjax.live.loop import Loop, Status
from segjax.live.states import State
from segjax.live.window import KEYS, Window


class Screen:
    """Stands in for OpenCV's windows; `keys` are pressed one after another, or each once so many
    pictures were shown, as `later` says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shown: list[np.ndarray] = []
        self.keys: list[str] = []
        self.later: list[tuple[int, str]] = []
        self.texts: list[str] = []
        monkeypatch.setattr(window, "check_display", lambda: None)
        put_text = cv2.putText
        for name, stand_in in {
            "namedWindow": lambda *_: None,
            "resizeWindow": lambda *_: None,
            "imshow": lambda _, pixels: self.shown.append(pixels.copy()),
            "waitKey": self.wait_key,
            "getWindowProperty": lambda *_: 1.0,
            "destroyAllWindows": lambda: None,
            "putText": lambda *a: (self.texts.append(a[1]), put_text(*a)),
        }.items():
            monkeypatch.setattr(cv2, name, stand_in)

    def wait_key(self, _: int) -> int:
        if self.later and len(self.shown) >= self.later[0][0]:
            self.keys.append(self.later.pop(0)[1])
        return ord(self.keys.pop(0)) if self.keys else -1


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    return Screen(monkeypatch)


class FakeLoop:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.switched: list[tuple[Background, Any]] = []
        self.slow: threading.Event | None = None
        self.paused = False

    def pause(self) -> None:
        self.told.append("pause")
        self.paused = True

    def resume(self) -> None:
        self.told.append("resume")
        self.paused = False

    def switch(self, background: Background, matting: Any) -> None:
        if self.slow is not None:
            self.slow.wait(5)
        self.switched.append((background, matting))

    def status(self) -> Status:
        return Status(State.LIVE, "live", 9, 5, 3, 1, 2, 29.97)


class Step(FakeMatting):
    strength = 0.5


def controls_of(loop: Any, spec: str = "blur", **options: Any) -> Controls:
    views = Views()
    background = parse_background(spec)
    options = {"make": lambda background: views.of(Step()), "say": print, **options}
    return Controls(loop, spec, background, views.of(Step()), views=views, **options)


def settle(controls: Controls) -> None:
    """Waits for what is done aside."""
    until_s = time.monotonic() + 20
    while controls._busy and time.monotonic() < until_s:
        time.sleep(0.005)
    assert not controls._busy


def frame(index: int = 0, value: int = 50) -> Frame:
    return Frame(np.full((240, 320, 3), value, np.uint8), index, index / 30, time.perf_counter())


def test_every_key_stands_in_the_help(screen: Screen) -> None:
    with Window() as sink:
        screen.keys = ["?"]
        sink.write(frame())
        assert [text.split()[0] for text in screen.texts] == [key.split()[0] for key in KEYS]
        before, after = screen.shown
        assert (before == 50).all() and not (after == 50).all()
        screen.keys = ["?"]
        sink.idle()
        assert (screen.shown[-1] == 50).all()


@pytest.mark.parametrize("key", ["q", "\x1b"])
def test_keys_that_quit(screen: Screen, key: str) -> None:
    with Window() as sink:
        sink.write(frame())
        screen.keys = [key]
        sink.idle()
        assert sink.ended


def test_mirror_is_of_the_window_alone(screen: Screen) -> None:
    with Window() as sink:
        pixels = frame()
        pixels.pixels[:, :10] = 200
        screen.keys = ["m"]
        sink.write(pixels)
        assert (screen.shown[-1][:, -10:] == 200).all() and (screen.shown[-1][:, :10] == 50).all()


def test_keys_reach_the_run(screen: Screen) -> None:
    loop = FakeLoop()
    with Window() as sink:
        sink.controls = controls_of(loop)
        screen.keys = [" ", " ", "f"]
        for index in range(4):
            sink.write(frame(index))
    assert loop.told == ["pause", "resume"]
    assert {"paused", "going on", "live, 30.0 fps", "composed 5, repeated 3"} <= set(screen.texts)


def test_space_ends_a_pause_that_came_from_elsewhere() -> None:
    loop = FakeLoop()
    controls = controls_of(loop)
    loop.pause()
    assert [controls.pause(), controls.pause()] == ["going on", "paused"] and loop.paused


@pytest.mark.parametrize("kind", ["blur", "bokeh"])
def test_the_blur_becomes_stronger_and_weaker_within_its_range(kind: str) -> None:
    loop = FakeLoop()
    controls = controls_of(loop, f"{kind}:0.3")
    for steps, strength in [(1, 0.4), (-1, 0.3), (-1, 0.2), (-1, 0.1), (-1, 0.1), (20, 1.0)]:
        assert controls.blur(steps) == f"blur: {strength:.0%}"
        settle(controls)
        background, matting = loop.switched[-1]
        assert (background.kind, background.strength) == (kind, strength)
        assert matting.strength == strength
    assert len({id(matting) for _, matting in loop.switched}) == 1


def test_the_next_background_and_round_again() -> None:
    loop = FakeLoop()
    made: list[str] = []

    def make(background: Background) -> Seen:
        made.append(background.kind)
        return Views().of(Step())

    controls = controls_of(loop, "#102030", make=make)
    names = []
    for _ in range(11):
        names.append(controls.next_background().removeprefix("background: "))
        settle(controls)
    assert names[:4] == ["blur", "bokeh", "studio", "blinds"] and names[-1] == "#102030"
    kinds = [type(background) for background, _ in loop.switched]
    assert kinds == [Blur, Bokeh, *[Drawn] * 8, Picture]
    assert controls_of(loop, "blur:0.3")._choices == ("blur:0.3", "bokeh", *scenery.SCENES)
    assert made == ["blur", "bokeh", "picture"]  # a step for each kind, and each only once
    color = loop.switched[-1][0].picture(0, 4, 4)
    assert color is not None and (color == (16, 32, 48)).all()
    assert controls.blur(1) == "this background is not blurred"


def test_keys_pressed_meanwhile_are_taken_together() -> None:
    loop = FakeLoop()
    loop.slow = threading.Event()
    controls = controls_of(loop)
    for _ in range(5):
        controls.next_background()
    loop.slow.set()
    settle(controls)
    assert 1 <= len(loop.switched) <= 2
    assert loop.switched[-1][0]._name == "bookshelf"  # type: ignore[attr-defined]


def test_a_background_that_cannot_be_had_changes_nothing() -> None:
    loop, said = FakeLoop(), []

    def make(background: Background) -> Seen:
        raise MemoryError("no room")

    controls = controls_of(loop, make=make, say=said.append)
    controls.next_background()
    settle(controls)
    assert said == ["the background stays: no room"] and not loop.switched


def test_transparent_stays() -> None:
    loop = FakeLoop()
    assert "transparent stays" in controls_of(loop, "transparent").next_background()
    assert not loop.switched


def test_a_key_changes_what_a_run_composes_over(screen: Screen) -> None:
    """From grey by blur to the drawn studio, in every sink."""
    studio = scenery.draw("studio", 32, 48)[:, 24:]

    class Until(Collector):
        @property
        def ended(self) -> bool:
            return any((pixels[:, 24:] == studio).all() for pixels in self.copies[-3:])

    views, other, sink = Views(), Until(), Window()
    background = Color((90, 90, 90))
    matting = views.of(Step())
    source = FakeSource(100_000, live=True, interval_s=0.002, size=(32, 48))
    loop = Loop(source, matting, background, [sink, other], device="", say=lambda _: None)
    sink.controls = Controls(
        loop, "#5a5a5a", background, matting, lambda _: views.of(Step()), views, print
    )
    screen.later = [(3, "n"), (6, "n"), (9, "n")]
    report = loop.run()
    assert other.ended and report.composed > 0


# Views


class Hider(FakeMatting):
    """Shows nothing of any frame, and says with its mask that it would."""

    def __call__(self, pixels: np.ndarray, background: np.ndarray | None, index: int) -> Composite:
        good = super().__call__(pixels, background, index)
        return Composite(np.full_like(pixels, 250), good.alpha, index)


@pytest.mark.parametrize("live", [False, True])
def test_split_and_mask_views_never_reach_another_sink(screen: Screen, live: bool) -> None:
    views, others = Views(), [Collector(), Collector()]
    sink = Window()
    sink.paced = False  # type: ignore[misc]
    screen.later = [(5, "s"), (30, "k"), (55, "s"), (80, "k"), (85, "q")]
    matting = views.of(Hider())
    source = FakeSource(100_000, live=live, interval_s=0.002, size=(32, 48))
    background = Color((250, 250, 250))
    loop = Loop(source, matting, background, [sink, *others], device="", say=lambda _: None)
    sink.controls = Controls(
        loop, "#fafafa", background, matting, lambda _: matting, views, lambda _: None
    )
    loop.run()
    assert not screen.later
    for other in others:
        assert len(other.copies) > 5
        assert all((pixels == 250).all() for pixels in other.copies)
    # The window did show them: the camera's bytes, all below 100, and masks, black and white.
    left = [pixels[:, :20] for pixels in screen.shown]
    assert any((part < 100).all() for part in left)
    assert any((pixels[:, 40:] == 0).all() for pixels in screen.shown)


def test_views_show_the_frame_and_the_mask_of_what_left(screen: Screen) -> None:
    controls = controls_of(FakeLoop())
    controls.views.wanted = True
    pixels = np.full((20, 40, 3), (10, 20, 30), np.uint8)
    alpha = np.zeros((10, 20), np.float32)
    alpha[:, :10] = 1
    controls.views.keep(3, pixels, alpha)
    out = Frame(np.full((20, 40, 3), 90, np.uint8), 3, 0.1, 0.0)
    with Window() as sink:
        sink.controls = controls
        screen.keys = ["s", "s", "k"]
        sink.write(out)
        assert (screen.shown[-1][:, :20] == (30, 20, 10)).all()
        assert (screen.shown[-1][:, 21:] == 90).all()
        sink.idle()
        sink.idle()
        assert (screen.shown[-1][:, :18] == 255).all() and (screen.shown[-1][:, 22:] == 0).all()
        # Another frame is not shown with this one's mask.
        sink.write(Frame(np.full((20, 40, 3), 91, np.uint8), 4, 0.1, 0.0))
        assert (screen.shown[-1] == 91).all()


def test_nothing_is_kept_unless_it_is_looked_at() -> None:
    views = Views()
    step = views.of(FakeMatting())
    pixels = np.zeros((8, 8, 3), np.uint8)
    step(pixels, None, 0)
    assert views.find(0) is None
    views.wanted = True
    for index in range(20):
        step(pixels, None, index)
    assert views.find(19) is not None and views.find(3) is None
    views.wanted = False
    step(pixels, None, 20)
    assert views.find(19) is None
