"""A network on pictures of any size, as released weights and training runs use it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from segjax.config import ModelConfig
from segjax.geometry import AREA, network_size
from segjax.prediction import PicturePredictor, decide, picture_area


class Scaled(nnx.Module):
    """Logits: the picture's first channels times one number."""

    multiple = 8

    def __init__(self, classes: int, factor: float):
        self.classes = classes
        self.factor = nnx.Param(jnp.asarray(factor, jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.factor[...] * x[..., : self.classes]


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def model(classes: int, factor: float = 5.0) -> Any:
    return Scaled(classes, factor)


@pytest.mark.parametrize("size", [(8, 16), (17, 31), (3, 90)])
@pytest.mark.parametrize("area", [0, 512])
@pytest.mark.parametrize("classes", [1, 3])
def test_probabilities_have_the_pictures_size(classes: int, area: int, size: tuple[int, int]):
    predict = PicturePredictor(model(classes), area=area)
    found = predict(picture(*size))
    assert (found.shape, found.dtype) == (size if classes == 1 else (*size, 3), np.float32)
    found[0, 0] = 0  # it is the caller's own
    assert 0 <= found.min() <= found.max() <= 1


def test_softmax_of_several_classes_and_sigmoid_of_one():
    pixels = picture(16, 32)
    logits = 5 * pixels.astype(np.float64) / 255
    powers = np.exp(logits)
    np.testing.assert_allclose(
        PicturePredictor(model(3))(pixels), powers / powers.sum(-1, keepdims=True), atol=1e-6
    )
    one = PicturePredictor(model(1))(pixels)
    np.testing.assert_allclose(one, powers[..., 0] / (1 + powers[..., 0]), atol=1e-6)


def test_other_weights_are_taken_without_compiling_anew(monkeypatch: pytest.MonkeyPatch):
    traced = []
    call = Scaled.__call__
    monkeypatch.setattr(Scaled, "__call__", lambda self, x: traced.append(x.shape) or call(self, x))
    predict = PicturePredictor(model(1, 5.0))
    bright = np.full((16, 32, 3), 255, np.uint8)
    np.testing.assert_allclose(predict(bright), 1 / (1 + np.exp(-5)), rtol=1e-6)
    predict.take(model(1, -2.0))
    np.testing.assert_allclose(predict(bright), 1 / (1 + np.exp(2)), rtol=1e-6)
    assert traced == [(1, 16, 32, 3)]


def test_what_finishes_gets_the_small_picture():
    def finish(found: jax.Array, small: jax.Array) -> jax.Array:
        return jnp.stack([found, small[..., 2]], axis=-1)

    pixels = np.full((30, 50, 3), 51, np.uint8)
    found = PicturePredictor(model(1), area=512, finish=finish)(pixels)
    assert found.shape == (30, 50, 2)
    np.testing.assert_allclose(found[..., 1], 0.2, atol=1e-6)


def test_a_picture_is_seen_at_its_own_size_or_at_an_area():
    assert PicturePredictor(model(1)).input_size(363, 3) == (368, 16)
    assert PicturePredictor(model(1)).input_size(363, 3, 0.5) == (176, 16)
    assert PicturePredictor(model(1), multiple=1).input_size(363, 3) == (360, 8)
    at_area = PicturePredictor(model(1), area=4096)
    for scale, area in ((1, 4096), (2, 4 * 4096)):
        seen = at_area.input_size(361, 480, scale)
        assert seen == network_size(361, 480, area=area, multiple=16)


@pytest.mark.parametrize(
    ("classes", "area", "expected"), [(1, None, AREA), (11, None, 0), (1, 0, 0), (11, 4096, 4096)]
)
def test_the_config_tells_the_area(classes: int, area: int | None, expected: int):
    config = ModelConfig(encoder="unet", decoder="unet", classes=classes, area=area)
    assert picture_area(config) == expected


def test_who_is_hardly_there_is_room_and_who_is_sure_stays() -> None:
    alpha = jnp.array([0.0, 1e-4, 0.25, 0.5, 0.75, 1 - 1e-4, 1.0, jnp.nan])
    # Odds of 1/3, 1 and 3 to the third power, halved: 1/54, 1/2 and 27/2.
    wanted = [0, 0, 1 / 55, 1 / 3, 27 / 29, 1, 1, np.nan]
    np.testing.assert_allclose(decide(alpha), wanted, atol=1e-6)
    assert (jnp.diff(decide(jnp.linspace(0, 1, 256))) >= 0).all()
