"""Edges of the mask, drawn to the edges of the picture."""

import jax
import jax.numpy as jnp

from segjax_kernels import fit_lines, guided_coefficients

RADIUS = 2
SOFTNESS = 3e-4
"""Variance of brightness that counts as an edge (the guided filter's epsilon)."""

LOWEST, HIGHEST = 0.25, 0.75
"""Alphas outside become exactly 0 and 1: a trace of the room is still the room, and a network in
doubt is mostly wrong about both."""

USUAL_SOFTNESS = 0.5
"""Of an edge: what `LOWEST` and `HIGHEST` say."""

HARDEST, SOFTEST = 1 / 6, 5 / 6
"""How much of alpha's range lies between the two ends at softness 0 and 1. The steepest lines of
the hardest edges are still as many as the integers of `guided_upsample_blend` hold."""


def refine(
    alpha: jax.Array, planes: jax.Array, softness: float | jax.Array = USUAL_SOFTNESS
) -> jax.Array:
    """Guided filter (He et al., 2013) of a mask by the picture's brightness, then firm ends.

    Args:
      alpha: float32 [h, w] in [0, 1].
      planes: float32 [3, h, w] in [0, 1], the picture's colours at the mask's size.
      softness: of the edge, in [0, 1]: how far apart the firm ends are. A float32 [] may change
        without a compilation.

    Returns:
      float32 [h, w] in [0, 1].
    """
    brightness = _luma(planes)
    slope, offset = fit_lines(alpha, brightness, radius=RADIUS, softness=SOFTNESS)
    return _firm(*_softened(slope, offset, softness), brightness)


def refine_by_lines(
    alpha: jax.Array, planes: jax.Array, softness: float | jax.Array = USUAL_SOFTNESS
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """The same, and slope and offset of the lines by which `guided_upsample_blend` goes on.

    It does with each pixel of the frame what is done here with the small picture's, so that edges
    are as fine as the frame.
    """
    lines = guided_coefficients(alpha, jnp.moveaxis(planes, 0, -1))
    slope, offset = _softened(*lines, softness)
    return _firm(slope, offset, _luma(planes)), (slope, offset)


def _luma(planes: jax.Array) -> jax.Array:
    return 0.299 * planes[0] + 0.587 * planes[1] + 0.114 * planes[2]


def _softened(
    slope: jax.Array, offset: jax.Array, softness: float | jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Lines so much steeper or flatter around one half that the same ends make an edge so soft."""
    width = (HIGHEST - LOWEST) + (softness - USUAL_SOFTNESS) * (SOFTEST - HARDEST)
    steeper = (HIGHEST - LOWEST) / width
    return slope * steeper, offset * steeper + 0.5 * (1 - steeper)


def _firm(slope: jax.Array, offset: jax.Array, brightness: jax.Array) -> jax.Array:
    alpha = slope * brightness + offset
    return jnp.clip((alpha - LOWEST) / (HIGHEST - LOWEST), 0, 1)
