"""A feature pyramid's way up: project, upsample, add the finer map, convolve (Lin et al., 2017).

What the mean of the coarsest map tells of the whole picture joins there (Liu et al., 2015:
ParseNet).
"""

import jax
import jax.numpy as jnp
from flax import nnx

from segjax.models.blocks import ConvNorm, upsample2x
from segjax.models.decoders.skip_aspp import SubpixelHead
from segjax.models.features import FeatureInfo


class FPN(nnx.Module):
    """Features at strides 4, 8, 16 and 32 → logits.

    Args:
      widths: channels behind the convolutions at strides 4, 8 and 16.
    """

    levels = (4, 8, 16, 32)
    multiple = 4
    encoder = ("dense_lite", {})

    def __init__(
        self,
        info: FeatureInfo,
        num_classes: int,
        *,
        widths: tuple[int, int, int] = (24, 48, 64),
        rngs: nnx.Rngs,
    ):
        *finer, coarse = info.channels
        joined = (*widths[1:], widths[-1])
        self.project = ConvNorm(coarse, widths[-1], 1, rngs=rngs)
        self.pooled = nnx.Linear(coarse, widths[-1], rngs=rngs)
        self.skips = nnx.List(
            [ConvNorm(skip, wide, 1, rngs=rngs) for skip, wide in zip(finer, joined, strict=True)]
        )
        self.refines = nnx.List(
            [ConvNorm(*pair, rngs=rngs) for pair in zip(joined, widths, strict=True)]
        )
        self.head = SubpixelHead(widths[0], num_classes, factor=info.strides[0], rngs=rngs)

    def __call__(self, features: list[jax.Array], size: tuple[int, int]) -> jax.Array:
        *finer, coarse = features
        pooled = jax.nn.relu(self.pooled(jnp.mean(coarse, axis=(1, 2))))
        x = self.project(coarse) + pooled[:, None, None, :]
        for skip, refine, y in zip(
            reversed(self.skips), reversed(self.refines), reversed(finer), strict=True
        ):
            _, height, width, _ = y.shape
            # Dilation may have left two maps of one size; an odd side was rounded up.
            x = x if x.shape[1:3] == (height, width) else upsample2x(x)[:, :height, :width]
            x = refine(skip(y, add=x))
        return self.head(x)


VARIANTS = {"fpn": FPN}
