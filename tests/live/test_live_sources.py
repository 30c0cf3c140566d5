"""Sources: what they give, and the one line that a bad one gets."""

import itertools
import os
import time
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from live_fakes import make_video

from segjax.errors import SegjaxError
from segjax.live import cameras
from segjax.live.cameras import Camera, list_cameras
from segjax.live.frames import SourceLost
from segjax.live.opening import within
from segjax.live.sample import PERIOD_S, Sample
from segjax.live.sources import open_source
from segjax.live.videos import VideoFile


def refusal(spec: Path | str) -> str:
    """The line that a source is refused with."""
    with pytest.raises(SegjaxError) as caught:
        for _ in open_source(str(spec)):
            pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Videos


def test_frames_come_at_their_own_times(tmp_path: Path) -> None:
    ticks = [0, 1_000, 5_000, 7_500, 30_000, 31_000]
    video = VideoFile(make_video(tmp_path / "a.mp4", ticks))
    frames = list(video)
    assert video.size == (48, 64)
    assert [frame.index for frame in frames] == list(range(6))
    assert [frame.time_s for frame in frames] == pytest.approx([t / 60_000 for t in ticks])
    assert [len(list(video)) for _ in range(2)] == [6, 6]
    for index, frame in enumerate(frames):
        assert frame.pixels.shape == (48, 64, 3)
        np.testing.assert_allclose(frame.pixels[:20].mean((0, 1)), (200, 20, 20), atol=6)
        np.testing.assert_allclose(frame.pixels[-20:].mean((0, 1)), 40 + 5 * index, atol=4)


@pytest.mark.parametrize(
    ("rotation", "size", "red"),
    [
        (0, (48, 64), np.s_[:20, :]),
        (90, (64, 48), np.s_[:, :20]),
        (180, (48, 64), np.s_[-20:, :]),
        (-90, (64, 48), np.s_[:, -20:]),
    ],
)
def test_rotation_is_honoured(
    tmp_path: Path, rotation: int, size: tuple[int, int], red: Any
) -> None:
    video = VideoFile(make_video(tmp_path / "a.mp4", rotation=rotation))
    first = next(iter(video))
    assert video.size == first.pixels.shape[:2] == size
    np.testing.assert_allclose(first.pixels[red].mean((0, 1)), (200, 20, 20), atol=8)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".webm"])
def test_a_truncated_video_is_refused(tmp_path: Path, suffix: str) -> None:
    codec = {".avi": "mpeg4", ".webm": "libvpx"}.get(suffix, "libx264")
    whole = make_video(tmp_path / f"whole{suffix}", codec=codec)
    assert len(list(VideoFile(whole))) == 20
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    assert refusal(cut) == (
        f"{cut} is cut short; a whole video is needed; copy or download it again"
    )


def test_a_truncated_video_with_its_index_in_front_is_refused(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "whole.mp4", options={"movflags": "faststart"})
    assert len(list(VideoFile(whole))) == 20
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:-100])
    assert "is cut short" in refusal(cut)


def test_a_video_that_is_broken_inside_names_the_place(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", size=(64, 64))
    video = VideoFile(path)
    data = bytearray(path.read_bytes())
    start, end = data.index(b"mdat") + 4, data.index(b"moov")
    middle = (start + end) // 2
    data[middle : end - 20] = bytes([255]) * (end - 20 - middle)
    path.write_bytes(data)
    with pytest.raises(SegjaxError, match=r"breaks off after \d+ frames"):
        list(video)


def test_videos_that_are_none(tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("this is not a video\n" * 50)
    assert "is not a video that can be read" in refusal(text)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    assert "is empty (0 bytes)" in refusal(empty)
    assert "does not exist" in refusal(tmp_path / "missing.mp4")
    assert "does not exist" in refusal(f"{tmp_path}/missing")
    assert "is 8x8 pixels; a video needs at least 16" in refusal(
        make_video(tmp_path / "tiny.mp4", size=(8, 8), codec="mpeg4")
    )
    sound = tmp_path / "sound.mp4"
    make_video(tmp_path / "both.mp4", audio="aac")
    with av.open(str(tmp_path / "both.mp4")) as both, av.open(str(sound), "w") as alone:
        stream = alone.add_stream_from_template(both.streams.audio[0])
        for packet in both.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                alone.mux(packet)
    assert "holds no video" in refusal(sound)


@pytest.mark.parametrize(
    ("suffix", "line"),
    [(".mp4", "holds no video"), (".mkv", "is not a video"), (".avi", "holds no frame")],
)
def test_a_video_without_a_frame_is_refused(tmp_path: Path, suffix: str, line: str) -> None:
    path = tmp_path / f"none{suffix}"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=30)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        container.start_encoding()
    assert line in refusal(path)


def test_square_pixels(tmp_path: Path) -> None:
    plain = make_video(tmp_path / "plain.mp4", codec="mpeg4")
    path = tmp_path / "wide.mp4"
    with av.open(str(plain)) as source, av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=30)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = 2
        for frame in source.decode(video=0):
            frame.pict_type = 0
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    video = VideoFile(path)
    assert video.size == next(iter(video)).pixels.shape[:2] == (48, 128)


# Opening


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["pipe.mp4", "pipe.png"])
def test_a_source_that_never_opens_fails_in_time(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segjax.live.opening.LIMIT_S", 0.2)
    pipe = tmp_path / name
    os.mkfifo(pipe)
    started = time.perf_counter()
    line = refusal(pipe)
    assert time.perf_counter() - started < 5
    assert "did not open within 0.2 s" in line or "is no regular file" in line


def test_within_gives_results_and_passes_errors_on() -> None:
    assert within(5, lambda: 3, "it") == 3
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0, "it")
    with pytest.raises(SegjaxError, match=r"it did not open within 0\.05 s"):
        within(0.05, lambda: time.sleep(1), "it")


# Pictures


def write(path: Path, pixels: np.ndarray) -> Path:
    cv2.imwrite(str(path), pixels)
    return path


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((31, 45, 3), 90, np.uint8),
        np.full((33, 17), 90, np.uint8),
        np.full((33, 17), 90 << 8, np.uint16),
        np.dstack([np.full((20, 21, 3), 90, np.uint8), np.full((20, 21), 255, np.uint8)]),
    ],
    ids=["odd", "grey", "16 bit", "rgba"],
)
def test_any_picture_is_a_frame_of_rgb(tmp_path: Path, pixels: np.ndarray) -> None:
    source = open_source(str(write(tmp_path / "a.png", pixels)))
    (frame,) = source
    assert frame.pixels.shape == (*pixels.shape[:2], 3) == (*source.size, 3)
    assert frame.pixels.dtype == np.uint8
    assert (frame.pixels == 90).all()


def test_a_folder_is_a_clip_in_the_order_of_its_names(tmp_path: Path) -> None:
    for number in (10, 9, 1, 100):
        write(tmp_path / f"f{number}.png", np.full((20, 20, 3), number, np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    frames = list(open_source(str(tmp_path)))
    assert [int(frame.pixels[0, 0, 0]) for frame in frames] == [1, 9, 10, 100]
    assert [frame.time_s for frame in frames] == pytest.approx([0, 1 / 30, 2 / 30, 3 / 30])


def test_pictures_that_are_none(tmp_path: Path) -> None:
    assert f"the folder {tmp_path} holds no pictures" in refusal(tmp_path)
    empty = tmp_path / "empty.png"
    empty.touch()
    assert "is empty (0 bytes)" in refusal(empty)
    tiny = write(tmp_path / "tiny.png", np.zeros((1, 1, 3), np.uint8))
    assert "is 1x1 pixels" in refusal(tiny)
    assert "does not exist" in refusal(tmp_path / "missing.jpg")
    assert "is empty (0 bytes)" in refusal(tmp_path)  # now a folder whose first picture is broken


def test_a_broken_picture_in_a_folder_is_named_when_its_turn_comes(tmp_path: Path) -> None:
    write(tmp_path / "a.png", np.zeros((20, 20, 3), np.uint8))
    (tmp_path / "b.png").write_text("text")
    frames = iter(open_source(str(tmp_path)))
    next(frames)
    with pytest.raises(SegjaxError, match=r"b\.png is not a picture"):
        next(frames)


# The sample


def test_the_sample_moves_smoothly_without_a_seam_and_without_a_border() -> None:
    sample = Sample()
    frames = list(itertools.islice(sample, 3))
    assert [frame.time_s for frame in frames] == pytest.approx([0, 1 / 30, 2 / 30])
    again = list(itertools.islice(Sample(), 3))
    for frame, same in zip(frames, again, strict=True):
        assert frame.pixels.shape == (*sample.size, 3) and frame.pixels.dtype == np.uint8
        np.testing.assert_array_equal(frame.pixels, same.pixels)
    np.testing.assert_array_equal(sample.picture(PERIOD_S + 1), sample.picture(1))
    step = np.abs(frames[1].pixels.astype(int) - frames[0].pixels).mean()
    assert 0.2 < step < 10
    for time_s in np.arange(0, PERIOD_S, 1.3):
        picture = sample.picture(float(time_s))
        for edge in (picture[0], picture[:, 0], picture[:, -1]):
            assert not (edge.sum(axis=-1) == 0).all()


# Cameras


class Device:
    """Stands in for cv2.VideoCapture."""

    def __init__(self, frames: int = 3, opened: bool = True) -> None:
        self.asked: list[tuple[int, float]] = []
        self.released = False
        self._frames = frames
        self._opened = opened

    def __call__(self, index: int, backend: int) -> "Device":
        return self

    def set(self, key: int, value: float) -> None:
        self.asked.append((key, value))

    def get(self, key: int) -> float:
        return {
            cv2.CAP_PROP_FRAME_WIDTH: 64.0,
            cv2.CAP_PROP_FRAME_HEIGHT: 48.0,
            cv2.CAP_PROP_FOURCC: float(cv2.VideoWriter.fourcc(*"YUYV")),
            cv2.CAP_PROP_FPS: 15.0,
        }[key]

    def isOpened(self) -> bool:
        return self._opened

    def read(self) -> tuple[bool, np.ndarray | None]:
        self._frames -= 1
        if self._frames < 0:
            return False, None
        return True, np.full((48, 64, 3), (10, 20, 30), np.uint8)

    def release(self) -> None:
        self.released = True


@pytest.fixture
def two_cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Linux machine with two webcams, one of which has a second node for its metadata."""
    names, devices = tmp_path / "names", tmp_path / "dev"
    devices.mkdir()
    for number, name, index in [
        (0, "Integrated Webcam", 0),
        (1, "Integrated Webcam", 1),
        (2, "HD Pro Webcam C920, Inc. X", 0),
    ]:
        (devices / f"video{number}").touch()
        entry = names / f"video{number}"
        entry.mkdir(parents=True)
        (entry / "name").write_text(f"{name}\n")
        (entry / "index").write_text(f"{index}\n")
    monkeypatch.setattr(cameras, "NAMES", names)
    monkeypatch.setattr(cameras, "DEVICES", devices)
    monkeypatch.setattr("segjax.live.sources.DEVICES", devices)
    monkeypatch.setattr(cameras.sys, "platform", "linux")
    return devices


def test_cameras_are_found_by_index_path_and_name(two_cameras: Path) -> None:
    assert list_cameras() == {0: "Integrated Webcam", 2: "HD Pro Webcam C920, Inc. X"}
    for spec in ("2", f"{two_cameras}/video2", "c920", "HD Pro Webcam C920, Inc. X"):
        source = open_source(spec)
        assert isinstance(source, Camera)
        assert source.name == "camera 2 (HD Pro Webcam C920, Inc. X)"


def test_a_camera_is_asked_for_mjpg_first_and_what_it_granted_is_said(two_cameras: Path) -> None:
    device, said = Device(), []
    camera = Camera("0", size=(720, 1280), rate=30, say=said.append, open_device=device)
    assert camera.live and camera.size == (720, 1280)
    assert not device.asked
    with camera:
        frame = next(iter(camera))
    assert [key for key, _ in device.asked] == [
        cv2.CAP_PROP_FOURCC,
        cv2.CAP_PROP_FRAME_WIDTH,
        cv2.CAP_PROP_FRAME_HEIGHT,
        cv2.CAP_PROP_FPS,
    ]
    assert said == [
        "camera 0 (Integrated Webcam): asked for 1280x720 MJPG at 30 fps, "
        "granted 64x48 YUYV at 15 fps"
    ]
    assert (frame.pixels == (30, 20, 10)).all()
    assert device.released


def test_absent_forbidden_and_busy_each_have_their_sentence(
    two_cameras: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refusal("7") == (
        "there is no camera '7'; cameras here: 0 (Integrated Webcam), "
        "2 (HD Pro Webcam C920, Inc. X); plug one in, or give --source a file or 'sample'"
    )
    with pytest.raises(SegjaxError, match="it is busy: another program uses it"):
        Camera("0", open_device=Device(opened=False)).__enter__()
    with pytest.raises(SegjaxError, match="it is busy: another program uses it"):
        Camera("0", open_device=Device(frames=0)).__enter__()
    monkeypatch.setattr(cameras.os, "access", lambda *_: False)
    assert "no permission to read camera 0 (Integrated Webcam)" in refusal("0")


def test_a_camera_that_never_opens_fails_in_time(two_cameras: Path) -> None:
    def hang(*_: object) -> None:
        time.sleep(3)

    camera = Camera("0", open_device=hang, open_limit_s=0.1)
    started = time.perf_counter()
    with pytest.raises(SegjaxError, match=r"did not open within 0\.1 s"):
        camera.__enter__()
    assert time.perf_counter() - started < 2


def test_a_camera_that_is_unplugged_is_lost(
    two_cameras: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cameras, "LOST_AFTER_S", 0.05)
    camera = Camera("0", open_device=Device(frames=4), say=lambda _: None)
    with camera, pytest.raises(SourceLost, match="after 3 frames"):
        list(camera)
