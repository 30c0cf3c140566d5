"""Small filters on maps float [h, w] or [h, w, C]."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def box(x: jax.Array, radius: int) -> jax.Array:
    """The mean of the window of side 2 × `radius` + 1; edges repeat."""
    side, (height, width), channels = 2 * radius + 1, x.shape[:2], x[0, 0].size
    pad = [(radius, radius)] * 2 + [(0, 0)] * (x.ndim - 2)
    # A row of pixels is one row of numbers: shifts along it are contiguous, whatever the channels.
    rows = jnp.pad(x, pad, mode="edge").reshape(height + side - 1, -1)
    total = rows[:height]
    for shift in range(1, side):
        total = total + rows[shift : shift + height]
    rows, total = total, total[:, : width * channels]
    for start in range(channels, side * channels, channels):
        total = total + rows[:, start : start + width * channels]
    return (total * (1 / side**2)).reshape(x.shape)


def gaussian(x: jax.Array, sigma: float) -> jax.Array:
    """Gaussian blur of [h, w, C] with standard deviation `sigma` in pixels.

    Outside the map there is nothing, so blurred weights and blurred values fall off alike and
    their quotient does not. Matrix products: for wide kernels on small maps nothing is faster.
    """
    rows, columns = _gaussian_matrix(x.shape[0], sigma), _gaussian_matrix(x.shape[1], sigma)
    return jnp.einsum("wr,hrc->hwc", columns, jnp.einsum("hr,rwc->hwc", rows, x))


def _gaussian_matrix(size: int, sigma: float) -> np.ndarray:
    distance = np.arange(size)[:, None] - np.arange(size)
    matrix = np.exp(-0.5 * (distance / sigma) ** 2)
    return (matrix / matrix.sum(1).max()).astype(np.float32)


def enlarge(x: jax.Array, height: int, width: int) -> jax.Array:
    """Bilinear upsampling of float32 [h, w, C], half-pixel centres, to uint8 [height, width, C].

    Values are in [0, 1], 1 becomes 255. Columns first, while there are few rows; then each row of
    bytes is one multiply-add of two contiguous rows.
    """
    top, bottom, down = _taps(x.shape[0], height)
    left, right, across = _taps(x.shape[1], width)
    across = across[None, :, None]
    wide = 255 * (x[:, left] * (1 - across) + x[:, right] * across)
    wide = wide.reshape(x.shape[0], -1)

    def row(taps: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        first, second, share = taps
        mixed = wide[first] + share * (wide[second] - wide[first])
        return jnp.clip(jnp.round(mixed), 0, 255).astype(jnp.uint8)

    rows = lax.map(row, (jnp.asarray(top), jnp.asarray(bottom), jnp.asarray(down)))
    return rows.reshape(height, width, x.shape[2])


def _taps(size: int, enlarged: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each output: the two inputs that it lies between, and the share of the second."""
    place = np.clip((np.arange(enlarged) + 0.5) * size / enlarged - 0.5, 0, size - 1)
    first = np.floor(place).astype(np.int32)
    return first, np.minimum(first + 1, size - 1), (place - first).astype(np.float32)
