"""The loop: ownership of buffers, drops, order, ends."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Self

import av
import numpy as np
import pytest
from live_fakes import (
    Collector,
    Composite,
    FakeMatting,
    FakeSource,
    ScriptedClock,
    folder_contents,
)

from segjax.errors import SegjaxError
from segjax.live.backgrounds import Blur, Picture
from segjax.live.channel import Channel, Closed
from segjax.live.feed import QUEUED, Feed, Pace
from segjax.live.frames import Frame, Sink
from segjax.live.loop import LEAVE_S, Loop
from segjax.memory import ALIGNMENT


def quiet(_: str) -> None:
    pass


def test_a_channel_keeps_order_closes_and_drops_the_oldest() -> None:
    waiting = Channel[int](2)
    assert waiting.put(1) and waiting.put(2)
    waiting.close()
    assert not waiting.put(3)
    assert (waiting.get(), waiting.get()) == (1, 2)
    with pytest.raises(Closed):
        waiting.get()

    newest = Channel[int](1, newest_only=True)
    for item in range(5):
        assert newest.put(item)
    assert (newest.get(), newest.dropped) == (4, 4)
    with pytest.raises(TimeoutError):
        newest.get(0.001)


def test_a_step_may_read_frames_and_pictures_where_they_lie() -> None:
    seen: list[np.ndarray] = []

    class Looking(FakeMatting):
        def __call__(self, pixels, background, index):
            seen.extend((pixels, np.asarray(background)))
            return super().__call__(pixels, background, index)

    odd = np.zeros((33, 47, 3), np.uint8)
    source = FakeSource(6, size=(31, 45))
    Loop(source, Looking(), Picture(odd), [Collector()], device="", say=quiet).run()
    assert len(seen) == 12
    assert all(array.ctypes.data % ALIGNMENT == 0 for array in seen)


def test_closing_a_channel_frees_who_waits_to_put() -> None:
    channel = Channel[int](1)
    channel.put(0)
    taken: list[bool] = []
    thread = threading.Thread(target=lambda: taken.append(channel.put(1)))
    thread.start()
    channel.close()
    thread.join(5)
    assert taken == [False]


def test_a_source_that_scribbles_over_its_buffer_spoils_nothing() -> None:
    collector = Collector()
    source = FakeSource(20, scribble=True)
    Loop(source, FakeMatting(step_s=0.003), Blur(), [collector], device="", say=quiet).run()
    for kept in collector.frames:
        assert (kept.pixels[:, :24] == kept.index).all()
    assert len(collector.frames) == 20


def test_sinks_that_scribble_over_what_they_keep_spoil_nothing() -> None:
    background = Picture(np.full((32, 48, 3), 200, np.uint8))
    first, second, third = Collector(scribble=True), Collector(scribble=True), Collector()

    def nan_at_odd(good: Composite) -> Composite:
        return replace(good, alpha=good.alpha * np.nan) if good.index % 2 else good

    source = FakeSource(12)
    sinks = [first, second, third]
    Loop(source, FakeMatting(nan_at_odd), background, sinks, device="", say=quiet).run()
    for sink in sinks:
        assert len(sink.copies) == 12
        for index, got in enumerate(sink.copies):
            assert (got[:, :24] == (200 if index % 2 else index)).all()
            assert (got[:, 24:] == 200).all()
    for index, kept in enumerate(third.frames):
        np.testing.assert_array_equal(kept.pixels, third.copies[index])


def test_a_live_source_drops_for_the_newest_and_counts() -> None:
    with ScriptedClock() as clock:
        source = FakeSource(60, live=True, interval_s=0.002, clock=clock)
        collector = Collector(clock=clock)
        matting = FakeMatting(step_s=0.02, clock=clock)
        loop = Loop(source, matting, Blur(), [collector], device="", say=quiet, clock=clock)
        report = loop.run()
    indices = [frame.index for frame in collector.frames]
    assert indices == sorted(indices)
    assert report.composed + report.dropped == 60
    assert report.dropped > 0
    assert indices[-1] == 59
    for kept in collector.frames:
        assert (kept.pixels[:, :24] == source.value(kept.index)).all()


@pytest.mark.parametrize("max_frames", [None, 10])
def test_a_stuck_sink_does_not_hold_up_the_end_of_a_live_run(max_frames: int | None) -> None:
    said: list[str] = []
    with ScriptedClock() as clock:
        source = FakeSource(60, live=True, interval_s=1 / 30, clock=clock)
        stuck, whole = Collector(write_s=1e9, clock=clock), Collector(clock=clock)
        stuck.name = "stuck"
        loop = Loop(
            source,
            FakeMatting(clock=clock),
            Blur(),
            [stuck, whole],
            device="",
            max_frames=max_frames,
            say=said.append,
            clock=clock,
        )
        start_s = clock.now()
        loop.run()
        took_s = clock.now() - start_s
    assert took_s < 2 * LEAVE_S + 3
    assert stuck.closed_with == [] and whole.closed_with == [None]
    assert len(whole.frames) == (max_frames or 60)
    assert "stuck is stuck: its output is not whole" in said


def test_a_live_source_is_not_opened_again_when_all_frames_have_left() -> None:
    class Watched(FakeSource):
        entered = 0

        def __enter__(self) -> Self:
            self.entered += 1
            return super().__enter__()

    with ScriptedClock() as clock:
        source = Watched(1000, live=True, interval_s=1 / 30, clock=clock)
        slow = Collector(write_s=1.0, clock=clock)
        matting = FakeMatting(clock=clock)
        loop = Loop(
            source, matting, Blur(), [slow], device="", max_frames=5, say=quiet, clock=clock
        )
        loop.run()
    assert source.entered == 1 and slow.closed_with == [None]


def test_a_file_loses_no_frame_to_a_slow_step_or_sink() -> None:
    collector = Collector(write_s=0.002)
    report = Loop(
        FakeSource(30), FakeMatting(step_s=0.002), Blur(), [collector], device="", say=quiet
    ).run()
    assert [frame.index for frame in collector.frames] == list(range(30))
    assert (report.frames, report.dropped) == (30, 0)
    assert collector.source_has_ended and collector.closed_with == [None]
    assert len(collector.threads) == 1


def test_the_model_is_warm_before_the_source_opens() -> None:
    matting = FakeMatting()

    class Watched(FakeSource):
        def __enter__(self) -> Self:
            assert matting.prepared == [self.size]
            return super().__enter__()

    Loop(Watched(2), matting, Blur(), [Collector()], device="", say=quiet).run()
    assert matting.prepared == [(32, 48)]


def test_max_frames_counts_what_leaves() -> None:
    collector = Collector()
    report = Loop(
        FakeSource(50), FakeMatting(), Blur(), [collector], device="", max_frames=7, say=quiet
    ).run()
    assert report.frames == len(collector.frames) == 7
    assert not collector.source_has_ended


def test_capture_step_and_output_overlap() -> None:
    """While a sink takes its time over a frame, the next ones are captured and stepped."""
    source = FakeSource(10)
    seen: list[int] = []

    class Slow(Sink):
        name = "slow"

        def write(self, frame: Frame) -> None:
            deadline = time.perf_counter() + 5
            while frame.index == 0 and source.handed_over < 4 and time.perf_counter() < deadline:
                time.sleep(0.001)
            seen.append(source.handed_over)

    Loop(source, FakeMatting(), Blur(), [Slow()], device="", say=quiet).run()
    assert seen[0] >= 4


def test_a_source_that_fails_ends_the_run_and_leaves_nothing() -> None:
    collector = Collector()
    error = SegjaxError("broken")
    loop = Loop(
        FakeSource(5, error=error), FakeMatting(), Blur(), [collector], device="", say=quiet
    )
    with pytest.raises(SegjaxError, match="broken"):
        loop.run()
    assert collector.closed_with == [error]
    assert not collector.source_has_ended


def test_a_sink_that_fails_ends_the_run() -> None:
    failing, other = Collector(error_at=3), Collector()
    loop = Loop(FakeSource(500), FakeMatting(), Blur(), [other, failing], device="", say=quiet)
    with pytest.raises(OSError, match="No space left"):
        loop.run()
    assert isinstance(other.closed_with[0], OSError)
    threads = {thread.name for thread in threading.enumerate()}
    assert not {"_capture", "_step", "_leave", "collector"} & threads


def test_a_step_that_cannot_be_prepared_at_all_is_an_error() -> None:
    class Broken(FakeMatting):
        def prepare(self, height: int, width: int) -> None:
            raise RuntimeError("does not compile")

    with pytest.raises(RuntimeError, match="does not compile"):
        Loop(FakeSource(2), Broken(), Blur(), [Collector()], device="", say=quiet).run()


def test_stop_ends_an_endless_run() -> None:
    source = FakeSource(10**9)
    collector = Collector()
    loop = Loop(source, FakeMatting(), Blur(), [collector], device="", say=quiet)
    threading.Timer(0.1, loop.stop).start()
    report = loop.run()
    assert report.frames == len(collector.frames) > 0
    assert collector.closed_with == [None]


class Shown(Collector):
    """A window that the user closes at a frame, and that shows frames at their times."""

    paced = main_thread = True

    def __init__(self, close_at: int = -1) -> None:
        super().__init__()
        self.idled = 0
        self._close_at = close_at

    @property
    def ended(self) -> bool:
        return len(self.frames) == self._close_at or self.idled > 200

    @property
    def lingers(self) -> bool:
        return len(self.frames) == 1

    def idle(self) -> None:
        self.idled += 1


def test_closing_a_window_ends_the_run() -> None:
    window = Shown(close_at=3)
    report = Loop(FakeSource(10**9), FakeMatting(), Blur(), [window], device="", say=quiet).run()
    assert 3 <= report.frames <= 3 + 3 * QUEUED + 3  # those under way come out
    assert window.idled > 0
    assert window.threads == {threading.main_thread()}


def test_a_window_that_failed_is_not_served_while_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served: list[bool] = []
    turn = Feed.turn
    monkeypatch.setattr(Feed, "turn", lambda feed: served.append(feed.over) or turn(feed))

    class Failing(Shown):
        name = "window"

        def write(self, frame: Frame) -> None:
            raise OSError(5, "the display is gone")

    source, other = FakeSource(40, live=True, interval_s=0.005), Collector()
    loop = Loop(source, FakeMatting(), Blur(), [Failing(), other], device="", say=quiet)
    report = loop.run()
    assert report.failed == {"window": "[Errno 5] the display is gone"}
    assert other.frames and other.closed_with == [None]
    assert served and not any(served)


def test_a_single_picture_stays_in_its_window_until_it_is_closed() -> None:
    class Patient(Shown):
        @property
        def ended(self) -> bool:
            return self.idled > 5

    window = Patient()
    Loop(FakeSource(1), FakeMatting(), Blur(), [window], device="", say=quiet).run()
    assert window.idled > 5
    assert window.closed_with == [None]


def test_pace_waits_for_a_frame_s_time_and_catches_up_a_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)

    def at(time_s: float) -> Frame:
        return Frame(np.zeros((1, 1, 3), np.uint8), 0, time_s, 0.0)

    pace = Pace()
    assert pace.early_s(at(0.0)) == 0
    assert pace.early_s(at(0.5)) == pytest.approx(0.5)
    now = 100.55
    assert pace.early_s(at(0.5)) == pytest.approx(-0.05)
    now = 103.0  # a hold-up of 2.5 s, of which 0.1 s is made up for
    assert pace.early_s(at(0.5)) == pytest.approx(-0.1)
    assert pace.early_s(at(1.0)) == pytest.approx(0.4)


def test_the_report_has_its_keys_and_its_figures() -> None:
    report = Loop(
        FakeSource(30, interval_s=0.002),
        FakeMatting(step_s=0.01),
        Blur(),
        [Collector()],
        device="abacus",
        say=quiet,
    ).run()
    values = report.as_json()
    assert set(values) == {
        *("device", "frames", "dropped", "fps", "stages", "versions", "sizes"),
        *("composed", "repeated", "covered", "covered_because", "states"),
        *("source", "sinks", "failed", "held_up", "qualities"),
    }
    assert values["device"] == "abacus"
    assert (values["source"], values["sinks"]) == ("fake", ["collector"])
    assert values["sizes"] == [{"frame": [32, 48], "mask": [16, 24]}]
    assert set(values["stages"]) == {"capture", "step", "output", "end_to_end"}
    for stage in values["stages"].values():
        assert set(stage) == {"p50_ms", "p95_ms", "p99_ms"}
        assert 0 <= stage["p50_ms"] <= stage["p95_ms"] <= stage["p99_ms"]
    # A step sleeps for 10 ms, which bounds it from below, and the frame rate from above.
    assert values["stages"]["step"]["p50_ms"] >= 10
    assert values["stages"]["end_to_end"]["p50_ms"] >= 10
    assert 0 < values["fps"] <= 100
    assert {"segjax", "python", "numpy", "opencv", "av"} <= set(values["versions"])


@pytest.mark.parametrize(("signal_name", "live"), [("SIGINT", False), ("SIGTERM", True)])
def test_a_signal_leaves_a_playable_file(tmp_path: Path, signal_name: str, live: bool) -> None:
    out = tmp_path / "out.mp4"
    program = textwrap.dedent(
        f"""
        from pathlib import Path
        from live_fakes import FakeMatting, FakeSource
        from segjax.live.backgrounds import Blur
        from segjax.live.loop import LEAVE_S, Loop
        from segjax.live.recording import Recording
        from segjax.live.frames import Sink

        class Talking(Sink):
            name = "talking"
            count = 0
            def write(self, frame):
                self.count += 1
                if self.count == 10:
                    print("ten", flush=True)

        sinks = [Recording(Path({str(out)!r})), Talking()]
        source = FakeSource(10**9, interval_s=0.005, live={live})
        report = Loop(source, FakeMatting(), Blur(), sinks, device="").run()
        held_up = report.held_up.get(sinks[0].name, 0)
        print(report.frames, held_up, report.states["stopped"]["count"])
        """
    )
    path = os.pathsep.join([*sys.path, str(Path(__file__).parent)])
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ten\n"
        child.send_signal(getattr(signal, signal_name))
        said, errors = child.communicate(timeout=30)
    finally:
        child.kill()
    assert child.returncode == 0, errors
    assert f"{signal_name}: finishing the outputs" in errors
    frames, held_up, stopped = map(int, said.split())
    with av.open(str(out)) as container:
        written = sum(1 for _ in container.decode(video=0))
    # Of a live source, what the file was too slow for is given up, and what became old meanwhile.
    assert 0 < written <= frames - held_up and stopped == 1
    assert live or written == frames >= 10
    assert folder_contents(tmp_path) == ["out.mp4"]
