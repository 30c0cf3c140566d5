"""`preprocess` through XLA: loops over rows on a CPU, the reference's matrix products elsewhere."""

import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from segjax_kernels.dispatch import by_platform
from segjax_kernels.preprocess import reference


def preprocess(
    frames: jax.Array, *, size: tuple[int, int], dtype: jax.typing.DTypeLike, **_
) -> jax.Array:
    """See `api.preprocess`; uint8 [N, H, W, 3] → [N, h, w, 3]."""
    multiply = functools.partial(reference.preprocess, size=size, dtype=dtype)
    if size[0] > frames.shape[1] or size[1] > frames.shape[2]:  # a tiny frame
        return multiply(frames)

    def average(frames: jax.Array) -> jax.Array:
        one = functools.partial(_average, height=size[0], width=size[1])
        small = one(frames[0])[None] if frames.shape[0] == 1 else lax.map(one, frames)
        return small.astype(dtype)

    return by_platform(frames, cpu=average, default=multiply)


def _average(frame: jax.Array, height: int, width: int) -> jax.Array:
    """uint8 [H, W, C] → float32 [height, width, C] in [0, 1]."""
    rows, columns, channels = frame.shape
    if rows % height == 0 and columns % width == 0:
        return _average_cells(frame, rows // height, columns // width)
    # Rows first: they are contiguous, and what is left to turn for the columns is small.
    average = _average_rows(frame.reshape(rows, -1), height)
    turned = average.reshape(height, columns, channels).swapaxes(0, 1)
    average = _average_rows(turned.reshape(columns, -1), width)
    return average.reshape(width, height, channels).swapaxes(0, 1) * (1 / 255)


def _average_cells(frame: jax.Array, down: int, across: int) -> jax.Array:
    """The means of cells of whole pixels, summed as integers, rows before columns."""
    rows, columns, channels = frame.shape
    kind = jnp.uint16 if down * across * 255 < 2**16 else jnp.uint32
    used = (columns - across + 1) * channels

    # A loop, because XLA would otherwise add up the rows anew for each place in a cell.
    def means(cells: jax.Array) -> jax.Array:
        """uint8 [1, down, n] → float32 [n / across / channels, channels].

        The first axis is there for XLA, which vectorises this over two axes but not over one.
        """
        total = _sum([cells[:, at].astype(kind) for at in range(down)])
        total = _sum([total[:, at * channels :][:, :used] for at in range(across)])
        # The sum of the cell that begins at each place; then those that are wanted.
        total = jnp.pad(total, ((0, 0), (0, columns * channels - used)))
        cells = lax.optimization_barrier(total).reshape(columns // across, -1)[:, :channels]
        return cells.astype(jnp.float32) * (1 / (255 * down * across))

    return lax.map(means, frame.reshape(rows // down, 1, down, -1))


def _sum(parts: list[jax.Array]) -> jax.Array:
    return functools.reduce(operator.add, parts)


def _average_rows(x: jax.Array, count: int) -> jax.Array:
    """[n, m] → float32 [count, m]: the means of intervals of n / count rows.

    An interval begins within a row, holds some whole ones, and ends within one of the next two.
    """
    step = x.shape[0] / count
    whole = x.shape[0] // count - 1
    first = np.arange(count) * x.shape[0] // count
    head = first + 1 - np.arange(count) * step
    rest = step - head - whole
    shares = np.stack([head, np.clip(rest, 0, 1), np.clip(rest - 1, 0, 1)], 1) / step
    kind = jnp.uint16 if x.dtype == jnp.uint8 and whole * 255 < 2**16 else jnp.float32

    def row(at: jax.Array) -> jax.Array:
        # Beyond the last row the index is clamped, and the share is 0.
        return lax.dynamic_index_in_dim(x, at, keepdims=False).astype(jnp.float32)

    def average(place: tuple[jax.Array, jax.Array]) -> jax.Array:
        start, share = place
        end = start + whole + 1
        total = share[0] * row(start) + share[1] * row(end) + share[2] * row(end + 1)
        if whole:
            inside = lax.dynamic_slice_in_dim(x, start + 1, whole)
            middle = inside[0].astype(kind)
            for at in range(1, whole):
                middle = middle + inside[at]
            total = total + middle.astype(jnp.float32) * (1 / step)
        return total

    return lax.map(average, (jnp.asarray(first), jnp.asarray(shares, jnp.float32)))
