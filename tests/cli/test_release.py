"""From a run to released weights with a model card."""

import json
import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from tiny_model import TINY

from segjax import weights
from segjax.cli import main
from segjax.cli.release import LABELS
from segjax.config import to_dict
from segjax.files import write_json
from segjax.images import read_image

BUCKET = {"height": 32, "width": 32, "weight": 1.0}
CONFIG = {
    "name": "tiny",
    "model": to_dict(TINY),
    "steps": 40,
    "data": {"root": "people", "buckets": [BUCKET], "batch_size": 2},
    "optimizer": {"accumulate": 2},
}
"""Of a run from before there were other fields."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run: 40 steps of 4 pictures, half a second each."""
    folder = tmp_path_factory.mktemp("run")
    info = {"step": 20, "run": "tiny"}
    weights.save(folder / "tiny.safetensors", weights.create_model(TINY), TINY, info)
    write_json(folder / "config.json", CONFIG)
    lines = [
        {"step": 20, "loss": 0.9, "step_ms": 500.0, "images_per_s": 8.0},
        {"step": 20, "val": {"mean_iou": 0.6125, "median_iou": 0.7}},
        {"step": 40, "loss": 0.8, "step_ms": 500.0, "images_per_s": 8.0},
        {"step": 40, "val": {"mean_iou": 0.5, "median_iou": 0.6}},
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "about.md").write_text("# tiny\n\nFor tests.\n")
    figures = {"mean_iou": 0.61249, "median_iou": 0.7, "dataset_iou": 0.8, "boundary_f": 0.5}
    write_json(
        folder / "val.json",
        {"model": "runs/tiny.safetensors", "lists": ["a/val.txt", "webcam.txt"], "images": 1226}
        | figures
        | {"mad": 65.5},
    )
    return folder


def release(run: Path, out: Path, *more: str) -> int | str | None:
    arguments = ["release", "--run", str(run), "--out", str(out), "--hardware", "a machine"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--about", str(run / "about.md"), *more])
    return ended.value.code


def test_the_card_is_written_from_the_run_and_the_reports(run: Path, tmp_path: Path):
    (tmp_path / "LICENSE").write_text("For tests only\nmore\n")
    assert release(run, tmp_path, "--report", str(run / "val.json")) == 0
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("# tiny\n\nFor tests.\n")
    assert "20 of 40 steps of 4 pictures (80 pictures seen)" in card
    assert "| 80 | 0.6125 | 0.7000 |" in card
    assert (
        "| tiny | val.txt ∩ webcam.txt | 1,226 | 0.612 | 0.700 | 0.800 | 0.500 | 65.500 |" in card
    )
    assert min(read_image(tmp_path / "curve.png").shape[:2]) > 200
    before = weights.load(run / "tiny.safetensors")
    after = weights.load(tmp_path / "tiny.safetensors")
    x = jnp.asarray(np.random.default_rng(0).random((1, 32, 48, 3), np.float32))
    assert (np.asarray(before.model(x)) == np.asarray(after.model(x))).all()
    assert after.info["licence"] == "For tests only"


def test_kernels_of_half_precision_take_half_the_bytes(run: Path, tmp_path: Path):
    assert release(run, tmp_path / "whole") == 0
    assert release(run, tmp_path / "half", "--half") == 0
    files = [tmp_path / kind / "tiny.safetensors" for kind in ("whole", "half")]
    whole, half = (weights.variables(weights.load(file, trainable=True).model) for file in files)
    for name, part in whole.items():
        found, wanted = np.asarray(half[name][...]), np.asarray(part[...])
        assert found.dtype == np.float32
        if wanted.ndim > 1:
            assert (found == wanted.astype(np.float16)).all() and not (found == wanted).all()
        else:
            assert (found == wanted).all()
    with safe_open(files[1], framework="numpy") as file:
        kinds = {file.get_tensor(name).dtype for name in file.keys() if "kernel" in name}  # noqa: SIM118
    assert kinds == {np.dtype(np.float16)}


def test_the_mean_of_several_runs_is_released_as_such(run: Path, tmp_path: Path):
    arrays = weights.variables(weights.create_model(TINY))
    ones = {name: np.ones(part[...].shape, np.float32) for name, part in arrays.items()}
    parts = [{"run": "tiny", "step": 20, "share": 0.25}, {"run": "b", "step": 9, "share": 0.75}]
    weights.write(tmp_path / "mean.safetensors", ones, TINY, {"averaged": parts})
    assert release(run, tmp_path / "out", "--weights", str(tmp_path / "mean.safetensors")) == 0
    card = (tmp_path / "out/README.md").read_text()
    assert (
        "the mean of the weights of 2 runs (`segjax average`): 25.0% of 20 steps, 75.0% of 9"
        in card
    )
    released = weights.load(tmp_path / "out/tiny.safetensors", trainable=True)
    assert all((part[...] == 1).all() for part in weights.variables(released.model).values())
    assert released.info["averaged"] == parts and released.info["step"] == 20


def test_a_missing_run_is_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert release(tmp_path / "none", tmp_path / "out") == 2
    assert "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        ("about.md", "the text that the card begins with, cannot be read"),
        ("val.json", "lacks miou"),
    ],
)
def test_nothing_is_written_where_something_is_wrong(
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoilt: str,
    words: str,
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    if spoilt == "about.md":
        (copy / spoilt).unlink()
    other = {"model": "x", "lists": [], "images": 1, "miou": 0.4} | dict.fromkeys(LABELS, 0.5)
    write_json(copy / "other.json", other)
    reports = ("--report", str(copy / "other.json"), "--report", str(copy / "val.json"))
    assert release(copy, tmp_path / "out", *reports) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_broken_report_is_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    assert release(run, tmp_path / "out", "--report", str(broken)) == 2
    assert "cannot be read as JSON" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_on_labels_has_a_card_of_their_figures(run: Path, tmp_path: Path):
    labels = tmp_path / "run"
    labels.mkdir()
    for name in ("tiny.safetensors", "config.json", "about.md"):
        (labels / name).write_bytes((run / name).read_bytes())
    lines = [
        {"step": 20, "loss": 0.9, "step_ms": 500.0, "images_per_s": 8.0},
        {"step": 20, "val": {"miou": 0.41, "pixel_accuracy": 0.8}},
    ]
    (labels / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    figures = {"miou": 0.4, "pixel_accuracy": 0.8, "mean_accuracy": 0.5, "dice": 0.55}
    report = labels / "test.json"
    origin = {"model": "tiny.safetensors", "lists": ["test.txt"], "images": 233}
    write_json(report, origin | figures | {"boundary_f": 0.3})
    assert release(labels, tmp_path / "out", "--report", str(report)) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| pictures seen | miou | pixel_accuracy |" in card
    assert "| 80 | 0.4100 | 0.8000 |" in card
    assert "| tiny | test.txt | 233 | 0.400 | 0.800 | 0.500 | 0.550 | 0.300 |" in card
