"""The states, what leads from one to another, and what a live run does in them."""

import ast
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from live_fakes import Collector, Composite, FakeMatting, FakeSource, ScriptedClock
from live_world import BACKGROUNDS, World, prove, read_number, watch

import segjax
from segjax.errors import SegjaxError
from segjax.live import cameras, loop
from segjax.live.backgrounds import Blur, Color, Transparent
from segjax.live.cameras import Camera
from segjax.live.clock import Clock
from segjax.live.frames import Stuck
from segjax.live.loop import Loop
from segjax.live.states import LINES, SAY_AGAIN_S, TRANSITIONS, Event, Machine, State
from segjax.live.watch import SAME_WITHIN, Watch, hardly_differs, thumbnail

OPEN = {State.LIVE, State.HELD}
"""The states in which pixels of a camera leave."""


def test_the_table_is_whole() -> None:
    assert set(TRANSITIONS) == set(LINES) == set(State)
    reached = {state for row in TRANSITIONS.values() for state in row.values()}
    assert reached == set(State)
    assert {event for row in TRANSITIONS.values() for event in row} == set(Event)
    for state, row in TRANSITIONS.items():
        if state is not State.STOPPED:
            assert row[Event.STOP] is State.STOPPED
        if state not in (State.STOPPED, State.PAUSED):
            assert row[Event.PAUSE] is State.PAUSED
        # Only a frame that was composed opens the picture; all that is wrong closes it.
        assert {event for event, to in row.items() if to in OPEN} <= {Event.SHOWN, Event.SILENT}
        if state in OPEN:
            closing = {Event.OVERDUE, Event.REFUSED, Event.UNREADY, Event.LOST, Event.PAUSE}
            assert not OPEN & {row[event] for event in closing}
    assert not TRANSITIONS[State.STOPPED]
    assert set(TRANSITIONS[State.RECONNECTING].values()) == {
        State.WARMING,
        State.PAUSED,
        State.STOPPED,
    }


def test_what_leaves_is_made_and_handed_to_a_sink_in_one_place_each() -> None:
    made, written = set(), set()
    package = Path(segjax.__file__).parent
    for path in [*package.glob("live/*.py"), *package.glob("web/*.py"), package / "cli/serve.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called.split(".")[-1] == "Output":
                    made.add(path.name)
                if called.endswith("sink.write"):
                    written.add(path.name)
    assert (made, written) == ({"gate.py"}, {"feed.py"})


def machine(*, tell: bool = True) -> tuple[Machine, ScriptedClock, list[str]]:
    clock, said = ScriptedClock(), []
    return Machine(clock, said.append, tell=tell), clock, said


def test_a_machine_counts_and_times_its_states() -> None:
    states, clock, _ = machine()
    for after_s, event in [
        (1.0, Event.SHOWN),
        (2.0, Event.SHOWN),
        (0.5, Event.LOST),
        (0.5, Event.REFUSED),
        (3.0, Event.FOUND),
        (0.25, Event.SHOWN),
        (4.0, Event.STOP),
        (8.0, Event.PAUSE),
    ]:
        clock.jump(after_s)
        states.happen(event)
    assert states.state is State.STOPPED
    times = states.times()
    assert {name: (each["count"], each["seconds"]) for name, each in times.items()} == {
        "warming": (2, 1.25),
        "live": (2, 6.5),
        "held": (0, 0.0),
        "covered": (0, 0.0),
        "reconnecting": (1, 3.5),
        "paused": (0, 0.0),
        "stopped": (1, 8.0),
    }


def test_each_state_and_each_reason_is_told_in_a_line_but_not_over_and_over() -> None:
    states, clock, said = machine()
    states.happen(Event.SHOWN)
    states.happen(Event.REFUSED, "the mask is odd", "odd")
    assert states.line == "covered: the mask is odd"
    states.happen(Event.REFUSED, "the mask is odd", "odd")
    states.happen(Event.REFUSED, "the model failed", "failed")
    assert said == ["live", "covered: the mask is odd", "covered: the model failed"]
    for _ in range(105):
        clock.jump(SAY_AGAIN_S / 100)
        states.happen(Event.SHOWN)
        states.happen(Event.SILENT)
    assert said[3:] == [LINES[State.HELD], "live", LINES[State.HELD]]
    states.happen(Event.PAUSE)
    states.happen(Event.RESUME)
    states.happen(Event.SHOWN)
    assert said[-3:] == [LINES[State.PAUSED], LINES[State.WARMING], "live"]


def test_of_a_file_only_the_reasons_of_covers_are_told_each_once() -> None:
    states, clock, said = machine(tell=False)
    for _ in range(3):
        states.happen(Event.SHOWN)
        states.happen(Event.REFUSED, "the mask is odd", "odd")
        clock.jump(60)
    states.happen(Event.STOP)
    assert said == ["covered: the mask is odd"]


# --- pictures that hardly differ ------------------------------------------------------------


def test_noise_hardly_differs_and_a_mouth_does() -> None:
    random = np.random.default_rng(0)
    still = random.integers(60, 200, (720, 1280, 3)).astype(np.float32)

    def shot(picture: np.ndarray) -> np.ndarray:
        noisy = picture + random.normal(0, 4, picture.shape)
        return thumbnail(noisy.clip(0, 255).astype(np.uint8))

    moved = still.copy()
    moved[400:430, 600:650] += 12
    assert hardly_differs(shot(still), shot(still))
    assert not hardly_differs(shot(still), shot(moved))
    assert not hardly_differs(shot(still), shot(still[:-16]))
    assert not hardly_differs(shot(still), shot(still + SAME_WITHIN + 1))


def test_a_still_picture_is_repeated_and_composed_again_before_it_is_old() -> None:
    with ScriptedClock() as clock:
        world = World(clock, True)
        still = world.camera.burnt(20)
        world.camera.makes.append((range(20, 50), lambda _, number: still + number % 2))
        world.run()
    kinds = [left.output.kind for left in world.tape.left if 0 <= left.output.index < 20]
    assert kinds == ["composed"] * 20
    shown = [left for left in world.tape.left if left.output.index >= 20][:30]
    composed = [left.at_s for left in shown if left.output.kind == "composed"]
    assert 3 <= len(composed) <= 5
    assert np.diff(composed).max() <= 0.45
    assert all(read_number(left.pixels[:, 32]) == 20 for left in shown)
    assert world.report and world.report.repeated == 30 - len(composed)
    assert world.report.states["live"]["count"] == 1
    assert "repeated" in world.report.summary()


def test_a_background_that_moves_is_not_held_up_by_a_still_picture() -> None:
    with ScriptedClock() as clock:
        world = World(clock, True)
        still = world.camera.burnt(9)
        world.camera.makes.append((range(60), lambda _, number: still + number % 2))
        for number in range(20, 40):
            world.camera.before[number] = lambda number=number: world.switch(number)
        world.run()
    for left in world.tape.left:
        if left.output.kind == "composed" and 21 <= left.output.index <= 39:
            assert (left.pixels[-5, 0] == BACKGROUNDS[left.output.index % 3]).all()
    assert len([x for x in world.tape.left if 20 <= x.output.index < 39]) == 19


def test_a_file_s_frames_are_all_composed_still_and_black_and_covering_ones_too() -> None:
    def everything(good: Composite) -> Composite:
        return Composite(good.image, np.full_like(good.alpha, good.index % 2), good.index)

    source = FakeSource(60)
    source.value = lambda index: 0  # type: ignore[method-assign]
    collector = Collector()
    report = Loop(source, FakeMatting(everything), Blur(), [collector], device="").run()
    assert [frame.index for frame in collector.frames] == list(range(60))
    assert (report.composed, report.repeated, report.covered) == (60, 0, 0)


def test_black_and_frozen_are_told_from_pictures() -> None:
    told = Watch()
    noise = np.random.default_rng(1).integers(0, 16, (48, 64, 3)).astype(np.uint8)
    assert told(noise, 0.0)[0] == "black"
    assert told(noise + 40, 1.0)[0] == ""
    assert told(noise + 40, 1.9)[0] == ""
    assert told(noise + 40, 2.0)[0] == "frozen"
    changed = noise + 40
    changed[3, 5, 1] += 1  # anywhere
    assert told(changed, 2.1)[0] == ""
    assert told(noise[0], 9.0) == ("", None)


# --- a live run -----------------------------------------------------------------------------


def test_a_pause_lets_the_source_go_and_its_end_takes_it_again() -> None:
    seen: list[tuple[str, int]] = []
    with ScriptedClock() as clock:
        world = World(clock, True)

        def pause() -> None:
            world.loop.pause()
            clock.sleep(1.0)
            status = world.loop.status()
            seen.append((status.state, world.camera.left))
            assert status.line == LINES[State.PAUSED]
            clock.sleep(60.0)
            seen.append((world.loop.status().state, world.camera.left))
            world.loop.resume()

        world.camera.before[20] = lambda: world.aside(pause)
        world.run()
    assert seen == [("paused", 1), ("paused", 1)]
    assert world.camera.entered == 2
    assert world.report and world.report.states["paused"] == {"count": 1, "seconds": 61.0}
    assert world.report.covered_because["paused"] > 500
    assert [line for line in world.said if "ready" not in line and "prepar" not in line] == [
        "live",
        LINES[State.PAUSED],
        LINES[State.WARMING],
        "live",
        "stopped",
    ]


def test_another_step_is_switched_to_when_it_is_prepared() -> None:
    with ScriptedClock() as clock:
        source = FakeSource(60, live=True, interval_s=1 / 30, clock=clock)
        first, second = FakeMatting(clock=clock), FakeMatting(transparent=True, clock=clock)
        collector = Collector(clock=clock)
        run = Loop(source, first, Color((1, 2, 3)), [collector], device="", clock=clock)

        def switch() -> None:
            clock.sleep(1.01)
            run.switch(Transparent(), second)

        clock.start(switch, "switch")
        report = run.run()
    assert second.prepared == [(32, 48)]
    channels = [frame.pixels.shape[2] for frame in collector.frames]
    assert channels == sorted(channels) and set(channels) == {3, 4}
    assert report.covered == report.covered_because.get("warming", 0)


def test_a_model_that_never_returns_ends_the_run_and_keeps_the_outputs() -> None:
    def hangs(world: World, at: int) -> None:
        world.model.takes.append(lambda number: 1e9 if number >= at else 0.01)
        world.camera.interval_s = 0.5
        world.camera.count = 10**6
        world.fails = True

    world, _ = watch([(hangs, 5)])
    assert isinstance(world.error, Stuck)
    assert "the model has not returned for 60 s" in str(world.error)
    assert world.tape.closed_with == [None]


def test_a_machine_that_slept_while_the_model_worked_is_not_stuck() -> None:
    def sleeps(world: World, at: int) -> None:
        def sleep() -> None:
            start_s = world.clock.now()
            world.clock.jump(7200.0)
            world.stopped_s.append((start_s, world.clock.now()))

        world.camera.before[at + 3] = sleep
        world.model.takes.append(lambda number: 0.3 if at <= number < at + 5 else 0.01)

    low, high = watch([(sleeps, 5)])
    prove(low, high)
    assert any(left.output.kind == "composed" for left in low.tape.left[-5:])


def test_a_source_that_does_not_open_at_first_ends_the_run() -> None:
    with ScriptedClock() as clock:
        world = World(clock, True)
        world.camera.away_until_s = clock.now() + 60
        world.run()
    assert isinstance(world.error, SegjaxError)
    assert str(world.error) == "the scripted camera is not there"
    assert not [left for left in world.tape.left if left.output.kind != "covered"]


def test_the_last_sink_that_fails_ends_a_live_run() -> None:
    def fails() -> None:
        raise OSError(28, "No space left on device")

    with ScriptedClock() as clock:
        world = World(clock, True)
        world.other.after[10] = world.tape.after[30] = fails
        world.run()
    assert isinstance(world.error, OSError)
    assert world.tape.closed_with == world.other.closed_with == [OSError]
    assert len(world.tape.left) == 30


def test_a_sink_that_is_too_slow_is_counted_and_the_others_are_not_held_up() -> None:
    with ScriptedClock() as clock:
        world = World(clock, True)
        world.other.write_s = 0.1
        world.run()
    assert world.report
    assert set(world.report.held_up) == {"other"}
    assert world.report.held_up["other"] + len(world.other.left) == len(world.tape.left)


# --- a camera through OpenCV ----------------------------------------------------------------


class Devices:
    """Stands in for cv2.VideoCapture: a camera that is unplugged, and plugged in as another."""

    def __init__(self, names: Path, devices: Path) -> None:
        self.names, self.devices = names, devices
        self.opened: list[int] = []
        self.plug(0)

    def plug(self, index: int) -> None:
        self.index: int | None = index
        (self.names / f"video{index}").mkdir(parents=True)
        (self.names / f"video{index}" / "name").write_text("Webcam")
        (self.devices / f"video{index}").touch()

    def unplug(self) -> None:
        index, self.index = self.index, None
        (self.names / f"video{index}" / "name").unlink()
        (self.names / f"video{index}").rmdir()
        (self.devices / f"video{index}").unlink()

    def __call__(self, index: int, _: int) -> "Device":
        self.opened.append(index)
        return Device(self, index)


class Device:
    def __init__(self, devices: Devices, index: int) -> None:
        self.devices, self.index, self.count = devices, index, 0

    def set(self, *_: float) -> None:
        pass

    def get(self, key: int) -> float:
        return {cv2.CAP_PROP_FRAME_WIDTH: 48, cv2.CAP_PROP_FRAME_HEIGHT: 32}.get(key, 0)

    def isOpened(self) -> bool:
        return self.devices.index == self.index

    def read(self) -> tuple[bool, np.ndarray | None]:
        time.sleep(0.004)
        if not self.isOpened():
            return False, None
        self.count += 1
        pixels = np.full((32, 48, 3), 40 + self.count * 37 % 160, np.uint8)
        # A driver may change its format on the way.
        return True, pixels[..., 0] if self.count % 7 == 6 else pixels

    def release(self) -> None:
        pass


def test_a_camera_that_is_plugged_in_elsewhere_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dev").mkdir()
    monkeypatch.setattr(cameras, "NAMES", tmp_path / "names")
    monkeypatch.setattr(cameras, "DEVICES", tmp_path / "dev")
    monkeypatch.setattr(cameras.sys, "platform", "linux")
    monkeypatch.setattr(cameras, "LOST_AFTER_S", 0.05)
    monkeypatch.setattr(loop, "PATIENCE_S", (0.02, 0.05))
    devices, said = Devices(tmp_path / "names", tmp_path / "dev"), []
    camera = Camera("0", size=(32, 48), say=said.append, open_device=devices)
    collector = Collector()
    run = Loop(camera, FakeMatting(), Blur(), [collector], device="", say=said.append)

    def act() -> None:
        def until(state: str, more: int = 0) -> None:
            composed = run.status().composed + more
            while run.status().state != state or run.status().composed < composed:
                time.sleep(0.005)

        until("live", 10)
        devices.unplug()
        until("reconnecting")
        while len(devices.opened) < 2:  # however busy the machine is, it has looked in vain
            time.sleep(0.005)
        devices.plug(2)
        until("live", 10)
        run.stop()

    Clock().start(act, "act")
    report = run.run()
    assert devices.opened[0] == 0 and devices.opened[-1] == 2 and len(devices.opened) > 2
    assert report.states["reconnecting"]["count"] == 1
    assert any("stopped giving pictures" in line for line in said)


def test_a_camera_that_hangs_while_it_opens_is_not_opened_twice_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cameras, "NAMES", tmp_path)
    (tmp_path / "video0").mkdir()
    monkeypatch.setattr(cameras, "DEVICES", tmp_path)
    released: list[int] = []

    class Slow(Device):
        def set(self, *_: float) -> None:
            time.sleep(0.1)

        def isOpened(self) -> bool:
            return True

        def release(self) -> None:
            released.append(self.index)

    def open_device(index: int, _: int) -> Slow:
        return Slow(None, index)  # type: ignore[arg-type]

    camera = Camera("0", open_device=open_device, open_limit_s=0.05, say=lambda _: None)
    monkeypatch.setattr(Slow, "read", lambda _: (True, np.zeros((2, 2, 3), np.uint8)))
    with pytest.raises(SegjaxError, match="did not open within"):
        camera.__enter__()
    with pytest.raises(SegjaxError, match="still does not open"):
        camera.__enter__()
    deadline = time.perf_counter() + 10
    while not released and time.perf_counter() < deadline:
        time.sleep(0.01)
    assert released == [0]


# --- a process ------------------------------------------------------------------------------


def test_a_process_that_is_stopped_and_goes_on_shows_nothing_old(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import sys
        from live_fakes import Collector, FakeMatting, FakeSource
        from segjax.live.backgrounds import Color
        from segjax.live.clock import Clock
        from segjax.live.loop import Loop

        clock = Clock()
        born = {}

        class Source(FakeSource):
            def value(self, index):
                born[index] = clock.now()
                return super().value(index)

        class Tape(Collector):
            def write(self, frame):
                super().write(frame)
                age = clock.now() - born.get(frame.index, clock.now())
                covered = (frame.pixels == (120, 130, 140)).all()
                print(frame.kind, covered, round(age, 3), clock.now(), flush=True)

        source = Source(10**9, live=True, interval_s=0.02)
        loop = Loop(source, FakeMatting(step_s=0.01), Color((120, 130, 140)), [Tape()], device="")
        Clock().start(lambda: (sys.stdin.readline(), loop.stop()), "end")
        loop.run()
        """
    )
    path = os.pathsep.join([*sys.path, str(Path(__file__).parent)])
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        assert child.stdin is not None and child.stdout is not None
        lines = [child.stdout.readline() for _ in range(40)]
        child.send_signal(signal.SIGSTOP)
        time.sleep(1.5)
        child.send_signal(signal.SIGCONT)
        lines += [child.stdout.readline() for _ in range(40)]
        child.stdin.write("\n")
        child.stdin.close()
        lines += child.stdout.readlines()
        assert child.wait(30) == 0
    finally:
        child.kill()
    outputs = [line.split() for line in lines]
    times = [float(output[3]) for output in outputs]
    resumed = int(np.argmax(np.diff(times)))
    assert times[resumed + 1] - times[resumed] >= 1.4
    for kind, covered, age_s, _ in outputs:
        assert (kind == "covered") == (covered == "True")
        # It may be stopped between the last look at the clock and the write; not by more than that.
        assert kind == "covered" or float(age_s) <= 1.2
    assert {"composed"} <= {output[0] for output in outputs[resumed + 2 :]}
