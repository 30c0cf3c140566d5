"""The rule: a frame composed with its own mask leaves, or a cover without a byte of the camera."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from live_fakes import Collector, Composite, FakeMatting, FakeSource

from segjax.live.backgrounds import Background, Blur, Color, Picture, Transparent
from segjax.live.frames import Frame
from segjax.live.guard import Guard
from segjax.live.loop import Loop

BACKGROUNDS: dict[str, Callable[[], Background]] = {
    "blur": Blur,
    "color": lambda: Color((120, 130, 140)),
    "picture": lambda: Picture(np.full((20, 30, 3), 128, np.uint8)),
    "transparent": Transparent,
}


def fails(_: Composite) -> Composite:
    raise RuntimeError("boom\nsecond line")


def with_alpha(value: float) -> Callable[[Composite], Composite]:
    def spoil(good: Composite) -> Composite:
        alpha = good.alpha.copy()
        alpha[3, 5] = value
        return replace(good, alpha=alpha)

    return spoil


FAULTS: dict[str, Callable[[Composite], Composite]] = {
    "exception": fails,
    "nan": with_alpha(np.nan),
    "inf": with_alpha(np.inf),
    "minus inf": with_alpha(-np.inf),
    "above one": with_alpha(1.5),
    "below zero": with_alpha(-0.1),
    "mask shape": lambda good: replace(good, alpha=good.alpha[:-1]),
    "mask of the frame's size": lambda good: replace(good, alpha=np.ones((32, 48), np.float32)),
    "empty mask": lambda good: replace(good, alpha=good.alpha[:0]),
    "mask dtype": lambda good: replace(good, alpha=good.alpha.astype(np.float64)),
    "no mask": lambda good: replace(good, alpha=None),  # type: ignore[arg-type]
    "mask of the frame before": lambda good: replace(good, index=good.index - 1),
    "image shape": lambda good: replace(good, image=good.image[:, :-1]),
    "image channels": lambda good: replace(good, image=good.image[..., :1]),
    "image dtype": lambda good: replace(good, image=good.image.astype(np.float32)),
}


def run(source: FakeSource, background: Background, fault: Callable, at: set[int]) -> Collector:
    """One run in which the frames `at` are spoilt."""
    matting = FakeMatting(
        lambda good: fault(good) if good.index in at else good,
        transparent=background.kind == "transparent",
    )
    collector = Collector()
    report = Loop(source, matting, background, [collector], device="test").run()
    assert report.frames == len(collector.frames)
    assert report.covered == len(at) == matting.resets
    return collector


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_covered_holds_no_byte_of_the_camera(fault: str, background: str) -> None:
    at = {0, 3, 4}
    low, high = (
        run(FakeSource(7, low=low), BACKGROUNDS[background](), FAULTS[fault], at)
        for low in (True, False)
    )
    assert [frame.index for frame in low.frames] == list(range(7))
    for one, other in zip(low.frames, high.frames, strict=True):
        assert one.pixels.dtype == np.uint8
        if one.index in at:
            cover = BACKGROUNDS[background]().cover(32, 48, one.time_s)
            np.testing.assert_array_equal(one.pixels, cover)
            np.testing.assert_array_equal(other.pixels, cover)
        else:
            assert (one.pixels[:, :24, :3] == one.index).all()
            assert (other.pixels[:, :24, :3] == 156 + other.index).all()


def test_repeated_faults_are_told_once_a_kind() -> None:
    said: list[str] = []

    def fault(good: Composite) -> Composite:
        return fails(good) if good.index % 2 else with_alpha(np.nan)(good)

    loop = Loop(
        FakeSource(10), FakeMatting(fault), Blur(), [Collector()], device="", say=said.append
    )
    report = loop.run()
    assert (report.frames, report.covered) == (10, 10)
    assert report.covered_because == {"exception": 5, "mask values": 5}
    told = [line for line in said if line.startswith("covered")]
    assert told == [
        "covered, from frame 0 on: the mask holds values outside [0, 1]",
        "covered, from frame 1 on: the model failed with RuntimeError: boom",
    ]


def frame(index: int, size: tuple[int, int], *, value: int = 9, age_s: float = 0.0) -> Frame:
    pixels = np.full((*size, 3), value, np.uint8)
    return Frame(pixels, index, index / 30, time.perf_counter() - age_s)


def test_a_stale_frame_of_a_live_source_is_covered() -> None:
    matting = FakeMatting()
    guard = Guard(matting, Blur(), live=True, stale_s=0.5, say=lambda _: None)
    guard.prepare(32, 48)
    fresh, stale = guard(frame(0, (32, 48)), None), guard(frame(1, (32, 48), age_s=0.6), None)
    assert (fresh[:, :24] == 9).all()
    np.testing.assert_array_equal(stale, Blur().cover(32, 48, 0))
    assert guard.covered == {"late": 1}

    patient = Guard(matting, Blur(), live=False, stale_s=0.5, say=lambda _: None)
    assert (patient(frame(0, (32, 48), age_s=9.0), None)[:, :24] == 9).all()


class SlowToPrepare(FakeMatting):
    """Prepares any size but the first only when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def prepare(self, height: int, width: int) -> None:
        super().prepare(height, width)
        if len(self.prepared) > 1:
            assert self.go.wait(10)


def test_a_live_source_is_covered_until_its_size_is_prepared() -> None:
    matting = SlowToPrepare()
    guard = Guard(matting, Blur(), live=True, say=lambda _: None)
    guard.prepare(32, 48)
    covers = [guard(frame(index, (40, 24), value=index), None) for index in range(3)]
    for cover in covers:
        np.testing.assert_array_equal(cover, Blur().cover(40, 24, 0))
    matting.go.set()
    index = 3
    while (guard(frame(index, (40, 24)), None)[:, :12] != 9).any():
        time.sleep(0.005)
        index += 1
        assert index < 1000
    assert matting.prepared == [(32, 48), (40, 24)]
    assert guard.covered == {"preparing": index}
    assert guard.sizes == {(32, 48): (16, 24), (40, 24): (20, 12)}


def test_other_sources_wait_for_a_new_size() -> None:
    matting, said = FakeMatting(), []
    guard = Guard(matting, Blur(), say=said.append)
    for index, size in enumerate([(32, 48), (40, 24), (40, 24), (32, 48)]):
        assert (guard(frame(index, size), None)[:, : size[1] // 2] == 9).all()
    assert matting.prepared == [(32, 48), (40, 24), (32, 48)]
    assert not guard.covered
    assert [line.split(":")[0] for line in said if line.startswith("preparing")] == [
        "preparing the model for 48x32",
        "preparing the model for 24x40",
    ]


@pytest.mark.parametrize("live", [False, True])
def test_a_size_that_cannot_be_prepared_is_covered_and_tried_once(live: bool) -> None:
    class Limited(FakeMatting):
        def prepare(self, height: int, width: int) -> None:
            super().prepare(height, width)
            if width == 24:
                raise ValueError("too narrow")

        def __call__(
            self, pixels: np.ndarray, background: np.ndarray | None, index: int
        ) -> Composite:
            if pixels.shape[1] == 24:
                raise ValueError("too narrow")
            return super().__call__(pixels, background, index)

    matting = Limited()
    guard = Guard(matting, Color((1, 2, 3)), live=live, say=lambda _: None)
    guard.prepare(32, 48)
    for index in range(20):
        assert (guard(frame(index, (40, 24)), None) == (1, 2, 3)).all()
        time.sleep(0.002)
    assert matting.prepared == [(32, 48), (40, 24)]
    assert guard.covered["exception"] > 0


def test_a_fault_while_forgetting_does_not_end_the_run() -> None:
    class Broken(FakeMatting):
        def reset(self) -> None:
            raise RuntimeError("no")

    guard = Guard(Broken(fails), Blur(), say=lambda _: None)
    for index in range(3):
        np.testing.assert_array_equal(guard(frame(index, (32, 48)), None), Blur().cover(32, 48, 0))
