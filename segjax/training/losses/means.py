"""How terms become a loss, and pixels a term."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

LEAST = 1 / 16
"""Share of the pixels that counts as hard, however easy the batch (BiSeNet: Yu et al., 2018)."""


def weighted(
    weights: dict[str, float], terms: dict[str, Callable[[], jax.Array]]
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The sum of the terms that weigh something, and these."""
    values = {name: terms[name]() for name, weight in weights.items() if weight}
    return sum((weights[name] * value for name, value in values.items()), jnp.zeros(())), values


def at_least_float32(logits: jax.Array) -> jax.Array:
    """Half precision as float32; the rest as it is."""
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))


def mean(values: jax.Array, weights: jax.Array) -> jax.Array:
    """The weighted mean; 0 where nothing weighs anything."""
    total = weights.sum()
    return (values * weights).sum() / jnp.where(total > 0, total, 1)


def hardest(pixels: jax.Array, valid: jax.Array, threshold: float) -> jax.Array:
    """bool [N, H, W]: pixels to learn from, as online hard example mining chooses them.

    Those are all whose true class has a probability below `threshold`, and at least the share
    `LEAST` of the valid ones (Shrivastava et al., 2016; for pixels Wu et al., 2016).

    Args:
      pixels: float [N, H, W], cross-entropy of each pixel.
      valid: bool [N, H, W].
      threshold: in (0, 1].
    """
    losses = jnp.where(valid, lax.stop_gradient(pixels), -1)
    least = jnp.ceil(valid.sum() * LEAST).astype(int)
    ranked = jnp.sort(losses, axis=None)
    return valid & (losses >= jnp.minimum(ranked[-jnp.maximum(least, 1)], -jnp.log(threshold)))
