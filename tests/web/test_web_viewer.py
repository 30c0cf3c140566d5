"""What leaves in place of a viewer's frames is the gate's, and of its three kinds."""

from dataclasses import dataclass

import numpy as np
import pytest
from web_fakes import PERSON, ROOM, scene, studio, wait_until

from segjax.web import viewer as module
from segjax.web.viewer import Answer, Viewer

SIZE = (90, 160)


@dataclass
class Time:
    now: float = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The viewer's own clock; the gate keeps its."""
    made = Time()
    monkeypatch.setattr(module, "time", made)
    return made


def frame(number: int) -> np.ndarray:
    pixels = scene(*SIZE)
    pixels[0, 0] = number % 256
    return pixels


def live(viewer: Viewer, number: int = 0) -> Answer:
    """The first answer that is composed; those before it are covers."""
    answers: list[Answer] = []

    def composed() -> bool:
        answers.append(viewer(frame(number), number))
        return answers[-1].output.kind == "composed"

    wait_until(composed)
    assert {answer.output.kind for answer in answers[:-1]} <= {"covered"}
    return answers[-1]


def holds(pixels: np.ndarray, color: tuple[int, int, int]) -> bool:
    return bool((pixels == color).all(2).any())


def test_an_answer_carries_the_gates_output() -> None:
    viewer = Viewer(studio())
    assert live(viewer, 7).output.index == 7
    answer = viewer(frame(8), 8)
    assert (answer.output.kind, answer.output.index, answer.state) == ("composed", 8, "live")
    assert holds(answer.output.pixels, PERSON) and not holds(answer.output.pixels, ROOM)
    answer = viewer.late(*SIZE, 9)
    assert (answer.output.kind, answer.output.index) == ("covered", 9)
    assert answer.problem.kind == "late" and answer.output.pixels.shape == (*SIZE, 3)
    viewer.change({"paused": True})
    for answer in (viewer(frame(10), 10), viewer.late(*SIZE, 11), viewer.tick()):
        assert (answer.output.kind, answer.state) == ("covered", "paused")
        assert not holds(answer.output.pixels, PERSON) and not holds(answer.output.pixels, ROOM)


def test_a_black_picture_is_covered_and_said(time: Time) -> None:
    viewer = Viewer(studio())
    live(viewer)
    black = np.full((*SIZE, 3), 9, np.uint8)
    answer = viewer(black, 1)
    assert (answer.output.kind, answer.problem.kind) == ("covered", "black")
    answer = viewer(frame(2), 2)
    assert (answer.output.kind, answer.problem.kind) == ("composed", "")


def test_a_picture_that_stands_still_is_covered_after_a_second(time: Time) -> None:
    viewer = Viewer(studio())
    live(viewer)
    for number, kind in ((1, "composed"), (2, "covered"), (3, "covered")):
        answer = viewer(frame(0), number)
        assert answer.output.kind == kind
        assert answer.problem.kind == ("frozen" if kind == "covered" else "")
        time.now += 0.9 if number == 1 else 0.5
        if number == 1:
            assert viewer(frame(0), 1).output.kind == "composed"
            time.now += 0.2
    assert viewer(frame(0), 4, may_stand=True).output.kind == "composed"
    assert viewer(frame(5), 5).output.kind == "composed"


def test_where_no_frame_comes_the_last_is_repeated_and_then_covered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [50.0]
    monkeypatch.setattr(module.Clock, "now", lambda self: now[0])
    viewer = Viewer(studio())
    last = live(viewer, 3).output
    now[0] += 0.1
    answer = viewer.tick()
    assert (answer.output.kind, answer.output.index, answer.state) == ("repeated", 3, "held")
    assert answer.output.pixels is last.pixels
    now[0] += 0.4
    answer = viewer.tick()
    assert (answer.output.kind, answer.state) == ("covered", "covered")
    now[0] += 2.5
    assert viewer.tick().state == "reconnecting"
    assert viewer(frame(4), 4).output.kind == "composed"
