"""A frame of bytes → the small float picture that the network sees."""

import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def shrink(frame: jax.Array, height: int, width: int) -> jax.Array:
    """Area-averages uint8 [H, W, C] to float32 [height, width, C] in [0, 1], exactly.

    Where a side grows instead, it is interpolated bilinearly.
    """
    rows, columns, channels = frame.shape
    if rows < height or columns < width:
        small = frame.astype(jnp.float32) / 255
        return jax.image.resize(small, (height, width, channels), "linear")
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

    # Both are loops, because XLA would otherwise do each step anew for every use of the next one.
    def sums(cells: jax.Array) -> jax.Array:
        """uint8 [1, down, n] → [1, n]: the sum of the cell that begins at each place.

        The first axis is there for XLA, which vectorises this over two axes but not over one.
        """
        total = _sum([cells[:, at].astype(kind) for at in range(down)])
        total = _sum([total[:, at * channels :][:, :used] for at in range(across)])
        return jnp.pad(total, ((0, 0), (0, columns * channels - used)))

    def means(row: jax.Array) -> jax.Array:
        cells = row.reshape(columns // across, -1)[:, :channels]
        return cells.astype(jnp.float32) * (1 / (255 * down * across))

    return lax.map(means, lax.map(sums, frame.reshape(rows // down, 1, down, -1)))


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
