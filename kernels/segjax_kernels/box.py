"""Means of windows."""

import jax
import jax.numpy as jnp
from jax import lax

from segjax_kernels import cpu
from segjax_kernels.dispatch import Implementation, by_platform, dispatch


def box(x: jax.Array, radius: int) -> jax.Array:
    """The mean of the window of side 2 × `radius` + 1 in the last two axes; edges repeat.

    Works under `jit` and `vmap`.

    Args:
      x: float32 [..., h, w].
      radius: in pixels, at least 0.

    Returns:
      float32 of x's shape.
    """
    return dispatch(IMPLEMENTATIONS, None, x, radius=radius)


def _by_c(x: jax.Array, radius: int) -> jax.Array:
    if x.dtype != jnp.float32:
        raise NotImplementedError(f"got {x.dtype}; the C function takes float32")
    return cpu.call("box", x, x, vmap="broadcast_all", radius=radius)


def box_by_xla(x: jax.Array, radius: int) -> jax.Array:
    """The same, which `grad` goes through as well."""
    side, (height, width) = 2 * radius + 1, x.shape[-2:]
    pad = [(0, 0)] * (x.ndim - 1)
    rows = _written(jnp.pad(x, [*pad[1:], (radius, radius), (0, 0)], mode="edge"))
    total = rows[..., :height, :]
    for shift in range(1, side):
        total = total + rows[..., shift : shift + height, :]
    columns = _written(jnp.pad(total, [*pad, (radius, radius)], mode="edge"))
    total = columns[..., :width]
    for shift in range(1, side):
        total = total + columns[..., shift : shift + width]
    return total * (1 / side**2)


def _written(x: jax.Array) -> jax.Array:
    """On a CPU, XLA would compute it anew for each use; on a GPU, one kernel is worth that."""
    return by_platform(x, cpu=lax.optimization_barrier, default=lambda x: x)


IMPLEMENTATIONS = {
    "c": Implementation(_by_c, platforms=("cpu",)),
    "xla": Implementation(box_by_xla),
}
"""By preference, best first."""
