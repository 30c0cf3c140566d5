"""The Lovász extension of the Jaccard index (Berman, Triki and Blaschko, CVPR 2018).

It sorts all pixels, once a class: on a CPU that takes longer than all other terms together.
"""

import jax
import jax.numpy as jnp
from jax import lax


def lovasz_softmax(shares: jax.Array, labels: jax.Array, valid: jax.Array) -> jax.Array:
    """A surrogate of 1 - mIoU of the batch: the mean over the classes that it shows, in [0, 1].

    Args:
      shares: float [N, H, W, C], probabilities.
      labels: int [N, H, W].
      valid: bool [N, H, W]; without any the loss is 0.
    """
    classes = shares.shape[-1]
    there = (labels[..., None] == jnp.arange(classes)) & valid[..., None]
    errors = jnp.where(there, 1 - shares, shares) * valid[..., None]
    there, errors = (jnp.moveaxis(part, -1, 0).reshape(classes, -1) for part in (there, errors))
    present = there.any(1)
    return (_extension(errors, there) * present).sum() / jnp.maximum(present.sum(), 1)


def lovasz_hinge(scores: jax.Array, person: jax.Array) -> jax.Array:
    """A surrogate of 1 - IoU of one class, the mean over pictures, at least 0.

    Args:
      scores: float [N, H, W], logits.
      person: bool [N, H, W].
    """
    errors = jax.nn.relu(1 - jnp.where(person, scores, -scores))
    pictures = scores.shape[0]
    return _extension(errors.reshape(pictures, -1), person.reshape(pictures, -1)).mean()


def _extension(errors: jax.Array, there: jax.Array) -> jax.Array:
    """The extension at errors [M, P], at least 0, of M sets of pixels `there`: float [M]."""
    order = jnp.argsort(lax.stop_gradient(errors), axis=1, descending=True)
    errors, there = (jnp.take_along_axis(part, order, axis=1) for part in (errors, there))
    size = there.sum(1, keepdims=True)
    missed = jnp.cumsum(there, axis=1)
    union = size + jnp.cumsum(~there, axis=1)
    before = union - ~there
    # What a pixel more that is wrong adds to 1 - IoU. As the difference of two numbers that are
    # nearly equal it would be mostly rounding error.
    kept = jnp.where(before > 0, (size - missed) / jnp.maximum(before, 1), 1)
    return (errors * (jnp.where(there, 1, kept) / union).astype(errors.dtype)).sum(1)
