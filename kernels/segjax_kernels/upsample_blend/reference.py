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


def fade(alpha: jax.Array, faint: float) -> jax.Array:
    """Alpha in [0, 1] without what is at most `faint`, and no step where it begins."""
    return jnp.maximum(alpha - faint, 0) / (1 - faint) if faint else alpha


def lowered(alpha: jax.Array, faint: float) -> jax.Array:
    """A small mask, clipped, so that `fade` of it enlarged is what is above 0 of this enlarged."""
    return (clip(alpha) - faint) / (1 - faint)


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
    alpha = fade(upsample(clip(alpha), height, width), faint)[..., None]
    if background is None:
        opacity = jnp.rint(255 * alpha).astype(jnp.uint8)
        front = jnp.where(opacity > 0, frame, jnp.uint8(0))
        opacity = jnp.broadcast_to(opacity, (*front.shape[:3], 1))
        return jnp.concatenate([front, opacity], axis=-1)
    if background.dtype == jnp.float32:
        planes = upsample(clip(jnp.moveaxis(background, -1, 1)), height, width)
        background = jnp.rint(255 * jnp.moveaxis(planes, 1, -1))
    elif background.ndim == 2:
        background = background[:, None, None]
    front, back = frame.astype(jnp.float32), background.astype(jnp.float32)
    return jnp.rint(back + alpha * (front - back)).astype(jnp.uint8)


def upsample(planes: jax.Array, height: int, width: int) -> jax.Array:
    """Bilinear, half-pixel centres: float32 [..., h, w] → [..., height, width]."""
    planes = _lerp(planes, *taps(width, planes.shape[-1]))
    return _lerp(planes.swapaxes(-1, -2), *taps(height, planes.shape[-2])).swapaxes(-1, -2)


def _lerp(x: jax.Array, before: np.ndarray, weight: np.ndarray) -> jax.Array:
    """Between neighbours in the last axis. This form keeps a constant exactly as it is."""
    last = x.shape[-1] - 1
    first, second = x[..., np.maximum(before, 0)], x[..., np.minimum(before + 1, last)]
    return first + weight.astype(np.float32) * (second - first)
