"""A layer between what stands behind the person and the person: uint8 [2, H, W, 3], what it adds to
each byte behind it, and how many 255ths of that it lets through."""

import jax
import jax.numpy as jnp

from segjax_kernels import upsample_blend


def over(layer: jax.Array, small: jax.Array) -> jax.Array:
    """Lays it over a small picture, float32 [b, c, 3] in [0, 1]: uint8 [H, W, 3]."""
    adds, through = layer
    nobody = jnp.zeros((1, 1), jnp.float32)
    behind = upsample_blend(adds, nobody, small).astype(jnp.uint16)
    total = behind * through + 128  # over 255, rounded
    return (adds + ((total + (total >> 8)) >> 8)).astype(jnp.uint8)


def under(layer: jax.Array, cut_out: jax.Array) -> jax.Array:
    """Lays it under a person cut out, uint8 RGBA [H, W, 4] of straight alpha: the same."""
    adds, through = layer.astype(jnp.float32)
    person, alpha = cut_out[..., :3].astype(jnp.float32), cut_out[..., 3:] / 255
    opacity = 255 * alpha + (1 - alpha) * (255 - through)
    colours = 255 * (alpha * person + (1 - alpha) * adds) / jnp.maximum(opacity, 1)
    both = jnp.concatenate([colours, opacity[..., :1]], axis=-1)
    return jnp.where(opacity[..., :1] < 0.5, 0, jnp.rint(both)).astype(jnp.uint8)
