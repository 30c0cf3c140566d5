"""`segjax describe`: what it prints and reports, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from segjax import cli, weights
from segjax.config import ModelConfig
from segjax.models import shapes_of

pytestmark = pytest.mark.usefixtures("quick_compile")

TINY = ModelConfig(
    encoder="hybrid",
    decoder="skip_aspp",
    encoder_options={"widths": (8, 8, 8), "depths": (0, 0), "expanded": 8, "dilations": (2,)},
    decoder_options={"branch": 8, "rates": (2,), "widths": (8, 8)},
)


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(["describe", *map(str, arguments)])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("describe") / "tiny.safetensors"
    weights.save(path, weights.create_model(TINY), TINY)
    return path


def test_a_model_s_report_adds_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    options = ("--size", "64x96", "--classes", "5", "--no-latency", "--no-receptive-field")
    assert run("segformer", *options, "--report", report) == 0
    found: dict[str, Any] = json.loads(report.read_text())
    assert found["size"] == [64, 96]
    assert found["model"]["encoder"] == "mit_b0"
    assert sum(part["parameters"] for part in found["parts"]) == found["parameters"]
    assert sum(part["macs"] for part in found["parts"]) == found["macs"] == found["flops"] / 2
    parts = {part["name"]: part for part in found["parts"]}
    assert parts["decoder.classifier"] == {
        "name": "decoder.classifier",
        "shapes": [[16, 24, 5]],
        "parameters": 256 * 5 + 5,
        "macs": 16 * 24 * 256 * 5,
    }
    assert parts["encoder.stages.3"]["shapes"] == [[2, 3, 256]]
    assert "receptive_field" not in found and "median_ms" not in found
    out = capsys.readouterr().out
    assert "decoder.classifier" in out and "16×24×5" in out
    assert f"{found['parameters']:,}" in out


def test_released_weights_are_described_and_measured(
    released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr("segjax.evaluation.architecture.STRIP", (64, 16))
    report = tmp_path / "report.json"
    assert run(released, "--size", "32x48", "--report", report) == 0
    found = json.loads(report.read_text())
    assert found["runs"] >= 5
    assert 0 < found["p20_ms"] <= found["median_ms"] <= found["p80_ms"]
    assert found["temporary_bytes"] > 0
    assert found["receptive_field"] is None  # its decoder pools the whole map
    model = shapes_of(lambda: weights.create_model(TINY))
    assert found["weight_bytes"] < 4 * (found["parameters"] + 32 * 48 * 3)  # norms are folded
    assert found["parts"][0]["shapes"] == [[32 // 4, 48 // 4, model.encoder.info.channels[0]]]
    out = capsys.readouterr().out
    assert "the whole picture" in out and "latency, median of" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["crf"], "crf is neither a model nor weights; models are "),
        (["mit_b0"], "give a model and --encoder mit_b0"),
        (["segformer", "--size", "512"], "--size is '512'; it must be height x width"),
        (["segformer", "--encoder", "lenet"], "encoder: got 'lenet'; known are"),
        (["skip_aspp", "--size", "30x32"], "multiples of 16; 32x32 would fit"),
        (["segformer", "--encoder", "hybrid"], "needs features at strides 4, 8, 16, 32"),
        (["segformer", "--output-stride", "8"], "output_stride: got 8; 32 is built"),
    ],
)
def test_mistakes_are_explained(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    assert words in capsys.readouterr().err


def test_released_weights_keep_their_network(
    released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(released, "--classes", "3") == 2
    assert "--classes cannot change" in capsys.readouterr().err
