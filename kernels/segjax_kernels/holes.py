"""Small holes in a mask: a badge, a print or a glint on a person that was taken for the room."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from segjax_kernels import cpu
from segjax_kernels.dispatch import Implementation, dispatch

WAYS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Down and right; each is gone to and fro."""


def fill_holes(alpha: Any, *, reach: int = 10) -> jax.Array:
    """Raises what lies between person on all sides: no alpha falls, and none far from person.

    A pixel gets the least of what eight directions offer, each the largest alpha that lies at most
    `reach` pixels away in it: a closing (Serra, 1982) by rays instead of a disc. What is open to
    one side, such as the gaps between fingers, stays open; beyond the picture there is nobody.

    Works under `jit` and `vmap`.

    Args:
      alpha: float32 [h, w] or [N, h, w] in [0, 1]; one that is not finite stays so.
      reach: in pixels, along the diagonals four fifths of it, which is about as far.

    Returns:
      float32 of alpha's shape.

    Raises:
      ValueError: a shape or dtype breaks the rules above, or `reach` is below 1.
    """
    alpha = jnp.asarray(alpha)
    if alpha.dtype != np.float32 or alpha.ndim not in (2, 3):
        raise ValueError(
            f"got an alpha of {alpha.dtype}{list(alpha.shape)}; it is float32[h, w] or "
            "float32[N, h, w]; convert it"
        )
    if reach < 1:
        raise ValueError(f"got a reach of {reach}; it is at least 1 pixel")
    return _fill(alpha, reach)


@functools.partial(jax.jit, static_argnums=1)
def _fill(alpha: jax.Array, reach: int) -> jax.Array:
    return dispatch(IMPLEMENTATIONS, None, alpha, reach=reach, diagonal=max(1, round(0.8 * reach)))


def _by_c(alpha: jax.Array, **reaches: int) -> jax.Array:
    return cpu.call("fill_holes", alpha, alpha, vmap="broadcast_all", **reaches)


def _by_xla(alpha: jax.Array, reach: int, diagonal: int) -> jax.Array:
    offers = [o for way in WAYS for o in _farthest(alpha, way, diagonal if all(way) else reach)]
    return functools.reduce(jnp.minimum, offers)


def _farthest(x: jax.Array, way: tuple[int, int], reach: int) -> tuple[jax.Array, jax.Array]:
    """The largest number up to `reach` steps back on the way, and up to as many on.

    Both are windows of the same map, which begin so many steps apart; windows are made of two half
    as long that overlap.
    """
    down, right = way
    beyond = [(reach * abs(step), reach * abs(step), 0) for step in way]
    windows = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0)] * (x.ndim - 2) + beyond)
    length = 1
    while length <= reach:
        step = min(length, reach + 1 - length)
        windows = jnp.maximum(*_apart(windows, step * down, step * right))
        length += step
    return _apart(windows, reach * down, reach * right)


def _apart(x: jax.Array, down: int, right: int) -> tuple[jax.Array, jax.Array]:
    """`x[..., i, j]` and `x[..., i + down, j + right]` of all i, j that have both; 0 <= `down`."""
    height, width = x.shape[-2] - down, x.shape[-1] - abs(right)
    left = max(0, -right)
    here, there = left, left + right
    return x[..., :height, here : here + width], x[..., down:, there : there + width]


IMPLEMENTATIONS = {
    "c": Implementation(_by_c, platforms=("cpu",)),
    "xla": Implementation(_by_xla),
}
"""By preference, best first."""
