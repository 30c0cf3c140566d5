"""`segjax evaluate`, called as a user calls it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segjax.cli import main
from segjax.images import read_mask, write_image

MEAN, COLOURS = (
    Path(__file__).parents[1] / "evaluation" / name for name in ("mean.onnx", "colours.onnx")
)


def evaluate(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as done:
        main(["evaluate", *map(str, arguments)])
    assert isinstance(done.value.code, int)
    return done.value.code


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four pictures of 40x64 with a bright person on the right; in `b` half of it is not marked."""
    folder = tmp_path / "data"
    for stem in "abcd":
        pixels = np.zeros((40, 64, 3), np.uint8)
        pixels[:, 32:] = 255
        mask = pixels[..., 0].copy()
        if stem == "b":
            mask[:20] = 0
        write_image(folder / "images" / f"{stem}.png", pixels)
        write_image(folder / "masks" / f"{stem}.png", mask)
    (folder / "val.txt").write_text("a\nb\nc\n")
    (folder / "webcam.txt").write_text("d\nb\na\n")
    return folder


def test_the_report_has_its_keys_and_figures(data: Path, tmp_path: Path, capsys):
    report, pictures = tmp_path / "new" / "r.json", tmp_path / "sheets"
    code = evaluate(
        *("--data", data, "--list", "val.txt", "--list", "webcam.txt", "--model", MEAN),
        *("--report", report, "--pictures", pictures),
    )
    assert code == 0
    got = json.loads(report.read_text())
    assert got["images"] == 2
    assert [row["stem"] for row in got["per_image"]] == ["a", "b"]
    assert got["mean_iou"] == pytest.approx(0.75, abs=0.03)
    assert got["median_iou"] == pytest.approx(0.75, abs=0.03)
    assert got["dataset_iou"] == pytest.approx((1280 + 640) / 2560, abs=0.03)
    assert got["boundary_f"] > 0.5
    assert got["mad"] == pytest.approx(1000 * 0.25 / 2, abs=20)
    assert (got["model"], got["data"]) == (str(MEAN), str(data))
    assert got["lists"] == ["val.txt", "webcam.txt"]
    assert sorted(p.name for p in pictures.iterdir()) == [
        "best.png",
        "outlines.png",
        "worst.png",
    ]
    shown = capsys.readouterr().out
    assert "mean_iou" in shown
    assert str(report) in shown.replace("\n", "")


def test_without_a_list_every_picture_counts(data: Path, tmp_path: Path):
    assert evaluate("--data", data, "--model", MEAN, "--report", tmp_path / "r.json") == 0
    assert json.loads((tmp_path / "r.json").read_text())["images"] == 4


def test_a_list_is_taken_as_given_before_it_is_sought_in_the_data(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "mine.txt").write_text("c\n")
    monkeypatch.chdir(tmp_path)
    for lists, stems in ((["mine.txt"], "c"), (["val.txt"], "abc"), (["mine.txt", "val.txt"], "c")):
        flags = [part for name in lists for part in ("--list", name)]
        assert evaluate("--data", "data", *flags, "--model", MEAN, "--report", "r.json") == 0
        rows = json.loads((tmp_path / "r.json").read_text())["per_image"]
        assert "".join(row["stem"] for row in rows) == stems


def _remove(name: str) -> Callable[[Path], object]:
    return lambda data: (data / name).unlink()


def _write(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda data: (data / name).write_bytes(content)


def _write_image(name: str, pixels: np.ndarray) -> Callable[[Path], object]:
    return lambda data: write_image(data / name, pixels)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_remove("val.txt"), "val.txt does not exist"),
        (_write("val.txt", b"\n \n"), "is empty"),
        (_write("val.txt", b"zzz\n"), "no file for the stem 'zzz'"),
        (_remove("images/b.png"), "no file for the stem 'b'"),
        (_remove("masks/c.png"), "no file for the stem 'c'"),
        (_write("images/b.png", b""), "b.png is empty (0 bytes)"),
        (_write("images/b.png", b"a text\n"), "b.png is not a picture"),
        (_write("masks/b.png", b"a text\n"), "b.png is not a picture"),
        (_write_image("images/b.png", np.zeros((1, 1, 3), np.uint8)), "1x1 pixels"),
        (_write_image("masks/b.png", np.zeros((3, 5), np.uint8)), "is 5x3, its picture 64x40"),
        (_write_image("masks/b.png", np.ones((40, 64), np.uint8)), "only 0 and 1"),
    ],
)
def test_bad_data_is_one_line_and_no_report(
    data: Path, tmp_path: Path, capsys, spoil: Callable[[Path], object], words: str
):
    spoil(data)
    arguments = ("--data", data, "--list", "val.txt", "--model", MEAN)
    assert evaluate(*arguments, "--report", tmp_path / "out" / "r.json") == 2
    assert_one_line(capsys.readouterr().err, words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "nowhere", "--list", "val.txt", "--model", MEAN], "nowhere is no folder"),
        (["--data", "bare", "--model", MEAN], "is no folder"),
        (["--data", "empty", "--model", MEAN], "holds no picture"),
        (["--data", "data", "--list", "val.txt", "--list", "d.txt"], "no stem stands in all of"),
        (["--data", "data", "--model", "text.onnx"], "text.onnx is not an ONNX network"),
        (["--data", "data", "--model", "nowhere.onnx"], "nowhere.onnx does not exist"),
    ],
)
def test_bad_arguments_are_one_line_and_no_report(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, arguments, words: str
):
    (data / "d.txt").write_text("d\n")
    (tmp_path / "bare").mkdir()
    (tmp_path / "empty" / "images").mkdir(parents=True)
    (tmp_path / "text.onnx").write_text("no network")
    monkeypatch.chdir(tmp_path)
    assert evaluate(*arguments, "--report", "r.json") == 2
    assert_one_line(capsys.readouterr().err, words)
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize("kind", ["grey", "16-bit", "RGBA"])
def test_pictures_of_every_kind_are_read(data: Path, tmp_path: Path, kind: str):
    import cv2

    path = str(data / "images" / "a.png")
    pixels = np.zeros((40, 64), np.uint8)
    pixels[:, 32:] = 255
    if kind == "grey":
        cv2.imwrite(path, pixels)
    elif kind == "16-bit":
        cv2.imwrite(path, pixels.astype(np.uint16) * 257)
    else:
        opaque = np.full_like(pixels, 255)
        cv2.imwrite(path, np.dstack([pixels] * 3 + [opaque]))
    (data / "one.txt").write_text("a\n")
    arguments = ("--data", data, "--list", "one.txt", "--model", MEAN)
    assert evaluate(*arguments, "--report", tmp_path / "r.json") == 0
    assert json.loads((tmp_path / "r.json").read_text())["mean_iou"] > 0.95


def test_an_unwritable_report_is_one_line(data: Path, tmp_path: Path, capsys):
    (tmp_path / "file").write_text("")
    arguments = ("--data", data, "--model", MEAN)
    assert evaluate(*arguments, "--report", tmp_path / "file" / "r.json") == 2
    assert_one_line(capsys.readouterr().err, "cannot write")


def test_a_full_disk_leaves_no_report(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "replace", full)
    assert evaluate("--data", data, "--model", MEAN, "--report", tmp_path / "out" / "r.json") == 2
    assert_one_line(capsys.readouterr().err, "No space left on device")
    assert list((tmp_path / "out").iterdir()) == []


class Fake:
    """A predictor of any function."""

    name, multiple = "fake", 8

    def __init__(
        self,
        function: Callable[[np.ndarray], np.ndarray],
        classes: int = 1,
        info: dict[str, Any] | None = None,
    ):
        self._function, self.classes, self.info = function, classes, info or {}

    def of_tiles(self) -> "Fake":
        return self

    def __call__(self, pixels: np.ndarray, scale: float = 1.0) -> np.ndarray:
        return self._function(pixels)


def test_the_model_is_asked_for_by_its_name(data: Path, tmp_path: Path, monkeypatch):
    asked = []

    def load(model: str) -> Fake:
        asked.append(model)
        return Fake(lambda pixels: pixels[..., 0] / np.float32(255))

    monkeypatch.setattr("segjax.cli.evaluate.load_predictor", load)
    assert evaluate("--data", data, "--list", "val.txt", "--report", tmp_path / "r.json") == 0
    assert asked == ["portrait"]
    got = json.loads((tmp_path / "r.json").read_text())
    assert got["mean_iou"] == pytest.approx((1 + 0.5 + 1) / 3)
    way = {"window": None, "scales": [1.0], "flip": False, "crf": None}
    assert got["prediction"] == way


# --- labels -------------------------------------------------------------------------------------


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Three pictures of red, green and blue bands; of `b` the green one is labelled as blue."""
    folder = tmp_path / "scenes"
    bands = np.repeat([[0] * 16 + [1] * 16 + [2] * 32], 40, axis=0).astype(np.uint8)
    for stem in "abc":
        labels = np.where((bands == 1) & (stem == "b"), 2, bands).astype(np.uint8)
        labels[:5] = 9
        write_image(folder / "images" / f"{stem}.png", np.eye(3, dtype=np.uint8)[bands] * 255)
        write_image(folder / "labels" / f"{stem}.png", labels)
    (folder / "val.txt").write_text("a\nb\n")
    return folder


def test_labels_are_measured_by_class(scenes: Path, tmp_path: Path, capsys):
    (scenes / "classes.txt").write_text("rose\nfern\nsea\n")
    report, pictures = tmp_path / "r.json", tmp_path / "sheets"
    code = evaluate(
        *("--data", scenes, "--list", "val.txt", "--ignore", "9", "--flip"),
        *("--model", COLOURS, "--report", report, "--pictures", pictures),
    )
    assert code == 0
    got = json.loads(report.read_text())
    pixels = 35 * 16
    assert got["images"] == 2
    assert got["confusion"] == [
        [2 * pixels, 0, 0],
        [0, pixels, 0],
        [0, pixels, 4 * pixels],
    ]
    assert got["per_class_iou"] == {"rose": 1, "fern": 0.5, "sea": pytest.approx(4 / 5)}
    assert got["per_class_accuracy"] == {"rose": 1, "fern": 1, "sea": pytest.approx(4 / 5)}
    assert got["miou"] == pytest.approx(2.3 / 3)
    assert got["pixel_accuracy"] == pytest.approx(7 / 8)
    assert got["mean_accuracy"] == pytest.approx(2.8 / 3)
    assert got["dice"] == pytest.approx((1 + 2 / 3 + 8 / 9) / 3)
    assert 0.5 < got["boundary_f"] < 1
    assert [row["stem"] for row in got["per_image"]] == ["a", "b"]
    assert got["prediction"]["flip"] is True
    assert sorted(path.name for path in pictures.iterdir()) == [
        "best.png",
        "confusion.png",
        "worst.png",
    ]
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("miou", "fern", "0.5000", str(report)))


def test_names_and_what_is_ignored_come_from_the_weights(scenes: Path, tmp_path: Path, monkeypatch):
    def load(_: str) -> Fake:
        identity = lambda pixels: pixels / np.float32(255)  # noqa: E731
        return Fake(identity, 3, {"ignore": [9], "classes": ["r", "g", "b"]})

    monkeypatch.setattr("segjax.cli.evaluate.load_predictor", load)
    flags = ("--data", scenes, "--report", tmp_path / "r.json")
    assert evaluate(*flags) == 0
    assert list(json.loads((tmp_path / "r.json").read_text())["per_class_iou"]) == ["r", "g", "b"]
    assert evaluate(*flags, "--names", "x", "y", "z", "--window", "16", "32") == 0
    got = json.loads((tmp_path / "r.json").read_text())
    assert list(got["per_class_iou"]) == ["x", "y", "z"]
    assert got["prediction"]["window"] == [16, 32]
    assert got["pixel_accuracy"] == pytest.approx(11 / 12)


def test_one_class_is_measured_by_labels_of_two(scenes: Path, tmp_path: Path, monkeypatch):
    load = lambda _: Fake(lambda pixels: pixels[..., 2] / np.float32(255))  # noqa: E731
    monkeypatch.setattr("segjax.cli.evaluate.load_predictor", load)
    for stem in "abc":
        labels = read_mask(scenes / "labels" / f"{stem}.png")
        write_image(scenes / "labels" / f"{stem}.png", (labels == 2).astype(np.uint8))
    assert evaluate("--data", scenes, "--report", tmp_path / "r.json") == 0
    got = json.loads((tmp_path / "r.json").read_text())
    assert list(got["per_class_iou"]) == ["class 0", "class 1"]
    # The labels of the upper 5 rows were 9, so are 0 now; of `b` 16 columns more are 1.
    right, missed, extra = 35 * 32 * 3, 35 * 16, 5 * 32 * 3
    room = 40 * 64 * 3 - right - missed - extra
    assert got["confusion"] == [[room, extra], [missed, right]]


@pytest.mark.parametrize(
    ("spoil", "flags", "words"),
    [
        (None, [], "holds the label 9"),
        (None, ["--ignore", "9", "--names", "a", "b"], "names 2 classes"),
        (_remove("labels/b.png"), [], "no file for the stem 'b'"),
        (_write("labels/b.png", b"text"), ["--ignore", "9"], "b.png is no PNG"),
        (
            _write_image("labels/b.png", np.zeros((16, 17), np.uint8)),
            ["--ignore", "9"],
            "is 17x16, its picture 64x40",
        ),
        (
            lambda data: [
                write_image(data / "labels" / f"{stem}.png", np.full((40, 64), 9, np.uint8))
                for stem in "ab"
            ],
            ["--ignore", "9"],
            "all pixels of 2 pictures are ignored",
        ),
        (lambda data: (data / "labels").rename(data / "masks"), [], "has no labels/"),
        (None, ["--scales", "0.5"], "has one size of input"),
    ],
)
def test_bad_labels_are_one_line_and_no_report(
    scenes: Path, tmp_path: Path, capsys, spoil: Callable[[Path], object] | None, flags, words: str
):
    if spoil:
        spoil(scenes)
    arguments = ("--data", scenes, "--list", "val.txt", "--model", COLOURS, *flags)
    assert evaluate(*arguments, "--report", tmp_path / "r.json") == 2
    assert_one_line(capsys.readouterr().err, words)
    assert not (tmp_path / "r.json").exists()


def assert_one_line(err: str, words: str) -> None:
    """The user reads one line that says what is wrong (a progress bar may stand before it)."""
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert words in lines[0]
    assert "Traceback" not in err
    assert err.rstrip().endswith(lines[0])
