"""Sinks: what a file holds afterwards, and that a failed one leaves nothing."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from live_fakes import FakeSource, folder_contents, make_video

from segjax.errors import SegjaxError
from segjax.images import read_image
from segjax.live import window
from segjax.live.frames import Frame, Sink
from segjax.live.recording import Recording
from segjax.live.sinks import Null, PngFolder, open_sink
from segjax.live.videos import VideoFile


def frame(pixels: np.ndarray, index: int = 0, time_s: float | None = None) -> Frame:
    return Frame(pixels, index, index / 30 if time_s is None else time_s, time.perf_counter())


def copy(video: VideoFile, out: Path, *, count: int | None = None) -> None:
    """Writes the frames of a video, all or `count`, with its sound."""
    with open_sink(str(out), video) as sink:
        for one in video:
            if one.index == count:
                break
            sink.write(one)
        else:
            sink.source_ended()


def sound(path: Path) -> tuple[np.ndarray, float]:
    """The samples of a file's sound and when they start."""
    with av.open(str(path)) as container:
        pieces = list(container.decode(audio=0))
        samples = np.concatenate([piece.to_ndarray()[0] for piece in pieces])
        return samples.astype(np.float32), pieces[0].time or 0.0


# Video files


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_times_sound_and_rotation_survive(tmp_path: Path, suffix: str) -> None:
    ticks = [0, 2_000, 3_000, 9_000, 12_500, 30_000, 32_000, 59_000]
    source = VideoFile(make_video(tmp_path / "in.mp4", ticks, audio="aac", rotation=90))
    out = tmp_path / f"out{suffix}"
    copy(source, out)
    assert folder_contents(tmp_path) == ["in.mp4", out.name]

    back = VideoFile(out)
    assert back.size == (64, 48)
    before, after = list(source), list(back)
    # Matroska and WebM store whole milliseconds.
    assert [one.time_s for one in after] == pytest.approx([t / 60_000 for t in ticks], abs=1.1e-3)
    for one, other in zip(before, after, strict=True):
        assert np.abs(one.pixels.astype(int) - other.pixels).mean() < 6
    with av.open(str(out)) as container:
        first = next(container.decode(video=0))
        assert (first.height, first.width, first.rotation) == (64, 48, 0)

    samples, start_s = sound(out)
    assert len(samples) / 48_000 == pytest.approx((59_000 + 2_000) / 60_000, abs=0.05)
    assert start_s == pytest.approx(0, abs=0.03)
    original, _ = sound(source.path)
    assert np.abs(samples).mean() == pytest.approx(np.abs(original).mean(), rel=0.1)


def test_sound_is_copied_where_the_file_can_hold_it(tmp_path: Path) -> None:
    source = VideoFile(make_video(tmp_path / "in.mp4", audio="aac"))
    copy(source, tmp_path / "out.mp4")

    def packets(path: Path) -> list[bytes]:
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(audio=0) if packet.size]

    assert packets(tmp_path / "out.mp4") == packets(tmp_path / "in.mp4")


def test_a_name_with_a_colon_is_a_file_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_video(tmp_path / "talk: part 1.mp4", audio="aac")
    monkeypatch.chdir(tmp_path)
    copy(VideoFile(Path("talk: part 1.mp4")), Path("out: 1.mp4"))
    assert len(sound(tmp_path / "out: 1.mp4")[0]) > 10_000


def test_a_source_that_is_gone_when_its_sound_is_opened_is_a_source_s_failure(
    tmp_path: Path,
) -> None:
    source = VideoFile(make_video(tmp_path / "in.mp4", audio="aac"))
    source.path.unlink()
    with (
        pytest.raises(SegjaxError, match=r"the sound of .*in\.mp4 cannot be read \(No such file"),
        open_sink(str(tmp_path / "out.mp4"), source) as sink,
    ):
        sink.write(frame(np.zeros((48, 64, 3), np.uint8)))
    assert folder_contents(tmp_path) == []


def test_sound_starts_where_the_picture_does(tmp_path: Path) -> None:
    """The picture of the source begins 0.5 s after its sound: that much of the sound goes."""
    ticks = range(30_000, 90_000, 2_000)
    path = make_video(tmp_path / "in.mkv", ticks, audio="pcm_s16le")
    copy(VideoFile(path), tmp_path / "out.mkv")
    samples, start_s = sound(tmp_path / "out.mkv")
    assert len(samples) / 48_000 == pytest.approx(1.0, abs=0.03)
    assert start_s == pytest.approx(0, abs=0.03)


def test_sound_ends_with_a_picture_that_was_cut(tmp_path: Path) -> None:
    source = VideoFile(make_video(tmp_path / "in.mp4", range(0, 120_000, 2_000), audio="aac"))
    copy(source, tmp_path / "out.mp4", count=30)
    samples, _ = sound(tmp_path / "out.mp4")
    assert len(samples) / 48_000 == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("size", [(33, 47), (17, 64), (48, 31)])
def test_odd_sizes_grow_by_a_repeated_row_or_column(tmp_path: Path, size: tuple[int, int]) -> None:
    pixels = np.full((*size, 3), 180, np.uint8)
    with Recording(tmp_path / "a.mp4") as sink:
        for index in range(3):
            sink.write(frame(pixels, index))
    (back, *_) = VideoFile(tmp_path / "a.mp4")
    assert back.pixels.shape[:2] == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    np.testing.assert_allclose(back.pixels, 180, atol=3)


def test_another_size_is_fitted_into_the_first(tmp_path: Path) -> None:
    with Recording(tmp_path / "a.mp4") as sink:
        sink.write(frame(np.full((64, 96, 3), 100, np.uint8), 0))
        sink.write(frame(np.full((128, 64, 3), 200, np.uint8), 1))
    _, fitted = VideoFile(tmp_path / "a.mp4")
    assert fitted.pixels.shape == (64, 96, 3)
    np.testing.assert_allclose(fitted.pixels[:, 36:60].mean(), 200, atol=6)
    np.testing.assert_allclose(fitted.pixels[:, :28].mean(), 0, atol=6)


def test_colours_survive(tmp_path: Path) -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (30, 120, 200)]
    pixels = np.repeat(np.repeat(np.array(colours, np.uint8)[None], 64, 0), 32, 1)
    with Recording(tmp_path / "a.mp4") as sink:
        sink.write(frame(pixels))
    (back,) = VideoFile(tmp_path / "a.mp4")
    np.testing.assert_allclose(back.pixels[32, 16::32].astype(int), colours, atol=8)


@pytest.mark.parametrize("suffix", [".webm", ".mov"])
def test_transparency_survives(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"a{suffix}"
    pixels = np.full((48, 64, 4), (200, 60, 60, 0), np.uint8)
    pixels[:, 32:, 3] = 255
    with open_sink(str(out), FakeSource(), transparent=True) as sink:
        for index in range(3):
            sink.write(frame(pixels, index))
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        decoder = stream.codec_context
        if suffix == ".webm":  # FFmpeg's own decoder of VP9 leaves the alpha out
            decoder = av.CodecContext.create("libvpx-vp9", "r")
        decoded: list[Any] = [
            one for packet in container.demux(stream) for one in decoder.decode(packet)
        ]
    assert len(decoded) == 3
    back = decoded[1].to_ndarray(format="rgba")
    np.testing.assert_allclose(back[:, :28, 3], 0, atol=4)
    np.testing.assert_allclose(back[:, 36:, 3], 255, atol=4)


def test_what_cannot_be_a_sink_is_refused(tmp_path: Path) -> None:
    source = FakeSource()

    def refusal(spec: object, transparent: bool = False) -> str:
        with pytest.raises(SegjaxError) as caught:
            open_sink(str(spec), source, transparent=transparent)
        return str(caught.value)

    assert refusal("a.mp4", transparent=True) == (
        "a.mp4 cannot hold transparency; .mov or .webm can, and so can a folder of PNGs; "
        "give one of these"
    )
    assert "the sink a.xyz ends in '.xyz'; a sink is 'window', 'virtual-camera'" in refusal("a.xyz")
    assert "the sink a.png is one picture" in refusal("a.png")
    (tmp_path / "file").touch()
    assert "is a file; PNGs need a folder" in refusal(tmp_path / "file")
    path = make_video(tmp_path / "in.mp4")
    with pytest.raises(SegjaxError, match="is the source and a sink"):
        open_sink(str(path), VideoFile(path))
    assert isinstance(open_sink("null", source), Null)


# Failures


@contextlib.contextmanager
def small_disk(limit: int = 60_000) -> Iterator[None]:
    """Lets no file grow beyond `limit` bytes, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def noise(index: int, size: tuple[int, int] = (96, 128)) -> Frame:
    pixels = np.random.default_rng(index).integers(0, 256, (*size, 3), dtype=np.uint8)
    return frame(pixels, index)


def sinks(folder: Path) -> list[Sink]:
    return [
        *(open_sink(str(folder / f"a{end}"), FakeSource()) for end in (".mp4", ".mkv", ".webm")),
        PngFolder(folder / "pngs"),
    ]


@pytest.mark.parametrize("which", range(4))
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, which: int) -> None:
    sink = sinks(tmp_path)[which]
    with pytest.raises(SegjaxError) as caught, small_disk(), sink:
        for index in range(100):
            sink.write(noise(index, (96, 128) if which < 3 else (256, 256)))
    line = str(caught.value)
    assert line.startswith("cannot write") and "free space" in line and "\n" not in line
    assert folder_contents(tmp_path) == []


@pytest.mark.parametrize("which", range(4))
def test_an_error_elsewhere_leaves_nothing(tmp_path: Path, which: int) -> None:
    sink = sinks(tmp_path)[which]
    with pytest.raises(RuntimeError, match="elsewhere"), sink:
        sink.write(noise(0))
        raise RuntimeError("elsewhere")
    assert folder_contents(tmp_path) == []


@pytest.mark.parametrize("which", range(4))
def test_no_frame_no_file(tmp_path: Path, which: int) -> None:
    with sinks(tmp_path)[which]:
        pass
    assert folder_contents(tmp_path) == []


def test_a_file_from_before_stays_when_the_new_one_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("old")
    with pytest.raises(RuntimeError), Recording(path) as sink:
        sink.write(noise(0))
        raise RuntimeError
    assert path.read_text() == "old"


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(SegjaxError, match="cannot write"),
        Recording(tmp_path / "file" / "a.mp4") as sink,
    ):
        sink.write(noise(0))


# PNGs


@pytest.mark.parametrize("channels", [3, 4])
def test_pngs_are_numbered_and_lose_nothing(tmp_path: Path, channels: int) -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (3, 21, 33, channels), dtype=np.uint8)
    with PngFolder(tmp_path / "out") as sink:
        for index, pixels in enumerate(pictures):
            sink.write(frame(pixels, index * 5))
    assert folder_contents(tmp_path / "out") == ["000000.png", "000001.png", "000002.png"]
    assert folder_contents(tmp_path) == ["out"]
    for index, pixels in enumerate(pictures):
        path = tmp_path / "out" / f"{index:06d}.png"
        if channels == 3:
            back = read_image(path)
        else:
            back = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            assert back is not None
            back = back[..., [2, 1, 0, 3]]
        np.testing.assert_array_equal(back, pixels)


# The window


def test_opencv_is_loaded_before_pyav() -> None:
    """Else OpenCV's first window hangs on Linux: both bring X11 libraries."""
    program = (
        "import sys, segjax.cli.serve; loaded = list(sys.modules); "
        "print(loaded.index('cv2') < loaded.index('av'))"
    )
    child = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    assert child.stdout == "True\n"


class Screen:
    """Stands in for OpenCV's windows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shown: list[np.ndarray] = []
        self.key = -1
        self.visible = 1.0
        self.destroyed = False
        monkeypatch.setattr(window, "check_display", lambda: None)
        for name, stand_in in {
            "namedWindow": lambda *_: None,
            "resizeWindow": lambda *_: None,
            "imshow": lambda _, pixels: self.shown.append(pixels),
            "waitKey": lambda _: self.key,
            "getWindowProperty": lambda *_: self.visible,
            "destroyAllWindows": self.destroy,
        }.items():
            monkeypatch.setattr(cv2, name, stand_in)

    def destroy(self) -> None:
        self.destroyed = True


def test_a_window_shows_frames_until_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch)
    with window.Window() as sink:
        assert sink.paced and not sink.lingers
        sink.idle()
        sink.write(frame(np.full((20, 30, 3), (10, 20, 30), np.uint8)))
        assert (screen.shown[0] == (30, 20, 10)).all()
        assert sink.lingers and not sink.ended
        screen.key = ord("q")
        sink.idle()
        assert sink.ended
        sink.write(frame(np.zeros((20, 30, 3), np.uint8)))
        assert len(screen.shown) == 1
    assert screen.destroyed


def test_a_window_closed_by_its_button_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch)
    with window.Window() as sink:
        screen.visible = 0.0
        sink.write(frame(np.zeros((20, 30, 3), np.uint8)))
        assert sink.ended


def test_a_window_shows_transparency_as_a_chequerboard(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch)
    pixels = np.full((32, 32, 4), (10, 20, 30, 255), np.uint8)
    pixels[:, 16:, 3] = 0
    with window.Window() as sink:
        sink.write(frame(pixels))
    (shown,) = screen.shown
    assert (shown[:, :16] == (30, 20, 10)).all()
    assert (shown[:16, 16:] == 150).all() and (shown[16:, 16:] == 105).all()


@pytest.mark.parametrize(
    ("code", "errors", "line"),
    [
        (1, "cv2.error: The function is not implemented. Rebuild", "opencv-python-headless"),
        (-6, "qt.qpa.xcb: could not connect to display", "there is no display"),
        (1, "Can't initialize GTK backend", "there is no display"),
    ],
)
def test_a_missing_display_is_one_line_that_says_what_to_use(
    monkeypatch: pytest.MonkeyPatch, code: int, errors: str, line: str
) -> None:
    def child(command: list[str], **_: object) -> subprocess.CompletedProcess:
        assert command[0] == sys.executable
        return subprocess.CompletedProcess(command, code, "", errors)

    monkeypatch.setattr(subprocess, "run", child)
    with pytest.raises(SegjaxError) as caught:
        window.Window()
    assert line in str(caught.value)
    assert str(caught.value).endswith(
        "give --sink a video file as out.mp4, a folder for PNGs, or null"
    )


def test_a_display_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def child(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(subprocess, "run", child)
    with pytest.raises(SegjaxError, match="the display does not answer"):
        window.Window()
