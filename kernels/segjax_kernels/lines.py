"""Lines from brightness to alpha, which move a mask's edges to those of the picture."""

import jax
import jax.numpy as jnp

from segjax_kernels import cpu
from segjax_kernels.box import box_by_xla
from segjax_kernels.dispatch import Implementation, dispatch


def fit_lines(
    alpha: jax.Array, brightness: jax.Array, *, radius: int, softness: float
) -> tuple[jax.Array, jax.Array]:
    """The guided filter's fit (He, Sun and Tang, 2013): alpha ≈ slope * brightness + offset.

    A line is fitted in each window of side 2 * `radius` + 1, edges repeated; a pixel gets the mean
    of the lines of all windows around it.

    Works under `jit` and `vmap`.

    Args:
      alpha: float32 [..., h, w] in [0, 1].
      brightness: float32 of alpha's shape, in [0, 1].
      radius: in pixels, at least 0.
      softness: variance of brightness below which a difference is noise and no edge; above 0.

    Returns:
      slope and offset, float32 of alpha's shape.
    """
    return dispatch(IMPLEMENTATIONS, None, alpha, brightness, radius=radius, softness=softness)


def _by_c(
    alpha: jax.Array, brightness: jax.Array, radius: int, softness: float
) -> tuple[jax.Array, jax.Array]:
    if alpha.dtype != jnp.float32 or brightness.dtype != jnp.float32:
        raise NotImplementedError(
            f"got {alpha.dtype} and {brightness.dtype}; the C function takes float32"
        )
    slope, offset = cpu.call(
        "fit_lines",
        (alpha, alpha),
        alpha,
        brightness,
        vmap="broadcast_all",
        radius=radius,
        softness=softness,
    )
    return slope, offset


def lines_by_xla(
    alpha: jax.Array, brightness: jax.Array, radius: int, softness: float
) -> tuple[jax.Array, jax.Array]:
    """The same, which `grad` goes through as well."""
    products = jnp.stack([brightness, alpha, brightness * brightness, brightness * alpha])
    mean, mean_alpha, square, product = box_by_xla(products, radius)
    slope = (product - mean * mean_alpha) / (square - mean * mean + softness)
    slope, offset = box_by_xla(jnp.stack([slope, mean_alpha - slope * mean]), radius)
    return slope, offset


IMPLEMENTATIONS = {
    "c": Implementation(_by_c, platforms=("cpu",)),
    "xla": Implementation(lines_by_xla),
}
"""By preference, best first."""
