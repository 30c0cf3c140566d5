"""What a picture becomes on its way through our own networks and through foreign ones."""

import builtins
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jax
import numpy as np
import pytest
from flax import nnx
from tiny_onnx import COLOURS, MEAN, colours, mean, network

from segjax.errors import SegjaxError
from segjax.evaluation import predictors
from segjax.evaluation.predictors import ReleasedPredictor, load_predictor, refine
from segjax.geometry import network_size

pytestmark = pytest.mark.usefixtures("quick_compile")

SIZES = [(16, 16), (17, 31), (90, 16), (37, 101)]


def save(folder: Path, data: bytes) -> str:
    path = folder / "net.onnx"
    path.write_bytes(data)
    return str(path)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


class Brightness(nnx.Module):
    """Logits that are 0 at a mid grey; notes the shapes that it is compiled for in SEEN."""

    multiple = 16

    def __call__(self, x: jax.Array) -> jax.Array:
        SEEN.append(x.shape)
        return 20 * (x.mean(axis=-1, keepdims=True) - 0.5)


class Fake:
    """A predictor of any function."""

    name, multiple = "fake", 1

    def __init__(self, predict: Any) -> None:
        self._predict = predict

    def of_tiles(self) -> "Fake":
        return self

    def __call__(self, pixels: np.ndarray, scale: float = 1.0) -> np.ndarray:
        return self._predict(pixels)


SEEN: list[tuple[int, ...]] = []


class Colours(nnx.Module):
    """Logits of three classes: red, green, blue."""

    multiple = 8

    def __call__(self, x: jax.Array) -> jax.Array:
        SEEN.append(x.shape)
        return 5 * x


def released(classes: int = 1, area: int | None = None) -> Any:
    config = SimpleNamespace(classes=classes, area=area)
    model = Colours() if classes > 1 else Brightness()
    return SimpleNamespace(name="tiny", config=config, model=model, info={})


def test_the_kept_onnx_files_are_what_their_functions_write():
    assert MEAN.read_bytes() == mean()
    assert COLOURS.read_bytes() == colours()


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
            network("MatMul", np.ones((3, 256), np.float32), (1, 8, 8, 3), (1, 8, 8, 256)),
            "gives [1, 8, 8, 256]",
        ),
    ],
    ids=["empty", "text", "truncated", "four channels", "any size", "double", "256 classes"],
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


# --- several classes ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels_first", [None, False, True])
def test_several_classes_give_probabilities(
    tmp_path: Path, size: tuple[int, int], channels_first: bool | None
):
    """Of our network (None) and of foreign ones that have their channels last or first."""
    if channels_first is None:
        predict = ReleasedPredictor(released(3))
    else:
        weights = 5 * np.eye(3, dtype=np.float32)
        if channels_first:
            data = network("Conv", weights[..., None, None], (1, 3, 24, 24), (1, 3, 24, 24))
        else:
            data = network("MatMul", weights, (1, 24, 24, 3), (1, 24, 24, 3))
        predict = load_predictor(save(tmp_path, data))
    assert predict.classes == 3
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[:, : size[1] // 2, 0] = pixels[:, size[1] // 2 :, 2] = 255
    found = predict(pixels)
    assert (found.shape, found.dtype) == ((*size, 3), np.float32)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    likely = np.exp(5) / (np.exp(5) + 2)
    assert found[0, 0].argmax() == 0 and found[-1, -1].argmax() == 2
    np.testing.assert_allclose(found[0, 0, 0], likely, rtol=1e-3)


@pytest.mark.parametrize("classes", [1, 3])
def test_a_network_without_an_area_sees_the_picture_as_it_is(classes: int):
    SEEN.clear()
    pixels = picture(100, 62)
    ReleasedPredictor(released(classes, area=0))(pixels)
    multiple = 16 if classes == 1 else 8
    assert [(1, *(round(side / multiple) * multiple for side in (100, 62)), 3)] == SEEN


def test_one_class_at_its_own_size_is_the_sigmoid():
    pixels = picture(32, 48)
    logits = 20 * (pixels.mean(-1) / 255 - 0.5)
    found = ReleasedPredictor(released(area=0))(pixels)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), atol=1e-4)


# --- more views ---------------------------------------------------------------------------------


def test_nothing_more_is_the_network_itself():
    predict = ReleasedPredictor(released(3))
    assert refine(predict) is predict


def test_views_of_a_network_without_context_agree():
    """What looks at each pixel alone says the same in a window, mirrored and enlarged."""
    predict = ReleasedPredictor(released(3))
    pixels = np.repeat(np.repeat(picture(4, 6), 8, axis=0), 8, axis=1)
    whole = predict(pixels)
    np.testing.assert_allclose(refine(predict, window=(16, 24))(pixels), whole, atol=1e-5)
    np.testing.assert_allclose(refine(predict, flip=True)(pixels), whole, atol=1e-5)
    twice = refine(predict, scales=(1.0, 2.0), flip=True)(pixels)
    inner = np.s_[3::8, 3::8]  # between two pixels enlarging mixes them
    np.testing.assert_allclose(twice[inner], whole[inner], atol=1e-5)
    np.testing.assert_allclose(twice.sum(-1), 1, atol=1e-5)


def test_flipping_averages_with_the_mirrored_picture():
    columns = np.tile(np.arange(7, dtype=np.float32), (4, 1))
    predict: Any = Fake(lambda _: columns)
    predict = refine(predict, flip=True)
    np.testing.assert_allclose(predict(picture(4, 7)), 3)


def test_the_network_sees_each_scale_once():
    for area, sizes in (
        (None, [(16, 32), (32, 48), (48, 64)]),
        (32 * 48, [(16, 16), (32, 48), (48, 80)]),
    ):
        SEEN.clear()
        predict = ReleasedPredictor(released(3, area))
        refine(predict, scales=(0.5, 1.0, 1.5), flip=True)(picture(32, 48))
        assert [shape[1:3] for shape in SEEN] == sizes


def test_windows_are_seen_at_their_own_size_by_a_network_that_sees_pictures_at_an_area():
    SEEN.clear()
    predict = ReleasedPredictor(released(3, area=16 * 16))
    refine(predict, window=(24, 40))(picture(48, 80))
    assert {shape[1:3] for shape in SEEN} == {(24, 40)}


def test_scales_of_windows_are_the_pictures():
    SEEN.clear()
    pixels = picture(32, 48)
    found = refine(ReleasedPredictor(released(3)), window=(16, 16), scales=(0.5, 2.0))(pixels)
    assert found.shape == pixels.shape
    assert {shape[1:3] for shape in SEEN} == {(16, 16)}


def test_a_crf_has_the_last_word_of_labels_and_of_alphas(monkeypatch: pytest.MonkeyPatch):
    """A mask is given to it as two labels. What it does itself is tested where it stands."""
    from segjax import postprocess

    asked = []

    def swap(probabilities: np.ndarray, pixels: np.ndarray, crf: object) -> np.ndarray:
        asked.append((pixels, crf))
        return probabilities[..., ::-1]

    monkeypatch.setattr(postprocess, "dense_crf", swap)
    pixels, crf = picture(4, 6), postprocess.DenseCRF(iterations=3)
    labels, alpha = np.full((4, 6, 3), (0.1, 0.2, 0.7)), np.full((4, 6), 0.3)
    drawn = [refine(cast(Any, Fake(lambda _, f=f: f)), crf=crf)(pixels) for f in (labels, alpha)]
    np.testing.assert_array_equal(drawn[0], labels[..., ::-1])
    np.testing.assert_allclose(drawn[1], 0.7)
    assert all(one is pixels and other is crf for one, other in asked)


@pytest.mark.parametrize(
    ("network", "ways", "words"),
    [
        (1, {"window": (16, 20)}, "windows of 16 20; tiny takes sides that are multiples of 16"),
        (3, {"window": (0, 8)}, "multiples of 8"),
        (3, {"scales": (1.0, 0.0)}, "above 0"),
        (3, {"scales": ()}, "above 0"),
    ],
)
def test_views_that_do_not_fit_are_refused(network: int, ways: dict[str, Any], words: str):
    with pytest.raises(SegjaxError, match=words):
        refine(ReleasedPredictor(released(network)), **ways)
