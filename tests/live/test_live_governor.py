"""The governor: its choices in a simulated stream, and the loop under it by a scripted clock."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from live_fakes import Collector, Composite, FakeMatting, FakeSource, ScriptedClock

from segjax.live.backgrounds import Blur
from segjax.live.frames import Frame, Output
from segjax.live.governor import APART_S, Governor
from segjax.live.loop import Loop

COSTS = (1.0, 0.55)
QUALITIES = ("full", "coarse")
Of = Callable[[float], float]
"""What holds at a time."""


@dataclass
class Stream:
    """A camera and a step of which one frame is under way at a time, the newest next.

    full_s: what the best quality takes; each other one takes its part of `costs`.
    cpu_s: of all processors, that a frame of the best quality takes, beside `other` at all times.
    """

    full_s: Of
    interval_s: Of = lambda _: 1 / 30
    costs: tuple[float, ...] = COSTS
    truly: tuple[float, ...] = COSTS
    """What they are in truth."""
    ready_s: float = 0.0
    """From when on qualities beside the best are ready."""
    cpu_s: Of = lambda _: 0.0
    other: float = 0.0
    governor: Governor = field(default_factory=lambda: Governor(QUALITIES))
    composed_s: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def run(self, seconds: float) -> "Stream":
        free_s = came_s = cpu_s = 0.0
        newest: tuple[int, float] | None = None
        for index in itertools.count():
            came_s += self.interval_s(came_s)
            if came_s > seconds:
                return self
            while newest and free_s <= came_s:  # the step takes it before the next one comes
                start_s = max(free_s, newest[1])
                if start_s > came_s:
                    break
                if self.governor.takes(newest[1]):
                    truly = self.truly[self.governor.level.quality]
                    step_s = truly * self.full_s(start_s)
                    free_s = start_s + step_s
                    cpu_s += truly * self.cpu_s(start_s)
                    costs = self.costs if start_s >= self.ready_s else (1.0,)
                    taken_s = cpu_s + self.other * free_s
                    line = self.governor.stepped(*newest, free_s, step_s, taken_s, costs)
                    self.said += [line] if line else []
                    self.composed_s.append(free_s)
                newest = None
            newest = index, came_s
        return self

    @property
    def changes(self) -> list[tuple[float, str]]:
        return self.governor.changes

    def fps(self, start_s: float, end_s: float) -> float:
        return sum(start_s <= at < end_s for at in self.composed_s) / (end_s - start_s)


def between(start_s: float, end_s: float, busy: float, free: float = 0.015) -> Of:
    return lambda now: busy if start_s <= now < end_s else free


def test_it_goes_down_under_a_load_and_up_after_it() -> None:
    stream = Stream(between(20, 100, 0.045)).run(130)
    assert [name for _, name in stream.changes] == ["coarse", "full"]
    (down_s, _), (up_s, _) = stream.changes
    assert 22 < down_s < 25 and 100 < up_s < 105
    assert stream.fps(25, 85) >= 28 and stream.fps(106, 130) >= 28
    assert stream.said == [
        "quality: coarse, since the machine is busy: a frame takes 45 ms, and the next one comes "
        "after 33",
        "quality: full, since there is time for it",
    ]
    times = stream.governor.times()
    assert times["coarse"] == {"count": 1, "seconds": pytest.approx(up_s - down_s, abs=1.1)}
    assert times["full"]["count"] == 2


def test_without_it_the_same_load_costs_frames() -> None:
    stream = Stream(between(20, 100, 0.045))
    stream.governor.on = False
    assert stream.run(100).fps(25, 85) < 24
    assert not stream.changes


def test_a_load_that_is_too_much_for_a_coarse_mask_costs_frames() -> None:
    stream = Stream(between(20, 100, 0.250)).run(140)
    assert [name for _, name in stream.changes] == ["coarse, 15 fps", "full"]
    # A load that grows: one after another.
    stream = Stream(lambda now: 0.04 + 0.001 * now).run(80)
    names = [name for _, name in stream.changes]
    assert names == ["coarse", "coarse, 20 fps", "coarse, 15 fps"]
    # The rate is one of the steps: every second frame, and nothing missed.
    assert stream.fps(70, 80) == pytest.approx(15, abs=0.3)


def test_a_load_that_fades_is_one_change() -> None:
    """While it fades a coarse mask would do soon, and then nothing better for 10 s."""
    stream = Stream(lambda now: 0.25 if now < 60 else max(0.015, 0.25 - 0.1 * (now - 60))).run(90)
    assert [name for _, name in stream.changes] == ["coarse, 15 fps", "full"]
    assert stream.changes[1][0] < 75


@pytest.mark.parametrize(
    ("full_s", "interval_s"),
    [
        (lambda _: 0.015, lambda _: 1 / 30),
        (lambda _: 0.020, lambda now: 1 / 30 if now < 20 else 1 / 15),  # dark
        (between(20, 21.2, 0.2), lambda _: 1 / 30),  # for a moment
        (lambda now: 0.08 if now % 5 < 1 else 0.015, lambda _: 1 / 30),  # again and again
    ],
)
def test_it_leaves_alone_what_is_well_or_passes(full_s: Of, interval_s: Of) -> None:
    assert not Stream(full_s, interval_s).run(60).changes


def test_a_camera_that_becomes_fast_again_is_followed() -> None:
    stream = Stream(lambda _: 0.045, lambda now: 1 / 15 if now < 20 else 1 / 30).run(40)
    assert [(round(at, -1), name) for at, name in stream.changes] == [(20, "coarse")]


def test_changes_lie_apart_whatever_comes() -> None:
    random = np.random.default_rng(3)
    loads = random.uniform(0.005, 0.12, 200)
    stream = Stream(lambda now: loads[int(now / 3)]).run(590)
    times = [at for at, _ in stream.changes]
    assert len(times) > 10
    assert min(later - sooner for sooner, later in itertools.pairwise(times)) >= APART_S


def test_a_quality_that_was_too_slow_is_not_tried_again_and_again() -> None:
    """Where a coarse mask is believed to save far less than it does, `full` always seems to fit."""
    steady = Stream(lambda _: 0.04, costs=(1.0, 0.95), truly=(1.0, 0.4)).run(3600)
    ups = [at for at, name in steady.changes if name == "full"]
    assert 2 <= len(ups) <= 7
    waits = np.diff(ups)
    assert (waits[1:] >= 1.5 * waits[:-1]).sum() >= len(waits) - 2  # each time longer
    # But if things become clearly better, it is at once.
    better = Stream(
        lambda now: 0.04 if now < 100 else 0.012, costs=(1.0, 0.95), truly=(1.0, 0.4)
    ).run(130)
    assert better.changes[-1][1] == "full" and better.changes[-1][0] < 115


def test_a_share_of_the_processors_is_kept() -> None:
    """A frame at full quality takes 20 ms of all processors: 0.6 of them, and 0.1 the rest."""
    stream = Stream(
        lambda _: 0.02,
        cpu_s=lambda now: 0.02 if now < 60 else 0.005,
        other=0.1,
        governor=Governor(QUALITIES, cpu_share=0.5),
    ).run(100)
    names = [name for _, name in stream.changes]
    assert names == ["coarse", "full"]
    assert stream.changes[1][0] < 75
    assert stream.said[0] == (
        "quality: coarse, since 70% of the processors were taken and --cpu-share allows 50%"
    )


def test_nothing_is_chosen_that_is_not_ready() -> None:
    stream = Stream(lambda _: 0.045, ready_s=30).run(60)
    assert [(round(at, -1), name) for at, name in stream.changes] == [(30, "coarse")]


def test_frames_that_are_missed_count_however_fast_the_step_is() -> None:
    """Something else than the step holds the thread up."""
    governor = Governor(QUALITIES)
    said: list[str] = []
    for index in range(0, 400, 2):
        assert governor.takes(index / 30)
        line = governor.stepped(index, index / 30, index / 30, 0.01, 0.0, COSTS)
        said += [line] if line else []
    assert said[0] == "quality: coarse, since the machine is busy: 50% of the frames were missed"


def test_a_source_that_was_away_is_no_load() -> None:
    governor = Governor(QUALITIES)
    for second in range(10):  # one frame, and then none for long
        governor.forget()
        for index in range(20):
            at_s = 100.0 * second + index / 10
            assert governor.takes(at_s)
            assert governor.stepped(20 * second + index, at_s, at_s, 0.2, 0.0, COSTS) is None
    assert governor.level.name == "full"


class Slowed(FakeMatting):
    """A step of two qualities on a machine that is busy for a while: a mask's size tells its
    quality, and its frame's number stands in it."""

    def __init__(self, clock: ScriptedClock, busy: range) -> None:
        super().__init__(clock=clock)
        self.qualities = QUALITIES
        self.compiled: list[tuple[int, float]] = []
        self.ran: list[int] = []
        self._busy = busy
        self._clock = clock

    def prepare_quality(self, quality: int, height: int, width: int) -> float:
        self._clock.sleep(3.0)
        self.compiled.append((quality, self._clock.now()))
        return COSTS[quality]

    def mask_size(self, height: int, width: int) -> tuple[int, int]:
        return height // (2 + self.quality), width // (2 + self.quality)

    def __call__(self, pixels: np.ndarray, background: np.ndarray | None, index: int) -> Composite:
        self._step_s = COSTS[self.quality] * (0.046 if index in self._busy else 0.012)
        self.ran.append(self.quality)
        assert self.quality in [0, *(quality for quality, _ in self.compiled)]
        return super().__call__(pixels, background, index)


class Camera(FakeSource):
    """Live, and at its rate however long its frames take."""

    def __iter__(self) -> Iterator[Frame]:
        start_s = self._clock.now()
        for frame in super().__iter__():
            due_s = start_s + frame.index / self.rate
            self._clock.sleep(max(0.0, due_s - self._clock.now()))
            yield frame


class Kinds(Collector):
    """Notes when each composed frame left, and that it shows its own number."""

    def __init__(self, source: FakeSource, clock: ScriptedClock) -> None:
        super().__init__(clock=clock)
        self.at: list[tuple[int, float]] = []
        self._source = source

    def write(self, frame: Frame) -> None:
        assert isinstance(frame, Output)
        if frame.kind == "composed":
            assert (frame.pixels[:, :24] == self._source.value(frame.index)).all()
            self.at.append((frame.index, self._clock.now()))


def test_the_loop_is_governed_and_never_shows_a_mask_of_another_frame() -> None:
    said: list[str] = []
    with ScriptedClock() as clock:
        source = Camera(30 * 60, live=True, clock=clock)
        matting = Slowed(clock, range(300, 1200))
        sink = Kinds(source, clock)
        governor = Governor(QUALITIES, rate=source.rate)
        loop = Loop(
            source,
            matting,
            Blur(),
            [sink],
            device="",
            governor=governor,
            say=said.append,
            clock=clock,
        )
        report = loop.run()
    assert [name for _, name in governor.changes] == ["coarse", "full"]
    (down_s, _), (up_s, _) = governor.changes
    start_s = sink.at[0][1]
    assert 2 < down_s - start_s - 10 < 6 and 0 < up_s - start_s - 40 < 15
    fps = sum(start_s + 15 <= at < start_s + 39 for _, at in sink.at) / 24
    assert fps >= 28
    # Compiled aside, once each, before anything was chosen; frames left meanwhile.
    assert matting.prepared == [source.size] and [quality for quality, _ in matting.compiled] == [1]
    assert sum(at < matting.compiled[0][1] for _, at in sink.at) > 60
    # The state is not forgotten over a change, nothing was covered, and the report tells of it.
    assert matting.resets == 0 and report.covered <= 1
    assert report.qualities["coarse"]["count"] == 1
    assert report.qualities["coarse"]["seconds"] == pytest.approx(up_s - down_s, abs=1.5)
    assert loop.status().quality == "full"
    assert sum(line.startswith("quality:") for line in said) == 2


def test_a_file_is_not_governed() -> None:
    matting = FakeMatting(step_s=0.0)
    governor = Governor(QUALITIES, rate=1000.0)
    loop = Loop(FakeSource(5), matting, Blur(), [Collector()], device="", governor=governor)
    report = loop.run()
    assert report.composed == 5 and report.qualities == {} and loop.status().quality == "full"
