"""One of several people: the others become room."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from segjax.matting.smoothing import State, empty_state

Person = Literal["all", "largest", "central"]

CELL = 4
"""Pixels of the mask, along either side, that are looked at as one: people are large."""

SOMEBODY = 0.4
"""Mean alpha of a cell from which it belongs to a person."""

GROWTH, DECAY = 0.03, 0.8
"""By how much a cell is more surely the chosen person's with every frame, and what is left of that
with every frame that it is not. Who has walked through the picture in front or behind, and was one
with the chosen person for a second, does not take their place: those cells are new."""

FOLLOW = 100.0
"""What a sure cell counts for, where one that a person merely covers counts for 1."""

GONE = 0.05
"""While any cell is surer than this, only who covers such cells is chosen: for half a second after
the chosen person was last seen nobody else is shown in their place."""


class Followed(NamedTuple):
    """A stream's state in which one person is followed.

    Attributes:
      smoothing: of the mask.
      sure: float32 [h / 4, w / 4] in [0, 1], how surely a cell is the chosen person's.
    """

    smoothing: State
    sure: jax.Array

    @property
    def alpha(self) -> jax.Array:
        """The mask given for the frame before."""
        return self.smoothing.alpha


def nobody_followed(height: int, width: int) -> Followed:
    """The state before the first frame, for a mask of this size."""
    sure = np.zeros((-(-height // CELL), -(-width // CELL)), np.float32)
    return Followed(empty_state(height, width), jax.device_put(sure, may_alias=False))


def choose(
    alpha: jax.Array, sure: jax.Array, person: Literal["largest", "central"]
) -> tuple[jax.Array, jax.Array]:
    """The mask of one person, of those that are apart in it; two who touch are one.

    The largest, or the one with most in the middle, and from then on who covers most of what was
    covered before.

    Args:
      alpha: float32 [h, w] in [0, 1].
      sure: of the frame before; see `Followed`.

    Returns:
      The mask float32 [h, w], nowhere above `alpha`, and the new `sure`. A mask that is not finite
      stays so.
    """
    cells = _means(alpha)
    somebody = cells > SOMEBODY
    labels = _label(somebody)
    weight = (
        _middle((cells.shape[0], cells.shape[1])) if person == "central" else jnp.ones_like(cells)
    )
    weight = weight + FOLLOW * sure
    scores = jnp.zeros(cells.size).at[labels].add(jnp.where(somebody, weight, 0))
    chosen = somebody & (labels == scores.argmax())
    left = (sure > GONE).any() & ~(chosen & (sure > GONE)).any()
    chosen &= ~left
    sure = jnp.where(chosen, jnp.minimum(sure + GROWTH, 1), DECAY * sure)
    # The soft edge around a person is theirs as well, but for what is somebody else's.
    around = (_neighbours(chosen.astype(jnp.int32)) > 0) & ~(somebody & ~chosen)
    kept = around.repeat(CELL, 0).repeat(CELL, 1)[: alpha.shape[0], : alpha.shape[1]]
    return jnp.where(kept, alpha, 0 * alpha), sure


def _means(alpha: jax.Array) -> jax.Array:
    """Of cells; beyond the mask there is nobody."""
    height, width = alpha.shape
    alpha = jnp.pad(alpha, ((0, -height % CELL), (0, -width % CELL)))
    rows = alpha.reshape(-1, CELL, alpha.shape[1]).sum(1)
    return rows.reshape(len(rows), -1, CELL).sum(2) / CELL**2


def _label(somebody: jax.Array) -> jax.Array:
    """int32, for every cell of a person the number of the same person's last cell, else -1.

    Every cell takes the largest label around it, and then that cell's own: labels run along a
    person in steps that double (Shiloach and Vishkin, 1982).
    """
    own = jnp.where(somebody, jnp.arange(somebody.size).reshape(somebody.shape), -1)

    def spread(labels: jax.Array) -> jax.Array:
        near = jnp.where(somebody, _neighbours(labels), -1)
        return jnp.where(somebody, near.reshape(-1)[near], -1)

    def settle(both: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return spread(both[0]), both[0]

    return lax.while_loop(lambda both: (both[0] != both[1]).any(), settle, (spread(own), own))[0]


def _neighbours(cells: jax.Array) -> jax.Array:
    """The largest of the 3 × 3 cells around each; at least -1."""
    return lax.reduce_window(cells, np.array(-1, cells.dtype), lax.max, (3, 3), (1, 1), "SAME")


def _middle(shape: tuple[int, int]) -> jax.Array:
    """How much a cell counts as the middle of the picture: more so along its width."""
    down, right = (np.linspace(-1, 1, side)[:, None] for side in shape)
    return jnp.asarray(np.exp(-0.5 * ((down / 0.8) ** 2 + (right.T / 0.25) ** 2)), jnp.float32)
