"""`guided_upsample_blend` in C, on a CPU whose library is built: the integers of `xla.py`."""

from typing import Any

import jax
import numpy as np

from segjax_kernels import cpu
from segjax_kernels.guided_upsample_blend import reference, xla
from segjax_kernels.upsample_blend import native as plain
from segjax_kernels.upsample_blend.reference import taps
from segjax_kernels.upsample_blend.xla import column_weights


def guided_upsample_blend(
    frame: jax.Array,
    slope: jax.Array,
    offset: jax.Array,
    *pictures: jax.Array,
    transparent: bool,
    faint: float = 0.0,
    **_: Any,
) -> jax.Array:
    """See `reference.guided_upsample_blend`; without a room to take out.

    Raises:
      NotImplementedError: with one, or the library is not built.
    """
    if len(pictures) > (not transparent):
        raise NotImplementedError("implementation='c' takes no room; None takes the best that does")
    height, width = frame.shape[1:3]
    rows, down = taps(height, slope.shape[1])
    columns, right = taps(width, slope.shape[2])
    operands: list[Any] = [frame, offset, slope[..., None]]
    operands += [rows, xla.row_weights(down).astype(np.uint16)]
    operands += [columns, column_weights(right)]
    operands += plain.behind_of(pictures[0] if pictures else None, height, width)
    count = max(array.shape[0] for array in (frame, slope, *pictures))
    out = jax.ShapeDtypeStruct((count, height, width, 4 if transparent else 3), np.uint8)
    lowest, scale = reference.ends(faint)
    return cpu.call("guided_upsample_blend", out, *operands, lowest=lowest, scale=scale)
