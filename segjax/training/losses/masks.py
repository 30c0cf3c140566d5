"""The loss of one class whose mask is soft."""

import jax
import jax.numpy as jnp
import optax

from segjax.training.losses.lovasz import lovasz_hinge
from segjax.training.losses.means import at_least_float32, hardest, mean, weighted
from segjax.training.losses.outlines import boundary_loss, edge_band


def mask_loss(
    logits: jax.Array,
    mask: jax.Array,
    *,
    bce: float = 1.0,
    dice: float = 0.0,
    edge: float = 0.0,
    edge_width: int = 2,
    ohem: float = 0.0,
    ohem_threshold: float = 0.7,
    focal: float = 0.0,
    focal_gamma: float = 2.0,
    lovasz: float = 0.0,
    boundary: float = 0.0,
    boundary_reach: int = 16,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Weighted sum of terms for one foreground class.

    Args:
      logits: float [N, H, W, 1].
      mask: float [N, H, W] in [0, 1]; soft edges are targets as they are, save where a term needs
        a yes or no: that is mask > 0.5.
      bce: weight of the binary cross-entropy, mean over pixels.
      dice: weight of the Dice loss (Milletari et al., 2016), mean over pictures: it counts a
        small person as much as a large one.
      edge: weight of the cross-entropy over the pixels of `edge_band` alone.
      edge_width: half the band's width in pixels.
      ohem: weight of the cross-entropy over the `hardest` pixels alone.
      ohem_threshold: probability of the truth below which a pixel is hard.
      focal: weight of the focal loss (Lin et al., 2017), mean over pixels.
      focal_gamma: its exponent.
      lovasz: weight of `lovasz_hinge`, mean over pictures.
      boundary: weight of `boundary_loss` of person and room.
      boundary_reach: the distance in pixels from which farther counts no more.

    Returns:
      The loss, and its terms by name.
    """
    logits = at_least_float32(logits)
    scores = logits[..., 0]
    mask = mask.astype(scores.dtype)
    person, valid = mask > 0.5, jnp.ones(mask.shape, bool)
    pixels = optax.sigmoid_binary_cross_entropy(scores, mask)
    pair = jax.nn.sigmoid(jnp.stack([-scores, scores], axis=-1))
    return weighted(
        {
            "bce": bce,
            "dice": dice,
            "edge": edge,
            "ohem": ohem,
            "focal": focal,
            "lovasz": lovasz,
            "boundary": boundary,
        },
        {
            "bce": pixels.mean,
            "dice": lambda: optax.losses.binary_dice_loss(logits, mask[..., None]).mean(),
            "edge": lambda: mean(pixels, edge_band(person, valid, edge_width)),
            "ohem": lambda: mean(pixels, hardest(pixels, valid, ohem_threshold)),
            "focal": lambda: optax.sigmoid_focal_loss(scores, mask, gamma=focal_gamma).mean(),
            "lovasz": lambda: lovasz_hinge(scores, person),
            "boundary": lambda: boundary_loss(pair, person, valid, boundary_reach),
        },
    )
