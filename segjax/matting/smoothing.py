"""A mask that holds still where the picture does."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from segjax.matting.filters import box

STILL_SHARE = 0.12
"""Of a new mask, where nothing moves: noise of the network is averaged over about 15 frames."""

NOISE = 0.010
"""Change of brightness (of 1), averaged over 3×3, that a still scene's noise may reach."""

MOTION = 0.030
"""Change of brightness at which the new mask counts fully: a hand must not trail."""


class State(NamedTuple):
    """What is remembered from one frame to the next, at the mask's size.

    Attributes:
      alpha: float32 [h, w], the mask given for the frame before.
      luma: float32 [h, w], the brightness of the frame before.
      started: float32, 1 once there was a frame, 0 before.
    """

    alpha: jax.Array
    luma: jax.Array
    started: jax.Array


def empty_state(height: int, width: int) -> State:
    """The state before the first frame: whatever the first mask is, it counts fully."""
    # Three buffers: the state is donated, and a buffer can be given away only once.
    size = (height, width)
    return State(jnp.zeros(size), jnp.zeros(size), jnp.zeros(()))


def smooth(state: State, alpha: jax.Array, small: jax.Array) -> tuple[State, jax.Array]:
    """Mixes a mask into the one before: slowly where the picture is still, at once where it moves.

    The idea of the 1 € filter (Casiez et al., 2012), with the picture's own motion for its speed,
    so that a mask that flickers over a still scene does not count as movement.

    Args:
      state: of the frame before.
      alpha: float32 [h, w] in [0, 1], the network's mask of this frame.
      small: float32 [h, w, 3] in [0, 1], the frame at the mask's size.

    Returns:
      The new state, and the smoothed mask float32 [h, w]. A mask that is not finite is returned as
      it is and forgotten: the next one starts anew.
    """
    luma = small @ jnp.array([0.299, 0.587, 0.114], jnp.float32)
    change = box(jnp.abs(luma - state.luma), 1)
    # The edge of what moves lies between two of its pixels: look a little around.
    change = box(change, 2)
    moving = jnp.clip((change - NOISE) / (MOTION - NOISE), 0, 1)
    share = jnp.maximum(STILL_SHARE + (1 - STILL_SHARE) * moving, 1 - state.started)
    mixed = state.alpha + share * (alpha - state.alpha)
    finite = jnp.isfinite(mixed).all()
    kept = jnp.where(finite, mixed, 0)
    return State(kept, luma, finite.astype(jnp.float32)), mixed
