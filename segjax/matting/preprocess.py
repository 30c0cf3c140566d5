"""A frame of bytes → the small float picture that the network sees."""

import jax
import jax.numpy as jnp
import numpy as np


def shrink(frame: jax.Array, height: int, width: int) -> jax.Array:
    """Area-averages uint8 [H, W, C] to float32 [height, width, C] in [0, 1].

    Whole cells are summed as integers first, rows before columns: a sum of contiguous rows is what
    a CPU does fastest. What the whole factor leaves over is a small matrix product, exact to a
    cell. Where a side grows instead, it is interpolated bilinearly.
    """
    rows, columns = frame.shape[:2]
    if rows < height or columns < width:
        small = frame.astype(jnp.float32) / 255
        return jax.image.resize(small, (height, width, frame.shape[2]), "linear")
    down, across = rows // height, columns // width
    kind = jnp.uint16 if down * across * 255 < 2**16 else jnp.uint32
    cells = frame[: rows // down * down].reshape(rows // down, down, columns, -1)
    sums = cells[:, 0].astype(kind)
    for row in range(1, down):
        sums = sums + cells[:, row]
    sums = sums[:, : columns // across * across].reshape(
        rows // down, columns // across, across, -1
    )
    total = sums[:, :, 0]
    for column in range(1, across):
        total = total + sums[:, :, column]
    small = total.astype(jnp.float32) * (1 / (255 * down * across))
    if rows != down * height:
        small = jnp.einsum("hr,rwc->hwc", _overlaps(rows, down, height), small)
    if columns != across * width:
        small = jnp.einsum("wr,hrc->hwc", _overlaps(columns, across, width), small)
    return small


def _overlaps(size: int, factor: int, shrunk: int) -> np.ndarray:
    """float32 [shrunk, size // factor]: the share of each cell in each output's interval."""
    cells = np.arange(size // factor) * factor
    starts = np.arange(shrunk) * (size / shrunk)
    ends = np.minimum(starts[:, None] + size / shrunk, cells + factor)
    shares = np.maximum(0, ends - np.maximum(starts[:, None], cells))
    return (shares / shares.sum(1, keepdims=True)).astype(np.float32)
