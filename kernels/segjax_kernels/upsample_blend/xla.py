"""`upsample_blend` through XLA: integers on a CPU, the reference's floats elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from segjax_kernels.upsample_blend import reference

BAND = 16
"""Rows of the frame that are blended at a time."""


def upsample_blend(frame: jax.Array, alpha: jax.Array, background: jax.Array) -> jax.Array:
    """See `api.upsample_blend`."""
    # GPUs and TPUs have arithmetic to spare, and XLA fuses the floats into one kernel there.
    return lax.platform_dependent(
        frame, alpha, background, cpu=_in_integers, default=reference.upsample_blend
    )


def _in_integers(frame: jax.Array, alpha: jax.Array, background: jax.Array) -> jax.Array:
    """The mask becomes bytes, first as wide as the frame, then blended in 16-bit integers.

    A CPU multiplies 32 pairs of them at once where it does 16 floats, and XLA makes one vectorised
    pass over the frame of it. Alpha is off by at most 1.5 / 255: half a step from the bytes of the
    wide mask, from the byte between two of its rows, and from the weight of 8 bits. So the result
    is off by at most 2.
    """
    height, width, _ = frame.shape
    rows, down = reference.taps(height, alpha.shape[0])
    columns, right = reference.taps(width, alpha.shape[1])
    rows = rows + 1  # the mask gets an edge of its own pixels all around
    columns, right = np.repeat(columns + 1, 3), np.repeat(right, 3)  # a byte, not a pixel, each

    # Neighbours lie side by side in one word, since looking up is what costs: 255 is 255 << 8.
    mask = (reference.clip(alpha) * 65280 + 0.5).astype(jnp.uint32)
    mask = jnp.pad(mask, 1, mode="edge")
    pairs = mask[:, :-1] | (mask[:, 1:] << 16)
    right = np.rint(right * 65536).astype(np.uint32)

    def widen(row):
        pair = row[columns]
        wide = (pair & 0xFFFF) * (65536 - right) + (pair >> 16) * right
        return ((wide + (1 << 23)) >> 24).astype(jnp.uint8)

    # A loop, because XLA would otherwise fuse this into the blend and widen for every frame row.
    wide = lax.map(widen, pairs)

    rows, down = jnp.asarray(rows), jnp.asarray(np.rint(down * 256).astype(np.uint16)[:, None])
    if background.ndim == 1:
        background = jnp.broadcast_to(background[np.tile(np.arange(3), width)], (height, width * 3))
    front, back = frame.reshape(height, -1), background.reshape(height, -1)
    size = min(BAND, height)

    def blend(band, out):
        # The last band overlaps the one before: bands are of one size, heights are not.
        start = jnp.minimum(band * size, height - size)
        pixels, behind, above, weight = (
            lax.dynamic_slice_in_dim(x, start, size) for x in (front, back, rows, down)
        )
        first, second = wide[above].astype(jnp.uint16), wide[above + 1].astype(jnp.uint16)
        share = (first * (256 - weight) + second * weight + 128) >> 8
        total = pixels.astype(jnp.uint16) * share + behind.astype(jnp.uint16) * (255 - share) + 128
        mixed = ((total + (total >> 8)) >> 8).astype(jnp.uint8)
        return lax.dynamic_update_slice_in_dim(out, mixed, start, axis=0)

    # In bands, because for a whole frame XLA looks the rows of the mask up anew for each byte.
    out = lax.fori_loop(0, -(-height // size), blend, jnp.zeros_like(front))
    return out.reshape(height, width, 3)
