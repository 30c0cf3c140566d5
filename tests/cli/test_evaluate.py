"""`segjax evaluate`, called as a user calls it."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segjax.cli import main
from segjax.evaluation import predictors
from segjax.images import write_image

MEAN = Path(__file__).parents[1] / "evaluation" / "mean.onnx"


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


def test_the_model_is_asked_for_by_its_name(data: Path, tmp_path: Path, monkeypatch):
    asked = []

    def load(model: str) -> predictors.Predictor:
        asked.append(model)
        return lambda pixels: pixels[..., 0] / np.float32(255)

    monkeypatch.setattr("segjax.cli.evaluate.load_predictor", load)
    assert evaluate("--data", data, "--list", "val.txt", "--report", tmp_path / "r.json") == 0
    assert asked == ["portrait"]
    got = json.loads((tmp_path / "r.json").read_text())
    assert got["mean_iou"] == pytest.approx((1 + 0.5 + 1) / 3)


def assert_one_line(err: str, words: str) -> None:
    """The user reads one line that says what is wrong (a progress bar may stand before it)."""
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert words in lines[0]
    assert "Traceback" not in err
    assert err.rstrip().endswith(lines[0])
