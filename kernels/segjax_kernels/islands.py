"""Islands in a mask: what was taken for a person, and is too small and too far from one."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from segjax_kernels import cpu
from segjax_kernels.dispatch import Implementation, dispatch

CELL = 4
"""Pixels of the mask, along either side, that are looked at as one; `islands.c` has it too."""

TOUCHED = 0.1
"""Mean alpha of a cell from which it may belong to somebody."""

SOLID = 0.6
"""Mean alpha of 3 × 3 cells from which the one in their middle does."""

STEPS = 8
"""Cells that a finger or a strand of hair may lead away from there."""


def drop_islands(alpha: Any) -> jax.Array:
    """Lowers to 0 what does not hang together with somebody: no alpha rises.

    An opening by reconstruction (Vincent, 1993) on cells of 4 × 4 pixels: what stays are solid
    cells, those that up to 8 steps over touched ones lead to, and one more around these. So islands
    below about 10 × 10 pixels go, and edges, fingers and hair stay. If nothing is solid all stays:
    someone far away.

    Works under `jit` and `vmap`.

    Args:
      alpha: float32 [h, w] or [N, h, w] in [0, 1]; one that is not a number stays so.

    Returns:
      float32 of alpha's shape.

    Raises:
      ValueError: a shape or dtype breaks the rules above.
    """
    alpha = jnp.asarray(alpha)
    if alpha.dtype != np.float32 or alpha.ndim not in (2, 3):
        raise ValueError(
            f"got an alpha of {alpha.dtype}{list(alpha.shape)}; it is float32[h, w] or "
            "float32[N, h, w]; convert it"
        )
    return _drop(alpha)


@jax.jit
def _drop(alpha: jax.Array) -> jax.Array:
    return dispatch(IMPLEMENTATIONS, None, alpha)


def _by_c(alpha: jax.Array) -> jax.Array:
    numbers = {"touched": TOUCHED, "solid": SOLID, "steps": STEPS}
    return cpu.call("drop_islands", alpha, alpha, vmap="broadcast_all", **numbers)


def _by_xla(alpha: jax.Array) -> jax.Array:
    *_, height, width = alpha.shape
    masks = jnp.pad(
        alpha.reshape(-1, height, width), ((0, 0), (0, -height % CELL), (0, -width % CELL))
    )
    count, rows, columns = len(masks), masks.shape[1] // CELL, masks.shape[2] // CELL
    cells = masks.reshape(count, rows, CELL, columns, CELL).sum((2, 4)) / CELL**2
    touched = cells > TOUCHED
    solid = touched & (_around(cells, jnp.add) / 9 > SOLID)
    # A loop: as one expression each step would be computed again for every later one.
    kept = lax.fori_loop(0, STEPS, lambda _, kept: touched & _around(kept, jnp.logical_or), solid)
    kept = _around(kept, jnp.logical_or) | ~solid.any((1, 2), keepdims=True)
    kept = kept.repeat(CELL, 1).repeat(CELL, 2)[:, :height, :width].reshape(alpha.shape)
    return jnp.where(kept | jnp.isnan(alpha), alpha, 0)


def _around(cells: jax.Array, merge: Any) -> jax.Array:
    """The sum, or whichever is true, of the 3 × 3 cells around each; beyond the mask nobody is."""
    _, rows, columns = cells.shape
    padded = jnp.pad(cells, ((0, 0), (1, 1), (1, 1)))
    places = [(down, right) for down in range(3) for right in range(3)]
    # All nine at once, and not three by three: on a GPU that is one small kernel a step.
    parts = [padded[:, down : down + rows, right : right + columns] for down, right in places]
    return functools.reduce(merge, parts)


IMPLEMENTATIONS = {
    "c": Implementation(_by_c, platforms=("cpu",)),
    "xla": Implementation(_by_xla),
}
"""By preference, best first."""
