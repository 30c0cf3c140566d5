"""What leaves in place of a viewer's frames is the gate's, and of its three kinds."""

import threading
from dataclasses import dataclass

import numpy as np
import pytest
from web_fakes import PERSON, ROOM, RedIsPerson, scene, studio, wait_until

from segjax.errors import SegjaxError
from segjax.web import viewer as module
from segjax.web.settings import Settings
from segjax.web.sizes import SIDES
from segjax.web.studio import Step
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


def test_what_is_chosen_reaches_the_step_of_every_effect() -> None:
    steps: list[RedIsPerson] = []
    viewer = Viewer(studio(settings=Settings(softness=0.4), steps=steps))
    assert holds(live(viewer).output.pixels, (128, 102, 128))
    for effect, kind, strength, softness in (
        ("bokeh", "bokeh", 0.8, 0.0),
        ("color", "picture", 0.8, 1.0),
        ("blur", "blur", 0.3, 0.7),
    ):
        viewer.change({"effect": effect, "strength": strength, "softness": softness})

        def arrived() -> bool:
            answer = viewer(frame(0), 0)
            assert answer.output.kind == "composed"  # as before, until the choice is ready
            given = [(one.kind, one.strength, one.softness) for one in steps]
            return not answer.waiting and (kind, strength, softness) in given  # noqa: B023

        wait_until(arrived)


def test_one_of_several_people_is_shown_when_that_is_ready() -> None:
    shared, compiled = studio(), threading.Event()
    viewer = Viewer(shared)
    beside = scene(*SIZE, x=0.1)
    live(viewer)
    assert holds(viewer(beside, 1).output.pixels, PERSON)
    shared.in_turn(compiled.wait, 10)
    viewer.change({"person": "central"})
    answer = viewer(beside, 2)
    assert answer.waiting and holds(answer.output.pixels, PERSON)
    compiled.set()
    wait_until(lambda: not viewer(frame(3), 3).waiting)
    assert holds(viewer(frame(4), 4).output.pixels, PERSON)
    assert not holds(viewer(beside, 5).output.pixels, PERSON)
    viewer.change({"person": "all"})
    assert holds(viewer(beside, 6).output.pixels, PERSON)


def test_the_run_may_begin_with_one_person() -> None:
    shared = studio(settings=Settings(person="central"))
    shared.get_ready(*SIZE)
    wait_until(lambda: shared.largest(Step("red", "blur", "central"), *SIZE) == len(SIDES))
    assert shared.largest(Step("red"), *SIZE) == 0


def test_bokeh_is_made_ready_by_who_chooses_it() -> None:
    steps: list[RedIsPerson] = []
    shared = studio(steps=steps)
    shared.get_ready(*SIZE)
    wait_until(lambda: shared.largest(Step("red"), *SIZE) == len(SIDES))
    assert shared.largest(Step("red", "bokeh"), *SIZE) == 0
    assert {one.kind for one in steps} == {"blur", "picture"}
    shared.warm(Step("red", "bokeh"), *SIZE)
    wait_until(lambda: shared.largest(Step("red", "bokeh"), *SIZE) == len(SIDES))
    assert sum(len(one.prepared) for one in steps) == 3 * len(SIDES)  # each of them once


def test_what_is_ready_waits_for_nothing_that_is_not() -> None:
    shared, compiled = studio(), threading.Event()
    viewer = Viewer(shared)
    live(viewer)
    shared.prepare(Step("red", "bokeh"), *SIZE)
    shared.in_turn(compiled.wait, 10)
    viewer.change({"effect": "bokeh"})
    assert holds(viewer(frame(1), 1).output.pixels, (128, 128, 40))
    compiled.set()


def test_who_goes_back_to_what_was_chosen_waits_for_nothing() -> None:
    shared, compiled = studio(), threading.Event()
    viewer = Viewer(shared)
    live(viewer)
    shared.in_turn(compiled.wait, 10)
    for effect in ("bokeh", "blur", "bokeh", "blur"):
        viewer.change({"effect": effect})
        assert viewer(frame(0), 0).waiting == (effect == "bokeh")
    compiled.set()
    shared.in_turn(lambda: None).result()  # and so bokeh is ready, which nobody waits for
    viewer(frame(1), 1)
    compiled.clear()
    shared.in_turn(compiled.wait, 10)
    viewer.change({"model": "other"})
    answer = viewer(frame(2), 2)
    assert answer.waiting and holds(answer.output.pixels, (128, 128, 128))
    compiled.set()


def test_who_goes_back_from_a_picture_that_is_gone_hears_no_more_of_it() -> None:
    shared = studio()
    viewer = Viewer(shared)
    live(viewer)
    viewer.change({"effect": "picture", "picture": "gone"})
    wait_until(lambda: viewer(frame(0), 0).problem.kind == "choice")
    viewer.change({"effect": "blur"})
    assert viewer(frame(1), 1).problem.kind == ""
    shared.pictures._sent["gone"] = np.full((90, 160, 3), (150, 70, 40), np.uint8)
    viewer.change({"effect": "picture"})
    wait_until(lambda: holds(viewer(frame(2), 2).output.pixels, (150, 70, 40)))


@pytest.mark.parametrize("softness", [-0.1, 1.1, float("nan"), True, "0.5"])
def test_a_softness_that_is_none_is_refused(softness: object) -> None:
    with pytest.raises(SegjaxError, match="got softness"):
        Settings().changed({"softness": softness})


@pytest.mark.parametrize("person", ["", "nobody", 1, None])
def test_a_person_who_is_none_is_refused(person: object) -> None:
    with pytest.raises(SegjaxError, match="got person"):
        Settings().changed({"person": person})


def test_who_uses_a_page_is_told_of_no_option() -> None:
    def fail(index: int) -> None:
        raise MemoryError

    viewer = Viewer(studio(fail))
    told: list[str] = []

    def covered() -> bool:
        problem = viewer(frame(0), 0).problem
        told.append(problem.why)
        return problem.kind == "out of memory"

    wait_until(covered)
    told.append(viewer.late(*SIZE, 1).problem.why)
    assert all(why.endswith("close other programs") for why in told[-2:])
