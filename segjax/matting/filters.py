"""Small filters on maps."""

import jax
import jax.numpy as jnp
import numpy as np


def gaussian(x: jax.Array, sigma: float | jax.Array) -> jax.Array:
    """Gaussian blur of planes [C, h, w] with standard deviation `sigma` in pixels, float32 [] where
    it changes without a compilation.

    Outside the map there is nothing, so blurred weights and blurred values fall off alike and
    their quotient does not. Matrix products: for wide kernels on small maps nothing is faster.
    """
    channels, height, width = x.shape
    rows, columns = _gaussian_matrix(height, sigma), _gaussian_matrix(width, sigma)
    planes = x.reshape(-1, width) @ columns.T
    return jnp.einsum("hr,crw->chw", rows, planes.reshape(channels, height, width))


def _gaussian_matrix(size: int, sigma: float | jax.Array) -> np.ndarray | jax.Array:
    xp = jnp if isinstance(sigma, jax.Array) else np
    distance = np.arange(size)[:, None] - np.arange(size)
    matrix = xp.exp(-0.5 * (distance / sigma) ** 2)
    return (matrix / matrix.sum(1).max()).astype(np.float32)
