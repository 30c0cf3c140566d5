"""Edges of the mask, drawn to the edges of the picture."""

import jax
import jax.numpy as jnp

from segjax.matting.filters import box

RADIUS = 2
SOFTNESS = 1e-3
"""Variance of brightness that counts as an edge (the guided filter's epsilon)."""

LOWEST, HIGHEST = 0.05, 0.95
"""Alphas outside become exactly 0 and 1: a trace of the room is still the room."""


def refine(alpha: jax.Array, small: jax.Array) -> jax.Array:
    """Guided filter (He et al., 2013) of a mask by the picture's brightness, then firm ends.

    Args:
      alpha: float32 [h, w] in [0, 1].
      small: float32 [h, w, 3] in [0, 1], the frame at the mask's size.

    Returns:
      float32 [h, w] in [0, 1].
    """
    guide = small @ jnp.array([0.299, 0.587, 0.114], jnp.float32)
    maps = jnp.stack([guide, alpha, guide * alpha, guide * guide], axis=-1)
    mean_guide, mean_alpha, product, square = jnp.moveaxis(box(maps, RADIUS), -1, 0)
    slope = (product - mean_guide * mean_alpha) / (square - mean_guide**2 + SOFTNESS)
    offset = mean_alpha - slope * mean_guide
    line = box(jnp.stack([slope, offset], axis=-1), RADIUS)
    filtered = line[..., 0] * guide + line[..., 1]
    return jnp.clip((filtered - LOWEST) / (HIGHEST - LOWEST), 0, 1)
