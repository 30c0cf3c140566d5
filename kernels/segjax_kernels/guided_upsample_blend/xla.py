"""`guided_upsample_blend` through XLA: integers on a CPU, else the reference's floats."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from segjax_kernels.dispatch import by_platform
from segjax_kernels.guided_upsample_blend import reference
from segjax_kernels.upsample_blend import xla as plain
from segjax_kernels.upsample_blend.reference import taps

LUMA = (77, 151, 29)
"""Of 257, so that the brightest pixel fills 16 bits."""

LARGEST = 2**14 - 1
"""In 16 bits, so that the difference of two fits as well: slopes up to 15 and offsets up to 30. No
slope is steeper where the variance that counts as an edge is at least 2.8e-4, far below
what `guided_coefficients` takes."""


def guided_upsample_blend(
    *arrays: jax.Array, transparent: bool, faint: float = 0.0, **_: Any
) -> jax.Array:
    """See `reference.guided_upsample_blend`."""
    # GPUs have arithmetic to spare, and XLA fuses the reference's floats into one kernel there.
    floats = partial(reference.guided_upsample_blend, transparent=transparent, faint=faint)
    return by_platform(
        *arrays,
        cpu=partial(_in_integers, transparent=transparent, faint=faint),
        tpu=partial(floats, upsample=_by_products),
        default=floats,
    )


def _by_products(planes: jax.Array, height: int, width: int) -> jax.Array:
    """Bilinear, float32 [..., h, w] → [..., height, width]: a TPU looks up slowly."""
    rows = plain._matrix(height, planes.shape[-2])
    columns = plain._matrix(width, planes.shape[-1])
    precise = lax.Precision.HIGHEST
    wide = jnp.einsum("...rs,xs->...rx", planes, columns, precision=precise)
    return jnp.einsum("yr,...rx->...yx", rows, wide, precision=precise)


def _in_integers(*arrays: jax.Array, transparent: bool, faint: float) -> jax.Array:
    """Lines and brightness in 16-bit integers, as `upsample_blend` does its alpha.

    Alpha is off by what a slope makes of brightness being off by 0.3, and by 1.5 / 255.
    """
    one = partial(_one_in_integers, transparent=transparent, faint=faint)
    count = max(array.shape[0] for array in arrays)
    if count == 1:
        return one(*(array[0] for array in arrays))[None]
    return lax.map(
        lambda at: one(*(x[at if x.shape[0] > 1 else 0] for x in arrays)), jnp.arange(count)
    )


def _one_in_integers(
    frame: jax.Array,
    slope: jax.Array,
    offset: jax.Array,
    *pictures: jax.Array,
    transparent: bool,
    faint: float,
) -> jax.Array:
    height, width, _ = frame.shape
    front = frame.reshape(height, -1)
    share_of = _shares(slope, offset, height, width, faint)
    rooms = pictures if transparent else pictures[1:]
    room_of = plain._in_bands(rooms[0], height, width) if rooms else None

    def seen(pixels: jax.Array, share: jax.Array, start: jax.Array, size: int) -> jax.Array:
        """The person's part of a band, in 0..255 * share."""
        if room_of is None:
            return pixels * share
        whole, room = pixels * 255, (255 - share) * room_of(start, size)
        return jnp.minimum(jnp.maximum(whole, room) - room, 255 * share)

    if transparent:
        # Bytes first: to pick one share of three while they are made takes twenty times as long.
        def share_alone(start: jax.Array, size: int) -> jax.Array:
            return share_of(lax.dynamic_slice_in_dim(front, start, size), start).astype(jnp.uint8)

        shares = plain._fill(share_alone, front.shape)

        def colours(start: jax.Array, size: int) -> jax.Array:
            pixels, share = (lax.dynamic_slice_in_dim(x, start, size) for x in (front, shares))
            part = seen(pixels.astype(jnp.uint16), share.astype(jnp.uint16), start, size)
            straight = part.astype(jnp.float32) / jnp.maximum(share, 1).astype(jnp.float32)
            return (straight + 0.5).astype(jnp.uint8)

        shown = plain._fill(colours, front.shape) if rooms else front

        def cut_out(start: jax.Array, size: int) -> jax.Array:
            pixels, share = (
                lax.dynamic_slice_in_dim(x.reshape(frame.shape), start, size)
                for x in (shown, shares)
            )
            opacity = share[..., :1]
            return jnp.concatenate([jnp.where(opacity > 0, pixels, 0), opacity], axis=-1)

        return plain._fill(cut_out, (height, width, 4))

    behind_of = _behind(pictures[0], height, width)

    def blend(start: jax.Array, size: int) -> jax.Array:
        pixels = lax.dynamic_slice_in_dim(front, start, size)
        share = share_of(pixels, start)
        part = seen(pixels.astype(jnp.uint16), share, start, size)
        total = part + behind_of(start, size) * (255 - share) + 128
        return ((total + (total >> 8)) >> 8).astype(jnp.uint8)

    return plain._fill(blend, front.shape).reshape(frame.shape)


def _behind(
    background: jax.Array, height: int, width: int
) -> Callable[[jax.Array, int], jax.Array]:
    """A function of (start, size) that gives rows of the background, uint16 [size, width * 3]."""
    if background.dtype == jnp.float32:
        return plain._in_bands(background, height, width)
    rows = jnp.broadcast_to(background, (height, width, 3)).reshape(height, -1)
    return lambda start, size: lax.dynamic_slice_in_dim(rows, start, size).astype(jnp.uint16)


def _shares(
    slope: jax.Array, offset: jax.Array, height: int, width: int, faint: float
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """A function of (rows of bytes [size, width * 3], their first) that gives alpha, 0..255."""
    rows, down = taps(height, slope.shape[0])
    columns, right = taps(width, slope.shape[1])
    rows, columns = rows + 1, np.repeat(columns + 1, 3)  # the maps get an edge of their own pixels
    right = np.rint(np.repeat(right, 3) * 16384).astype(np.int32)

    gain, bias = reference.fold(slope, offset, faint)
    # Alpha becomes a byte; the product with brightness, of 15 bits, loses 16.
    maps = jnp.stack([gain * (255 * 512), bias * 255])
    maps = jnp.rint(jnp.clip(maps, -LARGEST, LARGEST)).astype(jnp.int32)
    maps = jnp.pad(maps, [(0, 0), (1, 1), (1, 1)], mode="edge")
    # Neighbours lie side by side in one word, since looking up is what costs.
    pairs = (maps[..., :-1] & 0xFFFF) | (maps[..., 1:] << 16)

    def widen(row: jax.Array) -> jax.Array:
        pair = row[columns]
        first, second = (pair << 16) >> 16, pair >> 16
        return (first + (((second - first) * right) >> 14)).astype(jnp.int16)

    # A loop, because XLA would otherwise fuse this into the blend and widen for every frame row.
    gain, bias = lax.map(widen, pairs.reshape(-1, pairs.shape[-1])).reshape(2, len(slope) + 2, -1)
    rows = jnp.asarray(rows)
    down = jnp.asarray(row_weights(down)[:, None])

    # The weights of the bytes from two before to two behind a byte, by its place in its pixel.
    colour = np.arange(3 * width) % 3
    weights = [
        np.where((colour + at >= 0) & (colour + at < 3), np.take(LUMA, colour + at, mode="clip"), 0)
        for at in range(-2, 3)
    ]

    def share_of(pixels: jax.Array, start: jax.Array) -> jax.Array:
        size = len(pixels)
        above, weight = (lax.dynamic_slice_in_dim(x, start, size) for x in (rows, down))

        def between(wide: jax.Array) -> jax.Array:
            first = wide[above]
            return first + ((_product(wide[above + 1] - first, weight, 14) + 1) >> 1)

        # What is added at the ends has no weight, and this is faster than to pad.
        padded = jnp.concatenate([pixels[:, :2], pixels, pixels[:, -2:]], axis=1)
        luma = jnp.zeros_like(pixels, jnp.uint16)
        for at, weight_at in enumerate(weights):
            shifted = padded[:, at : at + 3 * width].astype(jnp.uint16)
            luma = luma + shifted * weight_at.astype(np.uint16)
        alpha = _product(between(gain), (luma >> 1).astype(jnp.int16), 16) + between(bias)
        return jnp.clip(alpha, 0, 255).astype(jnp.uint16)

    return share_of


def row_weights(down: np.ndarray) -> np.ndarray:
    """Weights in [0, 1) as integers, int16 of 32768."""
    return np.minimum(np.rint(down * 32768), 32767).astype(np.int16)


def _product(x: jax.Array, y: jax.Array, shift: int) -> jax.Array:
    """int16 x * y >> shift, for which processors have an instruction."""
    return ((x.astype(jnp.int32) * y.astype(jnp.int32)) >> shift).astype(jnp.int16)
