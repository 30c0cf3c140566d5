"""A network whose mask is known, moving cut-outs, and oracles in float64."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from segjax.config import ModelConfig
from segjax.matting.step import mask_size
from segjax.models import Segmenter
from segjax.weights import Released

PERSON, ROOM = (230, 60, 40), (20, 70, 160)


class RedIsPerson(Segmenter):
    """Logits of who is red; a white picture breaks it."""

    def __init__(self) -> None:
        self.gain = nnx.Param(jnp.float32(20))

    def __call__(self, x: jax.Array) -> jax.Array:
        broken = jnp.where(x.mean() > 0.99, np.nan, 0)
        return self.gain[...] * (x[..., :1] - 0.5) + broken


def released(area: int | None = None) -> Released:
    return Released("red", RedIsPerson(), ModelConfig("none", "none", area=area), {})


def scene(height: int, width: int, x: float = 0.5, seed: int = 0) -> np.ndarray:
    """A noisy frame uint8 [H, W, 3]: a red disc at the share `x` of the width, in a blue room."""
    noise = np.random.default_rng(seed).normal(0, 4, (height, width, 3))
    red = disc(height, width, x * width)[..., None]
    return np.clip(red * PERSON + (1 - red) * ROOM + noise, 0, 255).astype(np.uint8)


def disc(height: int, width: int, x: float, radius: float | None = None) -> np.ndarray:
    """The alpha float32 [height, width] of a disc with its centre at column `x`."""
    rows, columns = np.mgrid[:height, :width]
    away = np.hypot(rows - height / 2, columns - x)
    radius = min(height, width) / 4 if radius is None else radius
    return np.clip(radius - away + 0.5, 0, 1).astype(np.float32)


def area_weights(size: int, shrunk: int) -> np.ndarray:
    """float64 [shrunk, size]: the share of each pixel in each output's interval."""
    edges = np.arange(shrunk + 1) * (size / shrunk)
    pixels = np.arange(size)
    upper = np.minimum(edges[1:, None], pixels + 1)
    lower = np.maximum(edges[:-1, None], pixels)
    return np.maximum(0, upper - lower) * (shrunk / size)


def bilinear_weights(size: int, enlarged: int) -> np.ndarray:
    """float64 [enlarged, size], half-pixel centres, edges repeated."""
    place = np.clip((np.arange(enlarged) + 0.5) * size / enlarged - 0.5, 0, size - 1)
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(size)))


def resized(x: np.ndarray, height: int, width: int, weights=bilinear_weights) -> np.ndarray:
    """x [h, w, …] → float64 [height, width, …]."""
    rows, columns = weights(x.shape[0], height), weights(x.shape[1], width)
    return np.einsum("hr,wc,rc...->hw...", rows, columns, x.astype(np.float64), optimize=True)


def faded(alpha: np.ndarray) -> np.ndarray:
    """The alpha that is shown: without what is faint."""
    return np.maximum(alpha - 0.05, 0) / 0.95


def mask_shape(frame: np.ndarray) -> tuple[int, int]:
    return mask_size(*frame.shape[:2])
