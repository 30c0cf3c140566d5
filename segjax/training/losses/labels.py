"""The loss of several classes, of which some pixels do not count."""

import jax
import jax.numpy as jnp
import optax

from segjax.training.losses.lovasz import lovasz_softmax
from segjax.training.losses.means import at_least_float32, hardest, mean, weighted
from segjax.training.losses.outlines import boundary_loss, edge_band


def label_loss(
    logits: jax.Array,
    labels: jax.Array,
    *,
    class_weights: jax.Array | None = None,
    ce: float = 1.0,
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
    ignore: int = 255,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Weighted sum of terms for classes that exclude each other.

    Ignored pixels change neither loss nor gradient; a batch of nothing else costs 0. A label that
    is neither a class nor `ignore` makes cross-entropy and focal loss NaN.

    Args:
      logits: float [N, H, W, C].
      labels: integer [N, H, W] in 0..C-1, or `ignore`.
      class_weights: float [C]; a pixel weighs in `ce`, `edge`, `ohem` and `focal` as much as its
        class, and the sum is divided by the sum of these weights.
      ce: weight of the cross-entropy, mean over pixels.
      dice: weight of `soft_dice`, mean over the classes that the batch shows.
      edge: weight of the cross-entropy over the pixels of `edge_band` alone.
      edge_width: half the band's width in pixels.
      ohem: weight of the cross-entropy over the `hardest` pixels alone.
      ohem_threshold: probability of the true class below which a pixel is hard.
      focal: weight of the focal loss, mean over pixels: (1 - p)^gamma × cross-entropy (Lin et al.,
        2017, equation 4) with p the softmax's share of the true class, where the paper, which
        detects, has a sigmoid a class.
      focal_gamma: its exponent.
      lovasz: weight of `lovasz_softmax`, mean over the classes that the batch shows.
      boundary: weight of `boundary_loss`, mean over pixels.
      boundary_reach: the distance in pixels from which farther counts no more.
      ignore: the label of pixels that do not count.

    Returns:
      The loss, and its terms by name.
    """
    logits = at_least_float32(logits)
    valid = labels != ignore
    labels = jnp.where(valid, labels, 0).astype(jnp.int32)
    weights = valid.astype(logits.dtype)
    if class_weights is not None:
        weights = weights * class_weights.astype(logits.dtype)[labels]
    pixels = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    shares = jax.nn.softmax(logits)
    return weighted(
        {
            "ce": ce,
            "dice": dice,
            "edge": edge,
            "ohem": ohem,
            "focal": focal,
            "lovasz": lovasz,
            "boundary": boundary,
        },
        {
            "ce": lambda: mean(pixels, weights),
            "dice": lambda: soft_dice(shares, labels, valid),
            "edge": lambda: mean(pixels, weights * edge_band(labels, valid, edge_width)),
            "ohem": lambda: mean(pixels, weights * hardest(pixels, valid, ohem_threshold)),
            "focal": lambda: mean(_focal(pixels, focal_gamma), weights),
            "lovasz": lambda: lovasz_softmax(shares, labels, valid),
            "boundary": lambda: boundary_loss(shares, labels, valid, boundary_reach),
        },
    )


def soft_dice(shares: jax.Array, labels: jax.Array, valid: jax.Array) -> jax.Array:
    """Dice loss (Milletari et al., 2016) of the batch, mean over the classes that it shows.

    Numerator and denominator are sums over the batch, or pictures without a class would decide.
    (`optax.losses.dice_loss` knows no ignored pixels.)

    Args:
      shares: float [N, H, W, C], probabilities.
      labels: int [N, H, W].
      valid: bool [N, H, W]; without any the loss is 0.
    """
    there = (labels[..., None] == jnp.arange(shares.shape[-1])) & valid[..., None]
    shares = shares * valid[..., None]
    common, found, true = (part.sum((0, 1, 2)) for part in (shares * there, shares, there))
    present = true > 0
    dice = 1 - 2 * common / jnp.where(present, found + true, 1)
    return (dice * present).sum() / jnp.maximum(present.sum(), 1)


def _focal(pixels: jax.Array, gamma: float) -> jax.Array:
    # An exponent below 1 has no finite slope at 0.
    wrong = jnp.maximum(-jnp.expm1(-pixels), jnp.finfo(pixels.dtype).tiny)
    return wrong**gamma * pixels
