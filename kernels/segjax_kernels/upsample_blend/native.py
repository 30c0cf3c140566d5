"""`upsample_blend` in C, on a CPU whose library is built: the integers of `xla.py`, row by row."""

from typing import Any

import jax
import numpy as np

from segjax_kernels import cpu
from segjax_kernels.upsample_blend import reference, xla


def upsample_blend(
    frame: jax.Array,
    alpha: jax.Array,
    background: jax.Array | None = None,
    *,
    faint: float = 0.0,
    **_,
) -> jax.Array:
    """See `api.upsample_blend`; every array has a leading axis of N, or of 1 for all."""
    height, width = frame.shape[1:3]
    operands = [frame, *map_of(alpha[..., None], height, width)]
    operands += behind_of(background, height, width)
    count = max(array.shape[0] for array in (frame, alpha, background) if array is not None)
    shape = (count, height, width, 4 if background is None else 3)
    out = jax.ShapeDtypeStruct(shape, np.uint8)
    least, gain = xla.fading(faint) if faint else (0, 0)
    return cpu.call("upsample_blend", out, *operands, least=least, gain=gain)


def behind_of(background: jax.Array | None, height: int, width: int) -> list[Any]:
    """The operands of what is behind."""
    if background is not None and background.dtype == np.float32:
        return map_of(background, height, width)
    return [] if background is None else [background]


def map_of(small: jax.Array, height: int, width: int) -> list[Any]:
    """A map float32 [N, h, w, C] and where each row and column of the frame lies in it."""
    rows, down = reference.taps(height, small.shape[1])
    columns, right = reference.taps(width, small.shape[2])
    return [small, rows, xla.row_weights(down), columns, xla.column_weights(right)]
