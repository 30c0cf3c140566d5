"""Small filters on maps float [h, w] or [h, w, C]."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

BAND = 16
"""Rows that `enlarge` makes at a time."""


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
    height, width, channels = x.shape
    rows, columns = _gaussian_matrix(height, sigma), _gaussian_matrix(width, sigma)
    planes = jnp.moveaxis(x, -1, 0).reshape(-1, width) @ columns.T
    planes = jnp.einsum("hr,crw->chw", rows, planes.reshape(channels, height, width))
    return jnp.moveaxis(planes, 0, -1)


def _gaussian_matrix(size: int, sigma: float) -> np.ndarray:
    distance = np.arange(size)[:, None] - np.arange(size)
    matrix = np.exp(-0.5 * (distance / sigma) ** 2)
    return (matrix / matrix.sum(1).max()).astype(np.float32)


def enlarge(x: jax.Array, height: int, width: int) -> jax.Array:
    """Bilinear upsampling of float32 [h, w, C], half-pixel centres, to uint8 [height, width, C].

    Values are in [0, 1], 1 becomes 255. Columns first, while there are few rows; then each row of
    bytes is one multiply-add of two contiguous rows.
    """
    channels = x.shape[2]
    left, right, across = _taps(x.shape[1], width)
    left, right = (
        (at[:, None] * channels + np.arange(channels)).reshape(-1) for at in (left, right)
    )
    across = np.repeat(across, channels)

    def widen(row: jax.Array) -> jax.Array:
        return row[left] + across * (row[right] - row[left])

    # Loops, because XLA would otherwise widen a row of the map anew for each row of the result.
    wide = lax.map(widen, 255 * jnp.clip(x, 0, 1).reshape(x.shape[0], -1))
    taps = [jnp.asarray(tap) for tap in _taps(x.shape[0], height)]
    size = min(BAND, height)

    def fill(band: jax.Array, out: jax.Array) -> jax.Array:
        # The last band overlaps the one before: bands are of one size, heights are not.
        start = jnp.minimum(band * size, height - size)
        top, bottom, down = (lax.dynamic_slice_in_dim(tap, start, size) for tap in taps)
        above, below = wide[top], wide[bottom]
        mixed = above + down[:, None] * (below - above)
        rows = (mixed + 0.5).astype(jnp.uint8)
        return lax.dynamic_update_slice_in_dim(out, rows, start, axis=0)

    out = jnp.zeros((height, width * channels), jnp.uint8)
    out = lax.fori_loop(0, -(-height // size), fill, out)
    return out.reshape(height, width, channels)


def _taps(size: int, enlarged: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each output: the two inputs that it lies between, and the share of the second."""
    place = np.clip((np.arange(enlarged) + 0.5) * size / enlarged - 0.5, 0, size - 1)
    first = np.floor(place).astype(np.int32)
    return first, np.minimum(first + 1, size - 1), (place - first).astype(np.float32)
