"""`segjax segment`, called as a user calls it."""

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from segjax import weights
from segjax.cli import main, segment
from segjax.config import ModelConfig
from segjax.images import read_image, read_mask, write_image
from segjax.labels import palette
from segjax.live.frames import Frame
from segjax.live.recording import Recording
from segjax.live.videos import VideoFile
from segjax.models import create_model

MEAN = Path(__file__).parents[1] / "evaluation" / "mean.onnx"


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as done:
        main(["segment", *map(str, arguments)])
    assert isinstance(done.value.code, int)
    return done.value.code


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def person(height: int = 40, width: int = 64) -> np.ndarray:
    """A bright person on the right of a dark room."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, width // 2 :] = 255
    return pixels


def assert_person(mask: np.ndarray, height: int = 40, width: int = 64) -> None:
    assert mask.shape == (height, width)
    assert ((mask > 127) == (person(height, width)[..., 0] > 0)).mean() > 0.95


def write_video(path: Path, levels: list[int], rate: float = 10.0) -> None:
    with Recording(path, rate=rate) as sink:
        for index, level in enumerate(levels):
            pixels = np.full((48, 64, 3), level, np.uint8)
            sink.write(Frame(pixels, index, index / rate, 0.0))


def write_weights(path: Path, classes: int = 1) -> None:
    """Random weights of the smallest network."""
    config = ModelConfig(
        encoder="dilated_resnet",
        decoder="skip_aspp",
        classes=classes,
        encoder_options={"widths": (4, 4, 4), "depths": (0, 0, 0)},
        decoder_options={"widths": (4, 4), "rates": (), "branch": 4},
    )
    model = create_model(
        config.decoder,
        encoder=config.encoder,
        num_classes=classes,
        encoder_options=config.encoder_options,
        decoder_options=config.decoder_options,
    )
    weights.save(path, model, config)


class Remembering:
    """A clip predictor whose alpha is the mean of its brightness over all frames so far."""

    def __init__(self) -> None:
        self.levels: list[float] = []

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        self.levels.append(float(pixels.mean()) / 255)
        return np.full(pixels.shape[:2], np.mean(self.levels), np.float32)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_picture_gives_a_file_or_a_folder(here: Path, capsys):
    write_image("me.jpg", person())
    assert run("me.jpg", "--out", "new/alpha.png", "--model", MEAN) == 0
    assert "written: new/alpha.png" in capsys.readouterr().out
    assert run("me.jpg", "--out", "masks", "--model", MEAN) == 0
    assert names(here / "new") == ["alpha.png"]
    assert names(here / "masks") == ["me.png"]
    for path in ("new/alpha.png", "masks/me.png"):
        assert_person(read_mask(path))


@pytest.mark.parametrize(
    ("height", "width"), [(16, 16), (17, 31), (101, 37), (16, 333)], ids=lambda n: str(n)
)
def test_masks_have_the_full_odd_size(here: Path, height: int, width: int):
    write_image("odd.png", person(height, width))
    assert run("odd.png", "--out", "masks", "--model", MEAN) == 0
    assert read_mask("masks/odd.png").shape == (height, width)


@pytest.mark.parametrize("kind", ["grey", "16-bit", "16-bit RGB", "RGBA", "webp"])
def test_pictures_of_every_kind_are_read(here: Path, kind: str):
    pixels = person()
    opaque = np.full((40, 64), 255, np.uint8)
    written = {
        "grey": pixels[..., 0],
        "16-bit": pixels[..., 0].astype(np.uint16) * 257,
        "16-bit RGB": pixels.astype(np.uint16) * 257,
        "RGBA": np.dstack([pixels, opaque]),
        "webp": pixels,
    }[kind]
    suffix = ".webp" if kind == "webp" else ".png"
    cv2.imwrite(f"me{suffix}", written)
    assert run(f"me{suffix}", "--out", "masks", "--model", MEAN) == 0
    assert_person(read_mask("masks/me.png"))
    raw = cv2.imread("masks/me.png", cv2.IMREAD_UNCHANGED)
    assert raw is not None and (raw.dtype, raw.ndim) == (np.uint8, 2)


def test_a_folder_is_independent_pictures_of_any_size(here: Path):
    sizes = {"b.png": (40, 64), "a.jpg": (64, 40), "c.d.png": (33, 35)}
    for name, size in sizes.items():
        write_image(here / "photos" / name, person(*size))
    (here / "photos" / "notes.txt").write_text("no picture")
    assert run("photos", "--out", "masks", "--model", MEAN) == 0
    assert names(here / "masks") == ["a.png", "b.png", "c.d.png"]
    for name, size in sizes.items():
        assert_person(read_mask(here / "masks" / f"{Path(name).stem}.png"), *size)


def test_a_folder_keeps_no_state_and_a_sequence_does(here: Path, monkeypatch: pytest.MonkeyPatch):
    for index, level in enumerate([200, 100, 0]):
        write_image(here / "clip" / f"{index + 8}.png", np.full((32, 48, 3), level, np.uint8))
    monkeypatch.setattr(segment, "load_clip", lambda model: Remembering())
    assert run("clip", "--out", "single", "--model", MEAN) == 0
    assert run("clip", "--sequence", "--out", "sequence", "--model", MEAN) == 0

    def levels(folder: str) -> list[int]:
        return [int(read_mask(here / folder / f"{i}.png")[0, 0]) for i in (8, 9, 10)]

    assert levels("single") == [200, 100, 0]
    assert levels("sequence") == [200, 150, 100], "10.png comes after 9.png"


def test_a_video_keeps_state_and_gives_a_picture_a_frame(
    here: Path, monkeypatch: pytest.MonkeyPatch
):
    write_video(here / "talk.mp4", [200, 100, 0])
    monkeypatch.setattr(segment, "load_clip", lambda model: Remembering())
    assert run("talk.mp4", "--out", "masks") == 0
    assert names(here / "masks") == ["000000.png", "000001.png", "000002.png"]
    masks = [read_mask(here / "masks" / name) for name in names(here / "masks")]
    assert [m.shape for m in masks] == [(48, 64)] * 3
    np.testing.assert_allclose([int(m[0, 0]) for m in masks], [200, 150, 100], atol=3)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_a_video_gives_a_video_of_the_same_frames(here: Path, suffix: str):
    write_video(here / "talk.mp4", [255, 0, 128, 255, 0])
    assert run("talk.mp4", "--out", f"alpha{suffix}", "--model", MEAN) == 0
    alpha = VideoFile(here / f"alpha{suffix}")
    frames = list(alpha)
    assert alpha.size == (48, 64)
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=2e-3)
    shown = [float(frame.pixels.mean()) for frame in VideoFile(here / f"alpha{suffix}")]
    np.testing.assert_allclose(shown, [255, 0, 128, 255, 0], atol=8)


def test_released_weights_mask_pictures_and_clips(here: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEGJAX_CACHE", "off")
    write_weights(here / "tiny.safetensors")
    noise = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), np.uint8)
    for index, pixels in enumerate(noise):
        write_image(here / "clip" / f"{index}.png", pixels)
    for out, flags in (("single", []), ("sequence", ["--sequence"])):
        assert run("clip", *flags, "--out", out, "--model", "tiny.safetensors") == 0
        assert names(here / out) == ["0.png", "1.png"]
        assert read_mask(here / out / "1.png").shape == (48, 64)
    assert run("clip", "--out", "again", "--model", "tiny.safetensors") == 0
    for name in names(here / "single"):
        assert (here / "single" / name).read_bytes() == (here / "again" / name).read_bytes()


def bytes_at(name: str, data: bytes) -> Callable[[], object]:
    def make() -> None:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(data)

    return make


def picture_at(name: str, height: int = 40, width: int = 64) -> Callable[[], object]:
    return lambda: write_image(name, np.zeros((height, width, 3), np.uint8))


def both(*made: Callable[[], object]) -> Callable[[], object]:
    return lambda: [make() for make in made]


def test_bad_weights_are_one_line_and_nothing_written(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.setenv("SEGJAX_CACHE", "off")
    write_image("in.png", person())
    write_weights(here / "eleven.safetensors", classes=11)
    Path("cut.safetensors").write_bytes(Path("eleven.safetensors").read_bytes()[:-100])
    before = snapshot(here)
    for model, words in (
        ("nowhere.safetensors", "neither installed weights nor a file"),
        ("in.png", "in.png is not a whole safetensors file"),
        ("cut.safetensors", "cut.safetensors is not a whole safetensors file"),
    ):
        assert run("in.png", "--out", "masks", "--model", model) == 2
        assert_one_line(capsys.readouterr().err, words)
        assert snapshot(here) == before


def test_several_classes_give_palettes_and_overlays(here: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEGJAX_CACHE", "off")
    write_weights(here / "eleven.safetensors", classes=11)
    pixels = person()
    write_image("in.png", pixels)
    arguments = ["--model", "eleven.safetensors", "--out", "labels"]
    assert run("in.png", *arguments) == 0
    stored = read_image(Path("labels/in.png"))
    assert stored.shape == pixels.shape
    colours = {tuple(colour) for colour in palette(11)}
    assert {tuple(colour) for colour in stored.reshape(-1, 3)} <= colours
    assert read_image(Path("labels/in_overlay.jpg")).shape == pixels.shape
    assert run("in.png", *arguments, "--crf", "--tile", "16", "32") == 0


def test_crf_and_tiles_are_for_single_pictures(here: Path, capsys):
    write_video(Path("in.mp4"), [0, 50])
    assert run("in.mp4", "--out", "masks", "--crf") == 2
    assert_one_line(capsys.readouterr().err, "for single pictures, not for a video")
    write_image("in.png", person())
    assert run("in.png", "--out", "masks", "--tile", "100", "256") == 2
    assert_one_line(capsys.readouterr().err, "multiples of 16")


def truncated_video() -> None:
    write_video(Path("in.mp4"), [0, 50] * 20)
    data = Path("in.mp4").read_bytes()
    Path("in.mp4").write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("make", "arguments", "words"),
    [
        (None, ["in.png"], "in.png does not exist"),
        (None, ["in.mp4"], "in.mp4 does not exist"),
        (None, ["photos"], "photos does not exist"),
        (bytes_at("in.png", b""), ["in.png"], "in.png is empty (0 bytes)"),
        (bytes_at("in.png", b"a text"), ["in.png"], "in.png is not a picture"),
        (picture_at("in.png", 1, 1), ["in.png"], "1x1 pixels"),
        (bytes_at("in.mp4", b""), ["in.mp4"], "in.mp4 is empty (0 bytes)"),
        (bytes_at("in.mp4", b"a text"), ["in.mp4"], "in.mp4 is not a video"),
        (bytes_at("in.txt", b"a text"), ["in.txt"], "in.txt is not a video"),
        (truncated_video, ["in.mp4"], "in.mp4 is cut short"),
        (lambda: Path("photos").mkdir(), ["photos"], "the folder photos holds no pictures"),
        (bytes_at("photos/a.txt", b""), ["photos"], "the folder photos holds no pictures"),
        (
            both(picture_at("photos/a.png"), picture_at("photos/a.jpg")),
            ["photos"],
            "photos holds both a.jpg and a.png",
        ),
        (
            both(picture_at("photos/a.png"), bytes_at("photos/b.png", b"")),
            ["photos"],
            "b.png is empty",
        ),
        (
            both(picture_at("photos/a.png"), picture_at("photos/b.png", 64, 40)),
            ["photos", "--sequence"],
            "b.png is 40x64, the first picture 64x40; a sequence has one size",
        ),
        (bytes_at("in.onnx", b"a text"), ["in.onnx"], "in.onnx is not a video"),
    ],
)
def test_bad_sources_are_one_line_and_nothing_written(
    here: Path, capsys, make: Callable[[], object] | None, arguments: list[str], words: str
):
    if make:
        make()
    before = snapshot(here)
    assert run(*arguments, "--out", "masks", "--model", MEAN) == 2
    assert_one_line(capsys.readouterr().err, words)
    assert snapshot(here) == before


@pytest.mark.parametrize(
    ("source", "out", "words"),
    [
        ("in.png", "out.jpg", "these masks go into a folder or a file that ends in .png"),
        ("in.png", "out.mp4", "these masks go into a folder or a file that ends in .png"),
        ("in.png", "in.png", "in.png would be overwritten by its mask"),
        ("in.png", ".", "in.png would be overwritten by its mask"),
        ("in.png", "file", "file is a file; the masks need a folder"),
        ("photos", "out.png", "these masks go into a folder; give such a one"),
        ("photos", "out.mp4", "these masks go into a folder; give such a one"),
        ("photos", "photos", "a.png would be overwritten by its mask"),
        ("photos", "file", "file is a file; the masks need a folder"),
        ("in.mp4", "in.mp4", "in.mp4 would be overwritten by its mask"),
        ("in.mp4", "out.gif", "a folder or a file that ends in .mp4, .mov"),
        ("in.mp4", "file", "file is a file; the masks need a folder"),
        ("in.png", "file/out.png", "cannot write file/out.png"),
        ("photos", "file/masks", "cannot write file/masks"),
        ("in.mp4", "file/masks", "cannot write file/masks"),
        ("in.mp4", "file/out.mp4", "cannot write file/out.mp4"),
    ],
)
def test_bad_outputs_are_one_line_and_nothing_written(
    here: Path, capsys, source: str, out: str, words: str
):
    write_image("in.png", person())
    write_image("photos/a.png", person())
    write_video(here / "in.mp4", [0, 50])
    Path("file").write_text("")
    before = snapshot(here)
    assert run(source, "--out", out, "--model", MEAN) == 2
    assert_one_line(capsys.readouterr().err, words)
    assert snapshot(here) == before


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "net.onnx does not exist"),
        (b"", "net.onnx is not an ONNX network"),
        (b"a text", "net.onnx is not an ONNX network"),
        (MEAN.read_bytes()[:90], "net.onnx is not an ONNX network"),
    ],
)
@pytest.mark.parametrize("source", ["in.png", "in.mp4", "photos"])
def test_bad_models_are_one_line_and_nothing_written(
    here: Path, capsys, source: str, data: bytes | None, words: str
):
    write_image("in.png", person())
    write_image("photos/a.png", person())
    write_video(here / "in.mp4", [0, 50])
    if data is not None:
        Path("net.onnx").write_bytes(data)
    before = snapshot(here)
    assert run(source, "--out", "masks", "--model", "net.onnx") == 2
    assert_one_line(capsys.readouterr().err, words)
    assert snapshot(here) == before


@pytest.mark.parametrize("source", ["in.png", "photos", "in.mp4"])
def test_a_full_disk_leaves_nothing(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys, source: str
):
    write_image("in.png", person())
    write_image("photos/a.png", person())
    write_image("photos/b.png", person())
    write_video(here / "in.mp4", [0, 50, 100])
    before = snapshot(here)
    written = []
    real = Path.write_bytes

    def full_after_one(path: Path, data: bytes) -> int:
        if source == "in.png" or written:
            raise OSError(28, os.strerror(28))
        written.append(path)
        return real(path, data)

    monkeypatch.setattr(Path, "write_bytes", full_after_one)
    assert run(source, "--out", "masks", "--model", MEAN) == 2
    assert_one_line(capsys.readouterr().err, "No space left on device")
    assert [path for path in snapshot(here) if path not in before] in ([], ["masks"])
    assert not list(here.glob("masks/*"))


def test_older_masks_stay(here: Path):
    write_image("masks/old.png", person())
    write_image("photos/a.png", person())
    assert run("photos", "--out", "masks", "--model", MEAN) == 0
    assert names(here / "masks") == ["a.png", "old.png"]
    np.testing.assert_array_equal(read_image("masks/old.png"), person())


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, with a file's bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def assert_one_line(err: str, words: str) -> None:
    """The user reads one line that says what is wrong (a progress bar may stand before it)."""
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert words in lines[0]
    assert "Traceback" not in err
    assert err.rstrip().endswith(lines[0])
