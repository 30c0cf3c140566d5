"""The loss of maps that are to be another network's (Romero et al., 2015: FitNets)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def hint_loss(maps: Sequence[jax.Array], hints: Sequence[jax.Array]) -> jax.Array:
    """Mean over the maps of the squared error, as a share of the hint's variance.

    1 is what the hint's mean in each channel would give, whatever a map's scale is.

    Args:
      maps: float [N, H, W, C], each of its own shape; at least one.
      hints: what each of them should be.
    """
    shares = []
    for map_, hint in zip(maps, hints, strict=True):
        map_, hint = map_.astype(jnp.float32), hint.astype(jnp.float32)
        spread = jnp.mean((hint - hint.mean((0, 1, 2))) ** 2)
        shares.append(jnp.mean((map_ - hint) ** 2) / jnp.maximum(spread, 1e-6))
    return jnp.mean(jnp.stack(shares))
