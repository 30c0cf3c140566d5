"""The virtual camera, through a backend of pyvirtualcam that records and breaks at will."""

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_fakes import Collector, FakeMatting, FakeSource

from segjax.errors import SegjaxError
from segjax.live.backgrounds import Color, fit
from segjax.live.frames import Frame, Sink
from segjax.live.loop import Loop
from segjax.live.sinks import open_sink
from segjax.live.virtual_camera import FORMATS, VirtualCamera


class Device:
    """What all cameras of the backend share: what was granted and sent, and how it fails."""

    def __init__(self) -> None:
        self.sent: list[np.ndarray] = []
        self.asked: list[tuple[int, int, str]] = []
        self.format = ""
        self.size: tuple[int, int] = (0, 0)
        self.open = 0
        self.sizes: set[tuple[int, int]] | None = None
        self.formats = set(FORMATS)
        self.gone_after: int | None = None
        self.stuck: threading.Event | None = None


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, needs: Any) -> Iterator[Device]:
    """The device behind the only backend there is."""
    pyvirtualcam = needs("pyvirtualcam")
    shared = Device()

    class Backend:
        def __init__(self, *, width: int, height: int, fps: float, fourcc: int, device: Any):
            code = pyvirtualcam.util.decode_fourcc(fourcc)
            name = pyvirtualcam.PixelFormat(code).name
            shared.asked.append((height, width, name))
            if device not in (None, "/dev/video9"):
                raise RuntimeError(f"{device} is not a video output device.")
            if shared.sizes is not None and (height, width) not in shared.sizes:
                raise RuntimeError("the size is refused")
            if name not in shared.formats:
                raise RuntimeError("Unsupported image format.")
            shared.format, shared.size = name, (height, width)
            shared.open += 1

        def close(self) -> None:
            shared.open -= 1

        def device(self) -> str:
            return "/dev/video9"

        def native_fourcc(self) -> int | None:
            return None

        def send(self, frame: np.ndarray) -> None:
            if shared.stuck is not None:
                shared.stuck.wait()
            if shared.gone_after is not None and len(shared.sent) >= shared.gone_after:
                raise RuntimeError("No such device")
            shared.sent.append(frame.copy())

    monkeypatch.setattr(pyvirtualcam.camera, "BACKENDS", {})
    pyvirtualcam.register_backend("fake", Backend)
    yield shared
    if shared.stuck is not None:
        shared.stuck.set()


def frame(pixels: np.ndarray) -> Frame:
    return Frame(pixels, 0, 0.0, time.perf_counter())


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_it_gets_the_frames_as_they_are(device: Device) -> None:
    pixels = noise(36, 64)
    with VirtualCamera((36, 64), 30) as sink:
        assert sink.paced and not sink.main_thread
        assert sink.name == "virtual camera /dev/video9 (64x36 RGB)"
        sink.write(frame(pixels))
    assert device.asked == [(36, 64, "RGB")]
    np.testing.assert_array_equal(device.sent[0].reshape(36, 64, 3), pixels)
    assert device.open == 0


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_that_it_grants_is_found(device: Device, name: str) -> None:
    device.formats = {name}
    pixels = np.full((36, 64, 3), (200, 100, 50), np.uint8)
    with VirtualCamera((36, 64), 30) as sink:
        sink.write(frame(pixels))
    assert f"64x36 {name}" in sink.name
    sent = device.sent[0]
    if name == "I420":
        assert sent.size == 36 * 64 * 3 // 2 and abs(int(sent[0]) - 124) <= 1
    else:
        order = {"RGB": (200, 100, 50), "BGR": (50, 100, 200), "RGBA": (200, 100, 50, 255)}
        assert (sent.reshape(36, 64, -1) == order[name]).all()


def test_a_size_that_it_grants_is_found_and_frames_are_fitted_to_it(device: Device) -> None:
    device.sizes = {(720, 1280)}
    pixels = noise(40, 40)
    with VirtualCamera((40, 40), 30) as sink:
        sink.write(frame(pixels))
    sent = device.sent[0].reshape(720, 1280, 3)
    np.testing.assert_array_equal(sent, fit(pixels, 720, 1280))


def test_frames_that_change_their_size_keep_the_camera_s(device: Device) -> None:
    with VirtualCamera((35, 63), 30) as sink:
        for size in ((35, 63), (90, 30), (1, 1)):
            sink.write(frame(np.full((*size, 3), 9, np.uint8)))
    assert device.size == (34, 62)
    assert [sent.size for sent in device.sent] == [34 * 62 * 3] * 3


def test_by_name(device: Device) -> None:
    source = FakeSource()
    assert isinstance(open_sink("virtual-camera", source), VirtualCamera)
    assert open_sink("virtual-camera:/dev/video9", source).name.endswith("(48x32 RGB)")
    with pytest.raises(SegjaxError, match=r"/dev/video3 is not a video output device.*doctor"):
        open_sink("virtual-camera:/dev/video3", source)
    with pytest.raises(SegjaxError, match="a virtual camera cannot hold transparency"):
        open_sink("virtual-camera", source, transparent=True)


def test_none_that_can_be_opened_is_one_line(device: Device) -> None:
    device.formats = set()
    with pytest.raises(SegjaxError) as caught:
        VirtualCamera((36, 64), 30)
    assert str(caught.value) == (
        "no virtual camera can be opened ('fake' backend: Unsupported image format.); "
        "`segjax doctor` says what to do"
    )


def test_without_pyvirtualcam_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(SegjaxError, match=r"pip install 'segjax\[camera\]'"):
        VirtualCamera((36, 64), 30)


# In a run


def run(sinks: list[Sink], **options: Any) -> tuple[Loop, list[str]]:
    said: list[str] = []
    source = FakeSource(**{"live": True, "interval_s": 0.01, "count": 40, **options})
    background = Color((1, 2, 3))
    return Loop(source, FakeMatting(), background, sinks, device="x", say=said.append), said


def test_it_gets_what_the_other_sinks_get(device: Device) -> None:
    other = Collector()
    loop, _ = run([VirtualCamera((32, 48), 300), other], live=False, interval_s=0.0, count=5)
    assert loop.run().frames == 5
    for sent, kept in zip(device.sent, other.copies, strict=True):
        np.testing.assert_array_equal(sent, kept.reshape(-1))


def test_a_camera_that_vanishes_leaves_the_others(device: Device) -> None:
    device.gone_after = 3
    other = Collector()
    camera = VirtualCamera((32, 48), 30)
    loop, said = run([camera, other])
    report = loop.run()
    assert len(device.sent) == 3 and len(other.frames) > 3
    assert list(report.failed) == [camera.name]
    assert any("takes no more pictures (No such device)" in line for line in said)
    assert device.open == 0


def test_a_camera_that_vanishes_alone_ends_the_run(device: Device) -> None:
    device.gone_after = 0
    with pytest.raises(SegjaxError, match=r"takes no more pictures \(No such device\)"):
        run([VirtualCamera((32, 48), 30)])[0].run()


def test_a_camera_that_blocks_holds_up_no_other_sink(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segjax.live.loop.LEAVE_S", 0.2)
    device.stuck = threading.Event()

    class Closed(Collector):
        @property
        def ended(self) -> bool:
            return len(self.frames) >= 10

    other = Closed()
    loop, said = run([VirtualCamera((32, 48), 30), other], count=10_000)
    loop.run()
    assert not device.sent and len(other.frames) >= 10
    assert any("is stuck: its output is not whole" in line for line in said)


def test_the_run_s_file_is_whole_beside_it(device: Device, tmp_path: Path) -> None:
    source = FakeSource(count=4)
    sinks = [open_sink(spec, source) for spec in ("virtual-camera", str(tmp_path / "out"))]
    Loop(source, FakeMatting(), Color((1, 2, 3)), sinks, device="x", say=lambda _: None).run()
    assert len(list((tmp_path / "out").iterdir())) == len(device.sent) == 4
