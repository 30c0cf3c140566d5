"""`preprocess` as two matrix products: the specification, and what GPUs and TPUs make of XLA."""

import jax
import jax.numpy as jnp
from jax import lax


def preprocess(
    frames: jax.Array, *, size: tuple[int, int], dtype: jax.typing.DTypeLike, **_
) -> jax.Array:
    """See `api.preprocess`; uint8 [N, H, W, 3] → [N, h, w, 3]."""
    rows, columns = weights(frames.shape[1], size[0]), weights(frames.shape[2], size[1])
    precise = lax.Precision.HIGHEST
    # Rows first: they are what the frame is read by.
    small = jnp.einsum("hr,nrwc->nhwc", rows, frames.astype(jnp.float32), precision=precise)
    small = jnp.einsum("vw,nhwc->nhvc", columns / 255, small, precision=precise)
    return small.astype(dtype)


def weights(size: int, resized: int) -> jax.Array:
    """float32 [resized, size]: the share that each result takes of each pixel.

    Of its interval of size / resized pixels where a side shrinks; of the two around it, with
    half-pixel centres and clamped edges, where it grows. All that is rounded is one division.
    """
    # JAX's numbers rather than NumPy's, which every compiled module would hold as a constant, also
    # where another branch is taken.
    pixels, results = jnp.arange(size), jnp.arange(resized)[:, None]
    if resized > size:
        place = jnp.clip(((2 * results + 1) * size - resized) / (2 * resized), 0, size - 1)
        return jnp.maximum(0, 1 - jnp.abs(place - pixels))
    # In units of 1 / resized of a pixel.
    ends = (results + 1) * size
    overlap = jnp.minimum(ends, (pixels + 1) * resized) - jnp.maximum(ends - size, pixels * resized)
    return jnp.maximum(overlap, 0) / size
