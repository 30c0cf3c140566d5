"""`segjax report`, called as a user calls it, with networks of one multiplication."""

import json
from pathlib import Path

import numpy as np
import pytest

from segjax.cli import main
from segjax.cli.report import Extent
from segjax.data.synthetic import write_folder
from segjax.images import write_image

MEAN, COLOURS = (
    Path(__file__).parents[1] / "evaluation" / name for name in ("mean.onnx", "colours.onnx")
)


def report(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as done:
        main(["report", *map(str, arguments)])
    assert isinstance(done.value.code, int)
    return done.value.code


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_folder(tmp_path / "data", train=1, val=8, size=(48, 64))
    return tmp_path / "data"


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A clip of a bright square that moves on, with its masks."""
    for t in range(10):
        pixels = np.zeros((32, 48, 3), np.uint8)
        pixels[8:24, 2 + 3 * t : 18 + 3 * t] = 255
        write_image(tmp_path / "clips" / "square" / "images" / f"{t}.png", pixels)
        write_image(tmp_path / "clips" / "square" / "masks" / f"{t}.png", pixels[..., 0])
    return tmp_path / "clips"


def test_the_report_has_its_keys_and_its_page(
    data: Path, clips: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    few = Extent(pictures=4, changed=2, people=1, frames=9, rooms=1, size=(36, 64))
    monkeypatch.setattr("segjax.cli.report.QUICK", few)
    out = tmp_path / "new" / "out"
    code = report("--data", data, "--clips", clips, "--model", MEAN, "--quick", "--out", out)
    assert code == 0
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "report.json"]
    got = json.loads((out / "report.json").read_text())
    figures = got["models"]["mean"]
    words = [
        "mean_iou",
        "dataset_iou",
        "boundary_f",
        "mad",
        "dtssd",
        "flip_rate",
        "lag",
        "leak",
        "cut",
        "leak_nobody",
    ]
    assert set(words) <= figures.keys()
    square = figures["kinds"]["square"]
    assert abs(square["lag"]) < 0.2 and square["leak"]["mean"] < 0.2 and square["cut"]["mean"] < 0.2
    assert {"moving 5 px", "moving 15 px", "moving 40 px", "nobody"} <= figures["kinds"].keys()
    changes = {"unchanged", "dark", "noise", "blur", "jpeg", "low_contrast"}
    assert figures["robustness"].keys() == changes
    assert figures["speed_ms"]["frame to mask"] > 0
    page = (out / "report.html").read_text()
    assert all(word in page for word in ("mean", "boundary_f", "moving 40 px", "low_contrast"))
    assert str(out / "report.html") in capsys.readouterr().out.replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--clips", "nowhere"], "nowhere is no folder; it must hold clips"),
        (["--clips", "data"], "holds no video '*'"),
        (["--list", "none.txt"], "none.txt does not exist"),
        (["--model", "none.onnx"], "none.onnx does not exist"),
        (["--model", str(COLOURS)], "tells 3 classes apart"),
    ],
)
def test_mistakes_are_told_in_one_line_and_leave_nothing(
    arguments: list[str],
    message: str,
    data: Path,
    clips: Path,
    tmp_path: Path,
    capsys,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    given = ["--data", "data", "--quick", "--out", "out"]
    for flag, usual in (("--clips", "clips"), ("--model", str(MEAN))):
        given += [] if flag in arguments else [flag, usual]
    assert report(*given, *arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error
    assert not Path("out").exists()
