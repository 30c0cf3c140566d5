"""`upsample_blend` in plain jax.numpy: the specification, and the float form of the XLA path."""

import jax
import jax.numpy as jnp
import numpy as np


def taps(size: int, source: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each of `size` pixels lies among `source` mask pixels, by half-pixel centres.

    Returns:
      before: int32 [size] in -1..source-1, the mask pixel at or before it; -1 and, for its
        neighbour, `source` lie outside: there the edge counts.
      weight: float64 [size] in [0, 1), that of the mask pixel after it.
    """
    # In integers, since the position times 2 * size is one: no rounding before the division.
    numerator = (2 * np.arange(size) + 1) * source - size
    before = numerator // (2 * size)
    return before.astype(np.int32), (numerator - 2 * size * before) / (2 * size)


def clip(alpha: jax.Array) -> jax.Array:
    """Alpha within [0, 1]; NaN becomes 0, so that a broken mask shows the background."""
    return jnp.where(alpha > 0, jnp.minimum(alpha, 1), jnp.zeros_like(alpha))


def upsample_blend(frame: jax.Array, alpha: jax.Array, background: jax.Array) -> jax.Array:
    """See `api.upsample_blend`."""
    rows, down = taps(frame.shape[0], alpha.shape[0])
    columns, right = taps(frame.shape[1], alpha.shape[1])
    alpha = _lerp(clip(alpha), columns, right.astype(np.float32))
    alpha = _lerp(alpha.T, rows, down.astype(np.float32)).T[..., None]
    front, back = frame.astype(jnp.float32), background.astype(jnp.float32)
    return jnp.rint(back + alpha * (front - back)).astype(jnp.uint8)


def _lerp(mask: jax.Array, before: np.ndarray, weight: np.ndarray) -> jax.Array:
    """Between neighbours in the last axis. This form keeps a constant mask exactly as it is."""
    last = mask.shape[-1] - 1
    first, second = mask[:, np.maximum(before, 0)], mask[:, np.minimum(before + 1, last)]
    return first + weight * (second - first)
