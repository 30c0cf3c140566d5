"""Dilated branches at the coarsest map, then skips up to the finest.

The branches are DeepLab v3's atrous spatial pyramid (Chen et al., 2017), the way up is a feature
pyramid's (Lin et al., 2017): project, upsample, add the skip, convolve.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from segjax.models.blocks import ConvNorm, upsample2x


class SkipASPP(nnx.Module):
    """Features at strides 4, 8, 16 (or 4, 8, 8) → float [N, H/4, W/4, out_channels]."""

    def __init__(
        self,
        in_channels: tuple[int, int, int],
        strides: tuple[int, int, int],
        *,
        branch: int = 48,
        rates: tuple[int, ...] = (1, 2, 4),
        widths: tuple[int, int] = (32, 64),
        rngs: nnx.Rngs,
    ):
        fine, middle, coarse = in_channels
        self.stride, self.out_channels = strides[0], widths[0]
        self.halved = strides[2] > strides[1]
        scale = 16 // strides[2]
        self.branches = nnx.List(
            [ConvNorm(coarse, branch, dilation=rate * scale, rngs=rngs) for rate in rates]
        )
        self.pooled = nnx.Linear(coarse, branch, rngs=rngs)
        self.project = ConvNorm(coarse + branch * (len(rates) + 1), widths[1], 1, rngs=rngs)
        self.skip8 = ConvNorm(middle, widths[1], 1, act=False, rngs=rngs)
        self.refine8 = ConvNorm(widths[1], widths[0], rngs=rngs)
        self.skip4 = ConvNorm(fine, widths[0], 1, act=False, rngs=rngs)
        self.refine4 = ConvNorm(widths[0], widths[0], rngs=rngs)

    def __call__(self, features: list[jax.Array]) -> jax.Array:
        x4, x8, x16 = features
        pooled = jax.nn.relu(self.pooled(jnp.mean(x16, axis=(1, 2))))
        pooled = jnp.broadcast_to(pooled[:, None, None, :], (*x16.shape[:3], pooled.shape[-1]))
        x = self.project(jnp.concatenate([x16, *(b(x16) for b in self.branches), pooled], axis=-1))
        x = upsample2x(x) if self.halved else x
        x = self.refine8(jax.nn.relu(x + self.skip8(x8)))
        return self.refine4(jax.nn.relu(upsample2x(x) + self.skip4(x4)))
