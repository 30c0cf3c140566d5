"""The documentation's results, made of runs that never ran."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segjax import weights
from segjax.config import (
    Bucket,
    DataConfig,
    ModelConfig,
    SceneAugmentation,
    TrainConfig,
    to_dict,
)
from segjax.errors import SegjaxError
from segjax.images import read_image, write_image
from segjax.labels import palette

ROOT = Path(__file__).resolve().parent.parent

# They are scripts that import each other, and no package.
sys.path.insert(0, str(ROOT / "benchmarks"))
results = importlib.import_module("results")
sys.path.remove(str(ROOT / "benchmarks"))

NAMES = ("ground", "sky", "sea")


def write_run(folder: Path, name: str, *, steps: int, score: float, classes: int = 3) -> Path:
    """A run of `steps` of 10 steps of 4 pictures, validated twice, with a report of test.txt."""
    run = folder / name
    run.mkdir(parents=True)
    config = TrainConfig(
        name=name,
        model=ModelConfig(
            encoder="dilated_resnet",
            decoder="skip_aspp",
            classes=classes,
            area=0,
            encoder_options={"widths": (4, 4, 4), "depths": (0, 0, 0)},
            decoder_options={"widths": (4, 4), "rates": (), "branch": 4},
        ),
        data=DataConfig(
            root=str(folder / "toys"),
            ignore=(9,) if classes > 1 else (),
            names=NAMES if classes > 1 else (),
            buckets=(Bucket(16, 32, 1.0), Bucket(32, 32, 2.0)),
            batch_size=4,
            augmentation=SceneAugmentation(),
        ),
        steps=10,
    )
    (run / "config.json").write_text(json.dumps(to_dict(config)))
    figure = "miou" if classes > 1 else "mean_iou"
    lines: list[dict[str, Any]] = [
        {"step": step, "loss": 1 / step, "step_ms": 1.8e6, "peak_of": "2 x toy, 7 TFLOP/s"}
        for step in range(1, steps + 1)
    ]
    lines += [{"step": steps // 2, "val": {figure: score}}, {"step": steps, "val": {figure: 0.1}}]
    lines.sort(key=lambda line: line["step"])
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = {
        "images": 2,
        figure: score - 0.01,
        "pixel_accuracy": 0.875,
        "boundary_f": 0.625,
        "model": f"/somewhere/{name}.safetensors",
        "per_image": [],
    }
    if classes > 1:
        report["per_class_iou"] = {"ground": 0.5, "sky": None, "sea": 0.25}
    (run / "test.json").write_text(json.dumps(report))
    model = weights.create_model(config.model)
    weights.save(run / f"{name}.safetensors", model, config.model)
    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, quick_compile: None) -> Path:
    """Two runs on labels `toys`, their pictures, and a document; the script has run on them."""
    folder = tmp_path_factory.mktemp("made")
    runs = [
        write_run(folder, "toy_far", steps=10, score=0.4),
        write_run(folder, "toy_near", steps=4, score=0.6),
    ]
    for stem in "abc":
        labels = np.repeat([[0] * 16 + [1] * 16 + [9] * 16], 32, axis=0).astype(np.uint8)
        write_image(folder / "toys" / "images" / f"{stem}.png", palette(3)[labels % 3])
        write_image(folder / "toys" / "labels" / f"{stem}.png", labels)
    (folder / "toys" / "test.txt").write_text("a\nb\nc\n")
    (folder / "docs" / "images").mkdir(parents=True)
    (folder / "docs" / "results.md").write_text(
        "# Text\n\n<!-- results: toys -->\nold\n<!-- /results -->\n\nmore\n\n"
        "<!-- results: other -->\nold\n<!-- /results -->\n"
    )
    options = ["--data", folder / "toys", "--root", folder, "--count", 2, "--device", "Toy 9000"]
    call("--runs", *runs, *options)
    return folder


def call(*arguments: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["results.py", *map(str, arguments)])
        results.main()


def rows(text: str) -> list[list[str]]:
    lines = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line] for line in lines]


def test_the_tables_stand_between_their_markers(made: Path) -> None:
    text = (made / "docs" / "results.md").read_text()
    assert text.startswith("# Text\n\n<!-- results: toys -->\n| model | encoder |")
    assert "old" not in text and "\n<!-- /results -->\n\nmore\n" in text
    assert text.endswith("<!-- results: other -->\n<!-- /results -->\n")


def test_costs_and_figures_are_those_of_the_runs_the_best_first(made: Path) -> None:
    near, far, *figures = rows((made / "docs" / "results.md").read_text())
    assert near[4:] == ["4 of 10", "16", "2.00", "Toy 9000"]
    assert far[4:] == ["10", "40", "5.00", "Toy 9000"]
    assert near[3].endswith(" at 32×32"), "the commonest size of a batch"
    assert figures[0][1:6] == ["60.0", "59.0", "", "87.5", "62.5"]
    assert figures[1][1:3] == ["40.0", "39.0"]
    assert figures[2][1:] == ["50.0", "", "25.0"]


def test_parameters_and_operations_are_the_networks(made: Path) -> None:
    from segjax.evaluation.architecture import count_parameters

    kept = json.loads((made / "docs" / "results" / "toy_far.json").read_text())
    model = weights.load(made / "toy_far" / "toy_far.safetensors", trainable=True).model
    assert kept["parameters"] == count_parameters(model)
    assert kept["flops"] > 2 * 16 * 16 * 4 * 4 * 9
    assert "/somewhere" not in json.dumps(kept), "no paths of the machine"


def test_without_runs_the_kept_files_give_the_same(made: Path) -> None:
    document, curves = made / "docs" / "results.md", made / "docs/images/results-toys-curves.png"
    before, pixels = document.read_text(), read_image(curves)
    document.write_text(before.replace("59.0", "99.9"))
    call("--root", made)
    assert document.read_text() == before
    np.testing.assert_array_equal(read_image(curves), pixels)


def test_the_grid_shows_photograph_truth_and_each_network(made: Path) -> None:
    grid = read_image(made / "docs" / "images" / "results-toys-pictures.png")
    height, width = results.CELL
    assert grid.shape[1] == 4 * width
    assert grid.shape[0] == 22 + 2 * height + 22
    row = grid[22 + height // 2, :, :]
    shown = {tuple(colour) for colour in row[width : 2 * width].tolist()}
    assert {tuple(colour) for colour in palette(2).tolist()} < shown, "the truth"
    predicted = {tuple(colour) for colour in row[2 * width :].tolist()}
    assert predicted <= {tuple(colour) for colour in [*palette(3).tolist(), [32] * 3]}


def test_masks_have_their_own_figures(tmp_path: Path) -> None:
    run = results.gather(write_run(tmp_path, "cells", steps=2, score=0.5, classes=1))
    text = results.renewed("<!-- results: toys -->\n<!-- /results -->", [run])
    assert (
        "| model | best mean IoU while training | mean IoU, test | data set's IoU, test |" in text
    )
    assert rows(text)[1][1:6] == ["50.0", "49.0", "", "87.5", "62.5"]
    assert rows(text)[0][-1] == "2 x toy", "as the log has it"


def test_public_figures_stand_beside_ours() -> None:
    run = {"data": "camvid", "model": {"decoder": "segnet"}, "reports": {}, "val": [[1, 0.5]]}
    assert rows(results.worth_table([run])) == [["`segnet`", "50.0", "42.5", "54.1"]]
    told = "".join(results.sources([run]))
    assert "from scratch: a public TensorFlow" in told and "ImageNet weights: GitLanx/" in told


def test_a_run_without_a_validation_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path, "early", steps=2, score=0.5, classes=1)
    (run / "log.jsonl").write_text('{"step": 1, "loss": 1, "step_ms": 5}\n')
    with pytest.raises(SegjaxError, match="early has no validation in its log"):
        results.gather(run)


def test_the_documentations_tables_are_made_of_the_kept_files() -> None:
    """Nothing between the markers is typed."""
    kept = [json.loads(path.read_text()) for path in sorted((ROOT / "docs/results").glob("*.json"))]
    text = (ROOT / "docs" / "results.md").read_text()
    assert results.renewed(text, kept) == text
