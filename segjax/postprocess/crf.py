"""Labels drawn to the picture's edges by a fully connected CRF (Krähenbühl and Koltun, 2011)."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from segjax.postprocess import lattice

BLOCK = 512
"""Pixels whose messages the exact form computes at a time: BLOCK × pixels numbers in memory."""

Filter = Callable[[jax.Array], jax.Array]
"""float32 [N, L] → Σ_j k(i, j) values_j, [N, L]."""


@dataclasses.dataclass(frozen=True)
class DenseCRF:
    """Which pixels take each other's label, how strongly, and for how long they talk.

    Pixels i, j support each other's label by

        smoothness · exp(−|pᵢ − pⱼ|² / 2 near²)
        + appearance · exp(−|pᵢ − pⱼ|² / 2 far² − |cᵢ − cⱼ|² / 2 colour²)

    with positions p in pixels and colours c in 0..255, each kernel normalised on both sides. The
    defaults are nearly the best of a search on street scenes (`benchmarks/tune_crf.py`), where the
    network is mostly right; a poor one wants larger weights.
    """

    smoothness: float = 1.0
    """Weight of the nearness of pixels alone: removes specks."""
    near: float = 1.0
    """Its reach, pixels."""
    appearance: float = 1.0
    """Weight of nearness and like colour together: draws labels to edges."""
    far: float = 80.0
    """Its reach, pixels."""
    colour: float = 5.0
    """Difference of colours that counts as an edge, in 0..255."""
    iterations: int = 5
    """Rounds of mean field."""

    def __post_init__(self) -> None:
        for name in ("near", "far", "colour"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: got {getattr(self, name)}; it is above 0")
        if self.iterations < 1:
            raise ValueError(f"iterations: got {self.iterations}; it is at least 1")


def dense_crf(
    probabilities: jax.typing.ArrayLike,
    image: jax.typing.ArrayLike,
    crf: DenseCRF = DenseCRF(),
    *,
    method: Literal["fast", "exact"] = "fast",
) -> jax.Array:
    """Marginals of the labels, given what a network thinks of each pixel alone.

    Mean field: Q ← softmax(log p + Σ weight · kernel Q), with a Potts model between labels. A
    pixel counts among its own neighbours, as in the authors' program.

    Args:
      probabilities: float32 [H, W, L], L >= 2, in [0, 1]; each pixel's sum to 1.
      image: uint8 [H, W, 3].
      crf: weights, reaches and iterations.
      method: "exact" compares every pixel with every other, in blocks: O(N²), for small pictures
        and as the reference. "fast" filters by the permutohedral lattice, O(N).

    Returns:
      float32 [H, W, L].

    Raises:
      ValueError: a shape, a dtype or the method is another than these.
    """
    probabilities, image = jnp.asarray(probabilities), jnp.asarray(image)
    if image.dtype != jnp.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"got an image of {image.dtype}{list(image.shape)}; it is uint8[H, W, 3]")
    if probabilities.ndim != 3 or probabilities.shape[:2] != image.shape[:2]:
        raise ValueError(
            f"got probabilities of {list(probabilities.shape)} for a picture of "
            f"{list(image.shape)}; they are [H, W, labels] of its size"
        )
    if probabilities.shape[2] < 2:
        raise ValueError("got one label; two or more are needed: for a mask p give 1 − p and p")
    if method not in ("fast", "exact"):
        raise ValueError(f"method: got {method!r}; known are fast, exact")
    unary = jnp.log(jnp.clip(probabilities.astype(jnp.float32), 1e-6, 1))
    place, colour = _features(image)
    together = jnp.concatenate([place / crf.far, colour / crf.colour], axis=1)
    weights = jnp.asarray([crf.smoothness, crf.appearance], jnp.float32)
    if method == "exact":
        kernels = (place / crf.near, together)
        return _mean_field(_filter_exactly, crf.iterations, unary, kernels, weights)
    height, width = image.shape[:2]
    rows, columns = _gaussian(height, crf.near), _gaussian(width, crf.near)
    kernels = ((rows, columns), lattice.build(together))
    return _mean_field(_filter_fast, crf.iterations, unary, kernels, weights)


def _features(image: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Positions [N, 2] and colours [N, 3], about their middle: small numbers lose no digits."""
    height, width = image.shape[:2]
    y, x = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
    place = jnp.stack([y - height / 2, x - width / 2], axis=-1).reshape(-1, 2)
    return place.astype(jnp.float32), image.reshape(-1, 3).astype(jnp.float32) - 127.5


def _gaussian(size: int, deviation: float) -> jax.Array:
    distance = np.arange(size)[:, None] - np.arange(size)
    return jnp.asarray(np.exp(-0.5 * (distance / deviation) ** 2), jnp.float32)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _mean_field(
    filters: Callable[..., tuple[jax.Array, ...]],
    iterations: int,
    unary: jax.Array,
    kernels: tuple,
    weights: jax.Array,
) -> jax.Array:
    height, width, labels = unary.shape
    start = unary.reshape(-1, labels)
    ones = jnp.ones((len(start), 1))
    norms = [lax.rsqrt(sums + 1e-20) for sums in filters(kernels, (height, width), ones, ones)]

    def talk(_: jax.Array, marginals: jax.Array) -> jax.Array:
        messages = filters(kernels, (height, width), *(norm * marginals for norm in norms))
        support = sum(
            weight * norm * message
            for weight, norm, message in zip(weights, norms, messages, strict=True)
        )
        return jax.nn.softmax(start + support, axis=-1)

    out = lax.fori_loop(0, iterations, talk, jax.nn.softmax(start, axis=-1))
    return out.reshape(unary.shape)


def _filter_fast(kernels, size, near, far):
    (rows, columns), bilateral = kernels
    blurred = jnp.einsum("ab,bcl->acl", rows, near.reshape(*size, -1))
    blurred = jnp.einsum("ab,cbl->cal", columns, blurred)
    return blurred.reshape(near.shape), lattice.filter_by(bilateral, far)


def _filter_exactly(kernels, size, near, far):
    return tuple(
        _sum_over_all(features, values)
        for features, values in zip(kernels, (near, far), strict=True)
    )


def _sum_over_all(features: jax.Array, values: jax.Array) -> jax.Array:
    count = len(features)
    block = min(BLOCK, count)
    squares = (features**2).sum(1)

    def one(start: jax.Array) -> jax.Array:
        mine = lax.dynamic_slice_in_dim(features, start, block)
        dots = jnp.dot(mine, features.T, precision="highest")
        distance = (mine**2).sum(1)[:, None] + squares - 2 * dots
        return jnp.exp(-0.5 * jnp.maximum(distance, 0)) @ values

    # The last block overlaps the one before: blocks are of one size, pictures are not.
    starts = np.minimum(np.arange(0, count, block), count - block)
    sums = lax.map(one, jnp.asarray(starts))
    fresh = np.concatenate([np.arange(s, s + block) for s in starts])
    return jnp.zeros_like(values).at[fresh].set(sums.reshape(-1, values.shape[1]))
