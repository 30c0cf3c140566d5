"""Small filters on maps."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def box(x: jax.Array, radius: int) -> jax.Array:
    """The mean of the window of side 2 × `radius` + 1 in the last two axes; edges repeat."""
    side, (height, width) = 2 * radius + 1, x.shape[-2:]
    pad = [(0, 0)] * (x.ndim - 1)
    rows = _written(jnp.pad(x, [*pad[1:], (radius, radius), (0, 0)], mode="edge"))
    total = rows[..., :height, :]
    for shift in range(1, side):
        total = total + rows[..., shift : shift + height, :]
    columns = _written(jnp.pad(total, [*pad, (radius, radius)], mode="edge"))
    total = columns[..., :width]
    for shift in range(1, side):
        total = total + columns[..., shift : shift + width]
    return total * (1 / side**2)


def _written(x: jax.Array) -> jax.Array:
    """On a CPU, XLA would compute it anew for each use; on a GPU, one kernel is worth that."""
    return lax.platform_dependent(x, cpu=lax.optimization_barrier, default=lambda x: x)


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
