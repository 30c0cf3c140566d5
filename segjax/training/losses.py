"""Losses on logits. A loss maps float32 arrays to one float32 number."""

import jax
import jax.numpy as jnp
import optax
from jax import lax


def mask_loss(
    logits: jax.Array, mask: jax.Array, *, bce: float, dice: float, edge: float, edge_width: int
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Weighted sum of cross-entropy, Dice and edge terms for one foreground class.

    Args:
      logits: float32 [N, H, W, 1].
      mask: float32 [N, H, W] in [0, 1]; soft edges are targets as they are.
      bce: weight of the binary cross-entropy, mean over pixels.
      dice: weight of the Dice loss (Milletari et al., 2016), mean over pictures: it counts a
        small person as much as a large one.
      edge: weight of the cross-entropy over the pixels of `edge_band` alone.
      edge_width: half the band's width in pixels.

    Returns:
      The loss, and its terms by name.
    """
    scores = logits[..., 0]
    pixels = optax.sigmoid_binary_cross_entropy(scores, mask)
    band = edge_band(mask, edge_width)
    terms = {
        "bce": pixels.mean(),
        "dice": optax.losses.binary_dice_loss(logits, mask[..., None]).mean(),
        "edge": (pixels * band).sum() / jnp.maximum(band.sum(), 1.0),
    }
    return bce * terms["bce"] + dice * terms["dice"] + edge * terms["edge"], terms


def edge_band(mask: jax.Array, width: int) -> jax.Array:
    """float32 [N, H, W]: 1 within `width` pixels of an outline of `mask`, else 0.

    That is where a window of side 2 × `width` + 1 around the pixel holds both person and room.
    Shifted sums count its person pixels: on a CPU ten times faster than a max-pooling.
    """
    side = 2 * width + 1
    count = (mask > 0.5).astype(jnp.float32)
    for axis in (1, 2):
        pad = [(0, 0)] * 3
        pad[axis] = (width, width)
        padded = jnp.pad(count, pad, mode="edge")
        size = mask.shape[axis]
        count = sum(
            (lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(side)),
            start=jnp.zeros_like(count),
        )
    return ((count > 0.5) & (count < side**2 - 0.5)).astype(jnp.float32)
