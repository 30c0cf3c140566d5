"""Dilated branches at the coarsest map, then skips up to the finest.

The branches are DeepLab v3's atrous spatial pyramid (Chen et al., 2017), the way up is a feature
pyramid's (Lin et al., 2017): project, upsample, add the skip, convolve.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from segjax.models.blocks import Conv, ConvNorm, depth_to_space, upsample2x
from segjax.models.features import FeatureInfo


class SkipASPP(nnx.Module):
    """Features at strides 4, 8, 16 (or 4, 8, 8) → logits."""

    levels = (4, 8, 16)
    multiple = 16
    encoder = ("hybrid", {})

    def __init__(
        self,
        info: FeatureInfo,
        num_classes: int,
        *,
        branch: int = 48,
        rates: tuple[int, ...] = (1, 2, 4),
        widths: tuple[int, int] = (32, 64),
        rngs: nnx.Rngs,
    ):
        fine, middle, coarse = info.channels
        strides = info.strides
        self.halved = strides[2] > strides[1]
        scale = 16 // strides[2]
        self.branches = nnx.List(
            [ConvNorm(coarse, branch, dilation=rate * scale, rngs=rngs) for rate in rates]
        )
        self.pooled = nnx.Linear(coarse, branch, rngs=rngs)
        self.project = ConvNorm(coarse + branch * (len(rates) + 1), widths[1], 1, rngs=rngs)
        self.skip8 = ConvNorm(middle, widths[1], 1, rngs=rngs)
        self.refine8 = ConvNorm(widths[1], widths[0], rngs=rngs)
        self.skip4 = ConvNorm(fine, widths[0], 1, rngs=rngs)
        self.refine4 = ConvNorm(widths[0], widths[0], rngs=rngs)
        self.head = SubpixelHead(widths[0], num_classes, factor=strides[0], rngs=rngs)

    def __call__(self, features: list[jax.Array], size: tuple[int, int]) -> jax.Array:
        x4, x8, x16 = features
        pooled = jax.nn.relu(self.pooled(jnp.mean(x16, axis=(1, 2))))
        pooled = jnp.broadcast_to(pooled[:, None, None, :], (*x16.shape[:3], pooled.shape[-1]))
        x = self.project(jnp.concatenate([x16, *(b(x16) for b in self.branches), pooled], axis=-1))
        x = upsample2x(x) if self.halved else x
        x = self.refine8(self.skip8(x8, add=x))
        return self.head(self.refine4(self.skip4(x4, add=upsample2x(x))))


class SubpixelHead(Conv):
    """A 3×3 convolution whose channels become the pixels of a map `factor` times finer.

    Shi et al., 2016: full-size logits without a single operation at full size.
    """

    def __init__(self, in_features: int, classes: int, *, factor: int, rngs: nnx.Rngs):
        super().__init__(in_features, factor**2 * classes, 3, variance=1.0, rngs=rngs)
        self.factor = factor

    def __call__(self, x: jax.Array) -> jax.Array:
        return depth_to_space(super().__call__(x), self.factor)


VARIANTS = {"skip_aspp": SkipASPP}
