"""Lines from brightness to alpha, fitted where everything is small."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from segjax_kernels import cpu
from segjax_kernels.box import box_by_xla
from segjax_kernels.dispatch import Implementation, dispatch
from segjax_kernels.lines import lines_by_xla

LUMA = (0.299, 0.587, 0.114)
"""Brightness of red, green and blue."""

NEAR = 1
"""Radius of the windows in which the lines are fitted."""

NEAR_SOFTNESS = 2e-2
"""Variance of brightness that counts as an edge for the lines."""


def guided_coefficients(
    alpha: Any, small: Any, *, radius: int = 2, softness: float = 1e-4
) -> tuple[jax.Array, jax.Array]:
    """What `guided_upsample_blend` sharpens a mask with: alpha ≈ slope * brightness + offset.

    Two guided filters (He, Sun and Tang, "Guided Image Filtering", PAMI 2013). The first one moves
    the mask's edges to those of the small picture, by all three colours, in wide windows at half
    its size. The second fits, in narrow windows, a line from brightness alone to what the first
    one gave; lines vary slowly, so they may be upsampled and applied to a picture of any size (He
    and Sun, "Fast Guided Filter", 2015).

    Works under `jit`, `vmap` and `grad`.

    Args:
      alpha: float32 [h, w] or [N, h, w] in [0, 1].
      small: float32 [h, w, 3] or [N, h, w, 3] in [0, 1], the frame at that size.
      radius: of the wide windows, in pixels of half the size; their side is 2 * `radius` + 1.
      softness: variance of a colour below which a difference is noise and no edge.

    Returns:
      slope and offset, both of alpha's shape, for brightness in [0, 1].

    Raises:
      ValueError: a shape or dtype breaks the rules above, `radius` is below 1, or `softness` is
        not positive.
    """
    alpha, small = jnp.asarray(alpha), jnp.asarray(small)
    if alpha.dtype != jnp.float32 or alpha.ndim not in (2, 3) or not alpha.size:
        raise ValueError(
            f"got an alpha of {alpha.dtype}{list(alpha.shape)}; it is float32[h, w] or "
            "float32[N, h, w]; convert it"
        )
    if small.dtype != jnp.float32 or small.shape != (*alpha.shape, 3):
        raise ValueError(
            f"got a small picture of {small.dtype}{list(small.shape)} for an alpha of "
            f"{list(alpha.shape)}; it is float32 and of alpha's size, with three colours; shrink "
            "the frame to it"
        )
    if radius < 1 or not softness > 0:
        raise ValueError(
            f"got radius={radius} and softness={softness}; they are at least 1 and above 0"
        )
    return _jitted(alpha, small, radius, float(softness))


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _coefficients(
    alpha: jax.Array, small: jax.Array, radius: int, softness: float
) -> tuple[jax.Array, jax.Array]:
    return dispatch(IMPLEMENTATIONS, None, alpha, small, radius=radius, softness=softness)


@_coefficients.defjvp
def _(radius, softness, primals, tangents):
    return jax.jvp(functools.partial(_by_xla, radius=radius, softness=softness), primals, tangents)


_jitted = jax.jit(_coefficients, static_argnums=(2, 3))


def _by_c(
    alpha: jax.Array, small: jax.Array, radius: int, softness: float
) -> tuple[jax.Array, jax.Array]:
    slope, offset = cpu.call(
        "guided_coefficients",
        (alpha, alpha),
        alpha,
        jnp.moveaxis(small, -1, -3),
        vmap="broadcast_all",
        radius=radius,
        softness=softness,
        near=NEAR,
        near_softness=NEAR_SOFTNESS,
    )
    return slope, offset


def _by_xla(
    alpha: jax.Array, small: jax.Array, radius: int, softness: float
) -> tuple[jax.Array, jax.Array]:
    colours = jnp.moveaxis(small, -1, 0)
    alpha = _by_colour(alpha, colours, radius, softness)
    red, green, blue = colours
    brightness = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return lines_by_xla(alpha, brightness, radius=NEAR, softness=NEAR_SOFTNESS)


def _by_colour(alpha: jax.Array, colours: jax.Array, radius: int, softness: float) -> jax.Array:
    """The guided filter of alpha [..., h, w] by colours [3, ..., h, w], fitted at half the size."""
    halves = _halve(jnp.concatenate([colours, alpha[None]]))
    r, g, b, a = halves
    products = jnp.stack([r * r, g * g, b * b, r * g, r * b, g * b, r * a, g * a, b * a])
    means = box_by_xla(jnp.concatenate([halves, products]), radius)
    r, g, b, a = means[:4]
    products = jnp.stack([r * r, g * g, b * b, r * g, r * b, g * b, r * a, g * a, b * a])
    rr, gg, bb, rg, rb, gb, ra, ga, ba = means[4:] - products
    rr, gg, bb = rr + softness, gg + softness, bb + softness

    # The symmetric matrix of the colours' variances, inverted by its cofactors.
    c_rr, c_rg, c_rb = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    c_gg, c_gb, c_bb = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    scale = 1 / (rr * c_rr + rg * c_rg + rb * c_rb)
    of_r = (c_rr * ra + c_rg * ga + c_rb * ba) * scale
    of_g = (c_rg * ra + c_gg * ga + c_gb * ba) * scale
    of_b = (c_rb * ra + c_gb * ga + c_bb * ba) * scale
    offset = a - of_r * r - of_g * g - of_b * b
    height, width = alpha.shape[-2:]
    fitted = _double(box_by_xla(jnp.stack([of_r, of_g, of_b, offset]), radius))[
        ..., :height, :width
    ]
    return (fitted[:3] * colours).sum(0) + fitted[3]


def _halve(maps: jax.Array) -> jax.Array:
    """The means of 2 × 2 pixels; an odd side gets its last pixel twice."""
    pad = [(0, side % 2) for side in maps.shape[-2:]]
    maps = jnp.pad(maps, [(0, 0)] * (maps.ndim - 2) + pad, mode="edge")
    maps = maps[..., ::2, :] + maps[..., 1::2, :]
    return (maps[..., ::2] + maps[..., 1::2]) / 4


def _double(maps: jax.Array) -> jax.Array:
    """Bilinear upsampling to twice the size in the last two axes."""
    for axis in (-2, -1):
        shape, pad = list(maps.shape), [(0, 0)] * maps.ndim
        pad[axis] = (1, 1)
        wide = jnp.pad(maps, pad, mode="edge")
        before, after = (lax.slice_in_dim(wide, at, at + shape[axis], axis=axis) for at in (0, 2))
        shape[axis] *= 2
        pairs = [0.75 * maps + 0.25 * before, 0.75 * maps + 0.25 * after]
        maps = jnp.stack(pairs, axis).reshape(shape)
    return maps


IMPLEMENTATIONS = {
    "c": Implementation(_by_c, platforms=("cpu",)),
    "xla": Implementation(_by_xla),
}
"""By preference, best first."""
