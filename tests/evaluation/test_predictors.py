"""What a picture becomes on its way through our own networks and through foreign ones."""

import builtins
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx
from tiny_onnx import MEAN, mean, network

from segjax.errors import SegjaxError
from segjax.evaluation import predictors
from segjax.evaluation.predictors import ReleasedPredictor, load_predictor
from segjax.geometry import network_size

SIZES = [(16, 16), (17, 31), (90, 16), (37, 101)]


def save(folder: Path, data: bytes) -> str:
    path = folder / "net.onnx"
    path.write_bytes(data)
    return str(path)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


class Brightness(nnx.Module):
    """Logits that are 0 at a mid grey; notes the shapes that it is compiled for in SEEN."""

    def __call__(self, x: jax.Array) -> jax.Array:
        SEEN.append(x.shape)
        return 20 * (x.mean(axis=-1, keepdims=True) - 0.5)


SEEN: list[tuple[int, ...]] = []


def released(classes: int = 1) -> Any:
    config = SimpleNamespace(classes=classes)
    return SimpleNamespace(name="brightness", config=config, model=Brightness())


def test_the_kept_onnx_file_is_what_its_function_writes():
    assert MEAN.read_bytes() == mean()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["ours", "onnx"])
def test_alpha_has_the_pictures_size(kind: str, size: tuple[int, int]):
    predict = ReleasedPredictor(released()) if kind == "ours" else load_predictor(str(MEAN))
    pixels = picture(*size)
    alpha = predict(pixels)
    assert alpha.shape == size
    assert alpha.dtype == np.float32
    assert 0 <= alpha.min() <= alpha.max() <= 1
    np.testing.assert_array_equal(predict(pixels), alpha)  # nothing is remembered


def test_our_network_sees_the_pictures_own_aspect():
    SEEN.clear()
    predict = ReleasedPredictor(released())
    for _ in range(2):
        predict(picture(120, 40))
    assert [(1, *network_size(120, 40), 3)] == SEEN, "compiled once, at the picture's aspect"


def test_weights_of_several_classes_are_refused():
    with pytest.raises(SegjaxError, match="brightness tells 11 classes apart"):
        ReleasedPredictor(released(classes=11))


@pytest.mark.parametrize("kind", ["ours", "onnx"])
def test_the_mask_lies_where_the_person_is(kind: str):
    predict = ReleasedPredictor(released()) if kind == "ours" else load_predictor(str(MEAN))
    pixels = np.zeros((96, 160, 3), np.uint8)
    pixels[30:, 50:110] = 255
    inside, person = predict(pixels) > 0.5, pixels[..., 0] > 0
    # The small grid of 16x32 moves an edge by at most half of its 5x6 pixels.
    assert (inside & person).sum() / (inside | person).sum() > 0.9
    np.testing.assert_allclose(predict(np.full((40, 40, 3), 51, np.uint8)).std(), 0, atol=1e-6)


def test_a_constant_picture_gives_the_networks_own_number():
    predict = load_predictor(str(MEAN))
    np.testing.assert_allclose(predict(np.full((33, 47, 3), 51, np.uint8)), 0.2, atol=1e-6)


def test_colours_come_as_rgb(tmp_path: Path):
    red = np.array([[1], [0], [0]], np.float32)
    predict = load_predictor(save(tmp_path, network("MatMul", red, (1, 8, 8, 3), (1, 8, 8, 1))))
    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels[..., 0] = 255
    np.testing.assert_allclose(predict(pixels), 1)
    np.testing.assert_allclose(predict(pixels[..., ::-1]), 0)


@pytest.mark.parametrize("channels_first", [False, True])
def test_two_channels_are_logits_of_room_and_person(tmp_path: Path, channels_first: bool):
    weights = np.array([[0.0, 2.0], [0.0, 0.0], [1.0, 0.0]], np.float32)
    if channels_first:
        conv = np.ascontiguousarray(weights.T[..., None, None])
        data = network("Conv", conv, (1, 3, 8, 12), (1, 2, 8, 12))
    else:
        data = network("MatMul", weights, (1, 8, 12, 3), (1, 8, 12, 2))
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[...] = (255, 0, 51)
    alpha = load_predictor(save(tmp_path, data))(pixels)
    np.testing.assert_allclose(alpha, 1 / (1 + np.exp(0.2 - 2)), rtol=1e-5)


def test_logits_of_any_size_do_not_overflow(tmp_path: Path):
    weights = np.array([[-1e30, 1e30]] + [[0, 0]] * 2, np.float32)
    data = network("MatMul", weights, (1, 8, 8, 3), (1, 8, 8, 2))
    np.testing.assert_array_equal(
        load_predictor(save(tmp_path, data))(np.full((16, 16, 3), 255, np.uint8)), 1
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is not an ONNX network"),
        (b"not a network\n", "is not an ONNX network"),
        (mean()[:100], "is not an ONNX network"),
        (
            network("MatMul", np.ones((4, 1), np.float32), (1, 8, 8, 4), (1, 8, 8, 1)),
            "takes tensor(float) [1, 8, 8, 4]",
        ),
        (
            network("MatMul", np.ones((3, 1), np.float32), (1, "h", "w", 3), (1, "h", "w", 1)),
            "with fixed sides",
        ),
        (
            network("MatMul", np.ones((3, 1), np.float64), (1, 8, 8, 3), (1, 8, 8, 1), kind=11),
            "takes tensor(double)",
        ),
        (
            network("MatMul", np.ones((3, 5), np.float32), (1, 8, 8, 3), (1, 8, 8, 5)),
            "gives [1, 8, 8, 5]",
        ),
    ],
    ids=["empty", "text", "truncated", "four channels", "any size", "double", "five classes"],
)
def test_a_file_of_another_form_is_refused_in_one_line(tmp_path: Path, data: bytes, words: str):
    with pytest.raises(SegjaxError) as caught:
        load_predictor(save(tmp_path, data))
    assert words in str(caught.value)
    assert "net.onnx" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named():
    with pytest.raises(SegjaxError, match=r"nowhere\.onnx does not exist"):
        load_predictor("nowhere.onnx")


def test_without_onnxruntime_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def without(name: str, *args, **kwargs):
        if name == "onnxruntime":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SegjaxError, match=r'pip install "segjax\[onnx\]"'):
        load_predictor(str(MEAN))


def test_only_the_suffix_decides_what_kind_a_model_is():
    assert predictors.is_onnx("Net.ONNX")
    assert not predictors.is_onnx("portrait")
