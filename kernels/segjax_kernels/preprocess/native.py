"""`preprocess` in C, on a CPU whose library is built."""

import jax
import numpy as np

from segjax_kernels import cpu


def preprocess(
    frames: jax.Array, *, size: tuple[int, int], dtype: jax.typing.DTypeLike, **_
) -> jax.Array:
    """See `api.preprocess`; uint8 [N, H, W, 3] → [N, h, w, 3]."""
    if size[0] > frames.shape[1] or size[1] > frames.shape[2]:
        raise NotImplementedError("implementation='c' shrinks; where a side grows, take None")
    small = jax.ShapeDtypeStruct((frames.shape[0], *size, 3), np.float32)
    return cpu.call("preprocess", small, frames).astype(dtype)
