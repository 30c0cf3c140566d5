"""What the guard lets pass, and what leaves in place of what it does not."""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from live_fakes import Collector, Composite, FakeMatting, FakeSource

from segjax.live.backgrounds import Background, Blur, Bokeh, Color, Picture, Transparent
from segjax.live.frames import Frame
from segjax.live.guard import Fault, Guard, Look, Matting
from segjax.live.loop import Loop

BACKGROUNDS: dict[str, Callable[[], Background]] = {
    "blur": Blur,
    "bokeh": Bokeh,
    "color": lambda: Color((120, 130, 140)),
    "picture": lambda: Picture(np.full((20, 30, 3), 128, np.uint8)),
    "transparent": Transparent,
}


def quiet(_: str) -> None:
    pass


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
        "covered: the mask holds values outside [0, 1]",
        "covered: the model failed with RuntimeError: boom",
    ]


def frame(index: int, size: tuple[int, int], *, value: int = 90) -> Frame:
    return Frame(np.full((*size, 3), value, np.uint8), index, index / 30, 0.0)


class Guarded(Guard):
    """A guard of one step over a blurred room, which gives a frame's upper left corner or the kind
    of its fault."""

    def __init__(self, matting: Matting, *, live: bool, say: Callable[[str], None] = quiet) -> None:
        self.look = Look(Blur(), matting)
        super().__init__(self.look, live=live, say=say)

    def of(self, frame: Frame) -> int | str:
        try:
            return int(self(frame, None, self.look).image[0, 0, 0])
        except Fault as fault:
            return fault.kind


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
    guard = Guarded(matting, live=True)
    guard.prepare(matting, 32, 48)
    assert guard.of(frame(0, (32, 48))) == 90
    assert {guard.of(frame(index, (40, 24))) for index in range(3)} == {"preparing"}
    matting.go.set()
    index = 3
    while guard.of(frame(index, (40, 24))) != 90:
        time.sleep(0.005)
        index += 1
        assert index < 1000
    assert matting.prepared == [(32, 48), (40, 24)]
    assert guard.sizes == {(32, 48): (16, 24), (40, 24): (20, 12)}


def test_other_sources_wait_for_a_new_size() -> None:
    matting, said = FakeMatting(), []
    guard = Guarded(matting, live=False, say=said.append)
    for index, size in enumerate([(32, 48), (40, 24), (40, 24), (32, 48)]):
        assert guard.of(frame(index, size)) == 90
    assert matting.prepared == [(32, 48), (40, 24)]
    assert matting.resets == 2  # with every change of size
    assert [line.split(":")[0] for line in said if line.startswith("preparing")] == [
        "preparing the model for 48x32",
        "preparing the model for 24x40",
    ]


@pytest.mark.parametrize("others", [False, True])
def test_other_qualities_are_used_once_they_are_prepared_for_the_size(others: bool) -> None:
    class Twofold(FakeMatting):
        def __init__(self) -> None:
            super().__init__()
            self.qualities = ("full", "coarse")
            self.go, self.used = threading.Event(), []

        def prepare_quality(self, quality: int, height: int, width: int) -> float:
            assert self.go.wait(10)
            return 0.5

        def __call__(
            self, pixels: np.ndarray, background: np.ndarray | None, index: int
        ) -> Composite:
            self.used.append(self.quality)
            return super().__call__(pixels, background, index)

    matting = Twofold()
    look = Look(Blur(), matting)
    guard = Guard(look, live=True, others=others, say=quiet)
    guard.prepare(matting, 32, 48)

    def shown(index: int, size: tuple[int, int]) -> bool:
        with contextlib.suppress(Fault):
            guard(frame(index, size), None, look, 1)
            return True
        return False

    for index in range(1000):  # covered until the new size's best quality is there, and no longer
        if shown(index, (40, 24)):
            break
        time.sleep(0.005)
    assert matting.used[-1] == 0 and guard.costs(matting, 40, 24) == (1.0,)
    matting.go.set()
    for _ in range(1000 if others else 4):
        time.sleep(0.005)
        if guard.costs(matting, 40, 24) == (1.0, 0.5):
            break
    assert shown(1000, (40, 24)) and matting.used[-1] == (1 if others else 0)
    assert shown(1001, (32, 48)) and matting.used[-1] == 0  # which nobody prepared more of


@pytest.mark.parametrize("live", [False, True])
def test_a_size_that_cannot_be_prepared_is_a_fault_and_tried_once(live: bool) -> None:
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
    guard = Guarded(matting, live=live)
    guard.prepare(matting, 32, 48)
    kinds = []
    for index in range(20):
        kinds.append(guard.of(frame(index, (40, 24))))
        time.sleep(0.002)
    assert set(kinds) == ({"preparing", "exception"} if live else {"exception"})
    assert matting.prepared == [(32, 48), (40, 24)]


def test_a_fault_while_forgetting_does_not_end_the_run() -> None:
    class Broken(FakeMatting):
        def reset(self) -> None:
            raise RuntimeError("no")

    guard = Guarded(Broken(fails), live=False)
    assert [guard.of(frame(index, (32, 48))) for index in range(3)] == ["exception"] * 3


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((32, 48), np.uint8),
        np.zeros((32, 48, 4), np.uint8),
        np.zeros((32, 48, 2), np.uint8),
        np.zeros((32, 48, 3), np.float32),
        np.zeros(9, np.uint8),
    ],
)
def test_what_is_no_rgb_never_reaches_the_step(pixels: np.ndarray) -> None:
    calls: list[Composite] = []
    guard = Guarded(FakeMatting(lambda good: calls.append(good) or good), live=True)
    assert guard.of(Frame(pixels, 0, 0.0, 0.0)) == "frame format"
    assert not calls


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (MemoryError(), "out of memory", "--camera-size 640x360"),
        (
            RuntimeError("RESOURCE_EXHAUSTED: 9 GiB\nmore"),
            "out of memory",
            "too little free memory",
        ),
        (RuntimeError("boom\nmore"), "exception", "the model failed with RuntimeError: boom"),
    ],
)
def test_what_the_step_raises_is_told_in_a_line(error: Exception, kind: str, words: str) -> None:
    def fails(_: Composite) -> Composite:
        raise error

    guard = Guarded(FakeMatting(fails), live=True)
    guard.prepare(guard.look.matting, 32, 48)
    guard.of(frame(0, (32, 48)))
    with pytest.raises(Fault, match=words) as raised:
        guard(frame(1, (32, 48)), None, guard.look)
    assert raised.value.kind == kind and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("covers", "passes"),
    [
        # A jump, and back: five in a row agree on the new share, then five on the old one.
        ([20, 20, 65, 65, 65, 65, 65, 20, 20, 20, 20, 20, 20], "..xxxx.xxxx.."),
        ([20, 59, 20], "..."),  # by less
        ([90, 49], ".x"),  # away as well as towards
        ([99, 99, 99, 99, 99, 99, 99], "xxxxxxx"),  # never believed
        ([20, 99, 20, 20, 20, 20, 20, 20], ".xxxxx.."),
        ([20, 65, 80, 65, 65, 65, 65, 65], ".xxxxxx."),  # they do not agree at first
        ([97, 97], ".."),
    ],
)
def test_a_mask_that_jumps_is_believed_when_five_agree(covers: list[int], passes: str) -> None:
    def spoil(good: Composite) -> Composite:
        alpha = np.zeros((10, 10), np.float32)
        alpha.ravel()[: covers[good.index]] = 1
        return replace(good, alpha=alpha)

    def run(*, live: bool) -> str:
        guard = Guarded(FakeMatting(spoil), live=live)
        guard.prepare(guard.look.matting, 20, 20)
        kinds = [guard.of(frame(index, (20, 20))) for index in range(len(covers))]
        assert set(kinds) <= {90, "coverage"}
        return "".join("x" if kind == "coverage" else "." for kind in kinds)

    assert run(live=True) == passes
    assert run(live=False) == "." * len(covers)
