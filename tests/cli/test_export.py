"""A network in a file that needs no segjax."""

import builtins
import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from tiny_model import TINY

import segjax
from segjax import weights
from segjax.cli import main
from segjax.evaluation.predictors import OnnxPredictor


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small network of three classes."""
    path = tmp_path_factory.mktemp("several") / "several.safetensors"
    config = dataclasses.replace(TINY, classes=3)
    weights.save(path, weights.create_model(config), config)
    return path


def export(*arguments: str | Path) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(["export", *map(str, arguments)])
    return ended.value.code


def test_portrait_as_onnx_is_the_network(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "portrait.onnx"
    assert export("portrait", "--out", out) == 0
    assert "[1, 176, 304, 3] to [1, 176, 304, 1]" in capsys.readouterr().out
    facts = {fact.key: fact.value for fact in onnx.load(out).metadata_props}
    assert "Non-commercial" in facts["licence"] and facts["name"] == "portrait"

    picture = np.random.default_rng(0).integers(0, 256, (176, 304, 3), np.uint8)
    image = jnp.asarray(picture[None], jnp.float32) / 255
    model = segjax.load("portrait").model
    wanted = jax.nn.sigmoid(jax.jit(lambda x: model(x))(image))[0, ..., 0]
    # By the very class that `segjax evaluate` has for anybody's ONNX file.
    np.testing.assert_allclose(OnnxPredictor(str(out))(picture), wanted, atol=1e-4)


def test_several_classes_with_channels_first(several: Path, tmp_path: Path) -> None:
    out = tmp_path / "several.onnx"
    assert export(several, "--size", "32x48", "--layout", "nchw", "--out", out) == 0
    picture = np.random.default_rng(1).integers(0, 256, (32, 48, 3), np.uint8)
    logits = weights.load(several).model(jnp.asarray(picture[None], jnp.float32) / 255)
    predictor = OnnxPredictor(str(out))
    assert predictor.classes == 3
    np.testing.assert_allclose(predictor(picture), jax.nn.softmax(logits)[0], atol=1e-4)


def test_stablehlo_is_called_without_the_network(several: Path, tmp_path: Path) -> None:
    out = tmp_path / "several.stablehlo"
    assert export(several, "--size", "32x48", "--out", out) == 0
    image = jnp.asarray(np.random.default_rng(2).random((1, 32, 48, 3), np.float32))
    program = jax.export.deserialize(bytearray(out.read_bytes()))
    assert program.platforms == ("cpu", "cuda", "tpu")
    wanted = weights.load(several).model(image)
    np.testing.assert_allclose(program.call(image), wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["portrait", "--out", "net.tflite"], "name it .onnx or .stablehlo"),
        (
            ["portrait", "--out", "net.onnx", "--size", "100x100"],
            "multiples of 16; 96x96 would fit",
        ),
        (["portrait", "--out", "net.onnx", "--size", "144"], "it must be height x width"),
        (["nobody", "--out", "net.onnx"], "nobody is neither installed weights nor a file"),
        (["SEVERAL", "--out", "net.onnx"], "has 3 classes and no usual size; give --size"),
        (["portrait", "--out", "file/net.onnx"], "cannot write"),
    ],
)
def test_mistakes(
    several: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    arguments: list[str],
    problem: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("no folder")
    assert export(*(str(several) if part == "SEVERAL" else part for part in arguments)) == 2
    assert problem in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_without_onnx_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    real = builtins.__import__

    def no_onnx(name, *rest):
        if name.partition(".")[0] == "onnxruntime":
            raise ImportError(name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", no_onnx)
    assert export("portrait", "--out", tmp_path / "net.onnx") == 2
    assert 'needs onnxruntime, which is not installed; run pip install "segjax[onnx]"' in (
        capsys.readouterr().err
    )


def test_another_mask_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from segjax.interop import onnx_graph

    monkeypatch.setitem(onnx_graph.ELEMENTWISE, "logistic", "Tanh")
    assert export("portrait", "--out", tmp_path / "net.onnx") == 2
    assert "gives another mask" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
