"""Edges of the mask, drawn to the edges of the picture."""

import jax
import jax.numpy as jnp

from segjax.matting.filters import box

RADIUS = 2
SOFTNESS = 3e-4
"""Variance of brightness that counts as an edge (the guided filter's epsilon)."""

LOWEST, HIGHEST = 0.25, 0.75
"""Alphas outside become exactly 0 and 1: a trace of the room is still the room, and a network in
doubt is mostly wrong about both."""


def refine(alpha: jax.Array, planes: jax.Array) -> jax.Array:
    """Guided filter (He et al., 2013) of a mask by the picture's brightness, then firm ends.

    Args:
      alpha: float32 [h, w] in [0, 1].
      planes: float32 [3, h, w] in [0, 1], the picture's colours at the mask's size.

    Returns:
      float32 [h, w] in [0, 1].
    """
    guide = 0.299 * planes[0] + 0.587 * planes[1] + 0.114 * planes[2]
    mean_guide, mean_alpha = box(guide, RADIUS), box(alpha, RADIUS)
    covariance = box(guide * alpha, RADIUS) - mean_guide * mean_alpha
    variance = box(guide * guide, RADIUS) - mean_guide * mean_guide
    slope = covariance / (variance + SOFTNESS)
    offset = mean_alpha - slope * mean_guide
    filtered = box(slope, RADIUS) * guide + box(offset, RADIUS)
    return jnp.clip((filtered - LOWEST) / (HIGHEST - LOWEST), 0, 1)
