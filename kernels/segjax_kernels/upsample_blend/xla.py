"""`upsample_blend` through XLA: integers on a CPU, matrix products on a TPU, else the reference."""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from segjax_kernels.dispatch import by_platform
from segjax_kernels.upsample_blend import reference

BAND = 16
"""Rows of the frame that are blended at a time."""


def upsample_blend(
    frame: jax.Array,
    alpha: jax.Array,
    background: jax.Array | None = None,
    *,
    faint: float = 0.0,
    **_,
) -> jax.Array:
    """See `api.upsample_blend`; every array has a leading axis of N, or of 1 for all."""
    arrays = (frame, alpha) if background is None else (frame, alpha, background)
    # GPUs have arithmetic to spare, and XLA fuses the reference's floats into one kernel there.
    return by_platform(
        *arrays,
        cpu=partial(_in_integers, faint=faint),
        tpu=partial(by_products, faint=faint),
        default=partial(reference.upsample_blend, faint=faint),
    )


def by_products(
    frame: jax.Array,
    alpha: jax.Array,
    background: jax.Array | None = None,
    *,
    faint: float = 0.0,
) -> jax.Array:
    """The maps are upsampled by matrix products, and rows are runs of bytes.

    A TPU looks up slowly and multiplies matrices fast, and it pads a last axis of 3 to 128.
    """
    height, width = frame.shape[1:3]
    # Bytes of a row are 3 interleaved pixels, or 4 with the opacity.
    channels = 4 if background is None else 3

    def upsample(maps: jax.Array, channels: int) -> jax.Array:
        """[n, h, w, C] → [n, height, width * channels]; one of C = 1 goes to all."""
        rows, columns = _matrix(height, maps.shape[1]), _matrix(width, maps.shape[2])
        spread = np.eye(channels, dtype=np.float32)
        spread = spread if maps.shape[3] == channels else np.ones((1, channels), np.float32)
        columns = np.einsum("xs,ck->scxk", columns, spread).reshape(-1, width * channels)
        maps = maps.reshape(*maps.shape[:2], -1)
        precise = lax.Precision.HIGHEST
        wide = jnp.einsum("nrs,sx->nrx", maps, columns, precision=precise)
        return jnp.einsum("yr,nrx->nyx", rows, wide, precision=precise)

    share = reference.fade(upsample(reference.clip(alpha)[..., None], channels), faint)
    if background is None:
        front = jnp.pad(frame, ((0, 0), (0, 0), (0, 0), (0, 1))).reshape(-1, height, 4 * width)
        opacity = jnp.rint(255 * share)
        is_opacity = np.arange(4 * width) % 4 == 3
        out = jnp.where(is_opacity, opacity, jnp.where(opacity > 0, front.astype(jnp.float32), 0))
        return out.astype(jnp.uint8).reshape(-1, height, width, 4)
    if background.dtype == jnp.float32:
        back = jnp.rint(255 * upsample(reference.clip(background), 3))
    elif background.ndim == 2:
        back = jnp.tile(background, width)[:, None].astype(jnp.float32)
    else:
        back = background.reshape(-1, height, 3 * width).astype(jnp.float32)
    front = frame.reshape(-1, height, 3 * width).astype(jnp.float32)
    out = jnp.rint(back + share * (front - back)).astype(jnp.uint8)
    return out.reshape(-1, height, width, 3)


def _matrix(size: int, source: int) -> np.ndarray:
    """float32 [size, source] of bilinear weights; every row sums to 1."""
    before, weight = reference.taps(size, source)
    matrix = np.zeros((size, source))
    np.add.at(matrix, (np.arange(size), np.maximum(before, 0)), 1 - weight)
    np.add.at(matrix, (np.arange(size), np.minimum(before + 1, source - 1)), weight)
    return matrix.astype(np.float32)


def _in_integers(
    frame: jax.Array,
    alpha: jax.Array,
    background: jax.Array | None = None,
    *,
    faint: float = 0.0,
) -> jax.Array:
    """The maps become bytes, first as wide as the frame, then blended in 16-bit integers.

    A CPU multiplies 32 pairs of them at once where it does 16 floats, and XLA makes one vectorised
    pass over the frame of it. Alpha is off by at most 1.5 / 255: half a step from the bytes of the
    wide mask, from the byte between two of its rows, and from the weight of 8 bits. So the result
    is off by at most 2. A small background is off like alpha, which on noise makes a 2 of 3 bytes
    in 10,000 and nothing more.
    """
    arrays = (frame, alpha) if background is None else (frame, alpha, background)
    count = max(array.shape[0] for array in arrays)
    if count == 1:
        return _one_in_integers(*(array[0] for array in arrays), faint=faint)[None]

    def one(at: jax.Array) -> jax.Array:
        return _one_in_integers(*(x[at if x.shape[0] > 1 else 0] for x in arrays), faint=faint)

    return lax.map(one, jnp.arange(count))


def _one_in_integers(
    frame: jax.Array, alpha: jax.Array, background: jax.Array | None = None, *, faint: float
) -> jax.Array:
    height, width, _ = frame.shape
    share_of = _in_bands(alpha[..., None], height, width, 1 if background is None else 3)
    if faint:
        share_of = _faded(share_of, faint)
    if background is None:

        def cut_out(start: jax.Array, size: int) -> jax.Array:
            opacity = share_of(start, size).astype(jnp.uint8)[..., None]
            front = lax.dynamic_slice_in_dim(frame, start, size)
            return jnp.concatenate([jnp.where(opacity > 0, front, 0), opacity], axis=-1)

        return _fill(cut_out, (height, width, 4))

    if background.dtype == jnp.float32:
        behind = _in_bands(background, height, width)
    elif background.ndim == 1:
        row = background[np.tile(np.arange(3), width)].astype(jnp.uint16)

        def same(start: jax.Array, size: int) -> jax.Array:
            return row

        behind = same
    else:
        behind = partial(_slice, background.reshape(height, -1))
    front = frame.reshape(height, -1)

    def blend(start: jax.Array, size: int) -> jax.Array:
        share = share_of(start, size)
        total = _slice(front, start, size) * share + behind(start, size) * (255 - share) + 128
        return ((total + (total >> 8)) >> 8).astype(jnp.uint8)

    return _fill(blend, front.shape).reshape(frame.shape)


def _faded(
    share_of: Callable[[jax.Array, int], jax.Array], faint: float
) -> Callable[[jax.Array, int], jax.Array]:
    """The same without shares of 255 up to `faint`, as `reference.fade`."""
    least, gain = fading(faint)

    def faded(start: jax.Array, size: int) -> jax.Array:
        share = jnp.maximum(share_of(start, size), least) - least
        return (share * gain + 128) >> 8

    return faded


def fading(faint: float) -> tuple[int, int]:
    """Of shares of 255: up to which they become 0, and the 256ths by which the rest grows."""
    least = math.ceil(255 * faint) + 1  # a share is off by up to 1.5: none that is faint is left
    return least, (65535 - 128) // (255 - least)  # so that 255 stays 255, in 16 bits


def row_weights(down: np.ndarray) -> np.ndarray:
    """Weights in [0, 1) as integers: uint16 of 256."""
    return np.rint(down * 256).astype(np.uint16)


def column_weights(right: np.ndarray) -> np.ndarray:
    """Weights in [0, 1) as integers: uint32 of 65536."""
    return np.rint(right * 65536).astype(np.uint32)


def _slice(rows: jax.Array, start: jax.Array, size: int) -> jax.Array:
    return lax.dynamic_slice_in_dim(rows, start, size).astype(jnp.uint16)


def _fill(make: Callable[[jax.Array, int], jax.Array], shape: tuple[int, ...]) -> jax.Array:
    """uint8 of `shape`, made in bands: `make(start, size)` gives the rows from `start` on.

    In bands, because for a whole frame XLA looks the rows of the mask up anew for each byte.
    """
    height = shape[0]
    size = min(BAND, height)

    def step(band: jax.Array, out: jax.Array) -> jax.Array:
        # The last band overlaps the one before: bands are of one size, heights are not.
        start = jnp.minimum(band * size, height - size)
        return lax.dynamic_update_slice_in_dim(out, make(start, size), start, axis=0)

    return lax.fori_loop(0, -(-height // size), step, jnp.zeros(shape, jnp.uint8))


def _in_bands(
    maps: jax.Array, height: int, width: int, times: int = 1
) -> Callable[[jax.Array, int], jax.Array]:
    """Upsamples float32 [h, w, C], clipped to [0, 1]; the result is never written as a whole.

    Returns:
      A function of (start, size) that gives these rows as uint16 [size, width * C * times] in
      0..255, every value `times` times.
    """
    channels = maps.shape[2]
    rows, down = reference.taps(height, maps.shape[0])
    columns, right = reference.taps(width, maps.shape[1])
    # The maps get an edge of their own pixels all around.
    rows, columns = rows + 1, (columns + 1)[:, None] * channels + np.arange(channels)
    columns = np.repeat(columns.reshape(-1), times)
    down, right = row_weights(down), column_weights(right)
    right = np.repeat(right, channels * times)

    # Neighbours lie side by side in one word, since looking up is what costs: 255 is 255 << 8.
    padded = (reference.clip(maps) * 65280 + 0.5).astype(jnp.uint32)
    padded = jnp.pad(padded, ((1, 1), (1, 1), (0, 0)), mode="edge")
    pairs = (padded[:, :-1] | (padded[:, 1:] << 16)).reshape(padded.shape[0], -1)

    def widen(row: jax.Array) -> jax.Array:
        pair = row[columns]
        wide = (pair & 0xFFFF) * (65536 - right) + (pair >> 16) * right
        return ((wide + (1 << 23)) >> 24).astype(jnp.uint8)

    # A loop, because XLA would otherwise fuse this into the blend and widen for every frame row.
    wide = lax.map(widen, pairs)
    rows, down = jnp.asarray(rows), jnp.asarray(down[:, None])

    def band(start: jax.Array, size: int) -> jax.Array:
        above, weight = (lax.dynamic_slice_in_dim(x, start, size) for x in (rows, down))
        first, second = wide[above].astype(jnp.uint16), wide[above + 1].astype(jnp.uint16)
        return (first * (256 - weight) + second * weight + 128) >> 8

    return band
