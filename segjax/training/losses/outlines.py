"""What lies near the outlines of labels, and how far from them the rest lies."""

import jax
import jax.numpy as jnp
from jax import lax


def edge_band(labels: jax.Array, valid: jax.Array, width: int) -> jax.Array:
    """bool [N, H, W]: valid pixels within `width` pixels of an outline.

    That is where a window of side 2 × `width` + 1 around the pixel holds several labels. Neither an
    ignored pixel nor the picture's own border is an outline. Shifted maxima find it: on a CPU ten
    times faster than a max-pooling.

    Args:
      labels: int [N, H, W].
      valid: bool [N, H, W].
      width: half the band's width in pixels.
    """
    labels = labels.astype(jnp.int32)
    lowest = jnp.iinfo(jnp.int32).min
    highest = _largest_near(jnp.where(valid, labels, lowest), width)
    least = -_largest_near(jnp.where(valid, -labels, lowest), width)
    return valid & (highest != least)


def boundary_loss(shares: jax.Array, labels: jax.Array, valid: jax.Array, reach: int) -> jax.Array:
    """How far beyond its outline each class is seen (Kervadec et al., MIDL 2019), at least 0.

    The mean over valid pixels of the sum over classes of (share - truth) × distance: signed, at
    most 0 within the class, in units of `reach`. The paper leaves out the part that holds the truth
    alone; with it a perfect prediction costs 0, and the gradient is the same. Distances end at
    `reach`, where the paper's go on: a class that a picture does not show is as far as that.

    Args:
      shares: float [N, H, W, C], probabilities.
      labels: int [N, H, W].
      valid: bool [N, H, W]; without any the loss is 0.
      reach: the largest distance, in pixels.
    """
    there = (labels[..., None] == jnp.arange(shares.shape[-1])) & valid[..., None]
    distances = signed_distances(there, reach) / reach
    pixels = ((shares - there) * distances.astype(shares.dtype)).sum(-1)
    return (pixels * valid).sum() / jnp.maximum(valid.sum(), 1)


def signed_distances(there: jax.Array, reach: int) -> jax.Array:
    """float32 [N, H, W, C]: Euclidean distance of each pixel to each class.

    Outside it is that to the nearest pixel of the class, within it 1 minus that to the nearest
    pixel of another: 1 and 0 on the two sides of an outline, as the paper's code has it.

    Args:
      there: bool [N, H, W, C], the pixels of each class.
      reach: the largest distance, in pixels.
    """
    # A distance map one axis at a time (Felzenszwalb and Huttenlocher, 2012), within a window.
    squared = jnp.where(there, 0, reach**2)
    for axis in (1, 2):
        squared = _lowest_parabola(squared, axis, reach)
    distances = jnp.sqrt(jnp.minimum(squared, reach**2).astype(jnp.float32))
    others = jnp.where(there, reach, distances).min(-1, keepdims=True)
    return jnp.where(there, 1 - others, distances)


def _lowest_parabola(heights: jax.Array, axis: int, reach: int) -> jax.Array:
    """min over k of heights at x + k, plus k²; |k| ≤ reach."""
    size = heights.shape[axis]
    pad = [(0, 0)] * heights.ndim
    pad[axis] = (reach, reach)
    padded = jnp.pad(heights, pad, constant_values=reach**2)

    def lower(at: int, lowest: jax.Array) -> jax.Array:
        shifted = lax.dynamic_slice_in_dim(padded, at, size, axis)
        return jnp.minimum(lowest, shifted + (at - reach) ** 2)

    return lax.fori_loop(0, 2 * reach + 1, lower, heights)


def _largest_near(values: jax.Array, width: int) -> jax.Array:
    for axis in (1, 2):
        pad = [(0, 0)] * 3
        pad[axis] = (width, width)
        padded = jnp.pad(values, pad, mode="edge")
        size = values.shape[axis]
        for at in range(2 * width + 1):
            values = jnp.maximum(values, lax.slice_in_dim(padded, at, at + size, axis=axis))
    return values
