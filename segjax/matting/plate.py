"""What a picture of the empty room tells of a mask."""

import jax
import jax.numpy as jnp

from segjax_kernels import box

SURELY_ROOM = 0.1
"""The camera's exposure is compared where alpha is below this."""

OUTLIER = 0.03
"""Difference of colour from which a pixel counts for less in that: shadows, and what was moved."""

SAME, OTHER = 0.015, 0.045
"""Difference of colour, averaged over 3×3 pixels, up to which the room is seen, and from which it
need not be. A camera's noise stays below the first."""

DOUBT = 8.0
"""What the network is sure of stays: alpha is lowered in full up to 1 - 1 / DOUBT, and less the
nearer it is to 1."""

STRIDE = 4
"""Every so many rows and columns tell enough of the exposure."""


def lower_by_plate(alpha: jax.Array, small: jax.Array, plate: jax.Array) -> jax.Array:
    """A mask lowered where the network is in doubt and the frame looks like the empty room.

    No alpha rises: however wrong the plate is, it shows no more of the room. Where a person looks
    like the room behind them, doubtful parts are lost, so the mask's own certainty counts.

    The plate may have been taken in another exposure: a gain for each channel is fitted on what is
    room, by least squares weighted anew twice, so that shadows and moved things have little
    say (Cauchy's weights; Holland and Welsch, 1977).

    Args:
      alpha: float32 [h, w] in [0, 1].
      small: float32 [h, w, 3] in [0, 1], the frame.
      plate: float32 [h, w, 3] in [0, 1], the empty room from the same camera in the same place.

    Returns:
      float32 [h, w], nowhere above `alpha`. A mask that is not finite stays so.
    """
    frame, empty = (jnp.moveaxis(x, -1, 0) for x in (small, plate))
    gain = _exposure(*(x[..., ::STRIDE, ::STRIDE] for x in (alpha, frame, empty)))
    difference = jnp.abs(frame - gain[:, None, None] * empty).max(0)
    # In a dark room differences are smaller by as much.
    change = box(difference, 1) / jnp.clip(gain.mean(), 0.3, 3)
    same = jnp.clip((OTHER - change) / (OTHER - SAME), 0, 1)
    return alpha * (1 - same * jnp.clip((1 - alpha) * DOUBT, 0, 1))


def _exposure(alpha: jax.Array, frame: jax.Array, empty: jax.Array) -> jax.Array:
    """The gain of each channel, float32 [3], from planes [3, h, w]."""
    room = (alpha < SURELY_ROOM).astype(jnp.float32)
    both, square = frame * empty, empty * empty
    # Where hardly any room is seen, the exposure is taken to be the plate's own.
    prior = 1e-3 * square.sum((1, 2)) + 1e-6

    def fit(weight: jax.Array) -> jax.Array:
        return ((weight * both).sum((1, 2)) + prior) / ((weight * square).sum((1, 2)) + prior)

    gain = fit(room)
    for _ in range(2):
        off = ((frame - gain[:, None, None] * empty) ** 2).mean(0)
        gain = fit(room / (1 + off / OUTLIER**2))
    return gain
