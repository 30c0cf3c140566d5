"""`guided_upsample_blend` in plain jax.numpy: the specification."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from segjax_kernels.guided_upsample_blend.coefficients import LUMA
from segjax_kernels.upsample_blend import reference

LOWEST, HIGHEST = 0.25, 0.75
"""Alphas outside become exactly 0 and 1: a trace of the room is still the room, and a network in
doubt is mostly wrong about both."""


def ends(faint: float) -> tuple[float, float]:
    """What a line must exceed to show anything, and 1 / what it takes from there to show all."""
    lowest = LOWEST + faint * (HIGHEST - LOWEST)
    return lowest, 1 / (HIGHEST - lowest)


def fold(slope: jax.Array, offset: jax.Array, faint: float) -> tuple[jax.Array, jax.Array]:
    """The lines from brightness in 0..255 to alpha between the firm ends.

    Where slope or offset is not finite, alpha is 0 whatever the brightness.
    """
    finite = jnp.isfinite(slope) & jnp.isfinite(offset)
    slope, offset = jnp.where(finite, slope, 0), jnp.where(finite, offset, 0)
    lowest, scale = ends(faint)
    return slope * (scale / 255), (offset - lowest) * scale


def guided_upsample_blend(
    frame: jax.Array,
    slope: jax.Array,
    offset: jax.Array,
    *pictures: jax.Array,
    transparent: bool,
    faint: float = 0.0,
    upsample: Callable[[jax.Array, int, int], jax.Array] = reference.upsample,
    **_,
) -> jax.Array:
    """See `api.guided_upsample_blend`; every array has a leading axis of N, or of 1 for all.

    `pictures` are the background, unless `transparent`, and then the room, if there is one.
    """
    height, width = frame.shape[1:3]

    def enlarge(picture: jax.Array) -> jax.Array:
        planes = upsample(reference.clip(jnp.moveaxis(picture, -1, 1)), height, width)
        return 255 * jnp.moveaxis(planes, 1, -1)

    front = frame.astype(jnp.float32)
    gain, bias = (upsample(x, height, width) for x in fold(slope, offset, faint))
    # Not a matrix product, which some platforms would round to bfloat16.
    luma = sum(front[..., channel] * np.float32(LUMA[channel]) for channel in range(3))
    alpha = reference.clip(gain * luma + bias)[..., None]

    rooms = pictures if transparent else pictures[1:]
    seen = alpha * front
    if rooms:
        seen = jnp.clip(front - (1 - alpha) * enlarge(rooms[0]), 0, 255 * alpha)
    if transparent:
        opacity = jnp.rint(255 * alpha)
        colours = jnp.rint(seen / alpha) if rooms else front
        colours = jnp.where(opacity > 0, colours, 0)
        opacity = jnp.broadcast_to(opacity, (*colours.shape[:3], 1))
        return jnp.concatenate([colours, opacity], axis=-1).astype(jnp.uint8)
    back = pictures[0]
    if back.dtype == jnp.float32:
        back = jnp.rint(enlarge(back))
    elif back.ndim == 2:
        back = back[:, None, None]
    return jnp.rint(seen + (1 - alpha) * back.astype(jnp.float32)).astype(jnp.uint8)
