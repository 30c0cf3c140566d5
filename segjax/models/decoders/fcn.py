"""Fully convolutional networks: FCN-32s, 16s and 8s, and the head that torchvision calls FCN.

Long, Shelhamer and Darrell, 2015, figure 3: a classifier whose last layers are convolutions gives
a coarse map of scores; scores of finer maps are added on the way up, which is learned.
"""

import itertools

import jax
import jax.numpy as jnp
from flax import nnx

from segjax.models.blocks import Conv, ConvNorm, resize_bilinear
from segjax.models.features import FeatureInfo
from segjax.models.sampling import LearnedUpsampling


class FCN32s(nnx.Module):
    """The coarsest map → logits, upsampled in one go.

    `widths` are those of VGG's fully connected layers, of which the first has a `kernel` of 7×7.
    They are padded; the paper pads the picture by 100 pixels instead, to the same end.
    """

    levels: tuple[int, ...] = (32,)
    multiple = 1
    encoder = ("vgg16", {"pooled": True})

    def __init__(
        self,
        info: FeatureInfo,
        num_classes: int,
        *,
        widths: tuple[int, int] = (4096, 4096),
        kernel: int = 7,
        dropout: float = 0.5,
        rngs: nnx.Rngs,
    ):
        *skips, coarsest = info.channels
        self.fc6 = Conv(coarsest, widths[0], kernel, act=jax.nn.relu, rngs=rngs)
        self.fc7 = Conv(widths[0], widths[1], act=jax.nn.relu, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)
        self.score = Conv(widths[1], num_classes, rngs=rngs)
        self.skips = nnx.List([Conv(width, num_classes, rngs=rngs) for width in skips])
        for skip in self.skips:  # so that a finer network starts as the coarser one
            skip.kernel[...] = jnp.zeros_like(skip.kernel[...])
        factors = [after // before for before, after in itertools.pairwise((1, *info.strides))]
        self.upsamplings = nnx.List(
            [LearnedUpsampling(num_classes, factor) if factor > 1 else None for factor in factors]
        )

    def __call__(self, features: list[jax.Array], size: tuple[int, int]) -> jax.Array:
        *finer, x = features
        x = self.dropout(self.fc6(x))
        x = self.dropout(self.fc7(x))
        x = self.score(x)
        first, *ups = self.upsamplings
        for up, skip, fine in zip(ups[::-1], self.skips[::-1], finer[::-1], strict=True):
            x = _upsampled(x, up, fine.shape[1:3]) + skip(fine)
        return _upsampled(x, first, size)


class FCN16s(FCN32s):
    """Maps at strides 16 and 32 → logits; see `FCN32s`."""

    levels = (16, 32)


class FCN8s(FCN32s):
    """Maps at strides 8, 16 and 32 → logits; see `FCN32s`."""

    levels = (8, 16, 32)


class FCNHead(nnx.Module):
    """The coarsest map → 3×3 convolution to a quarter of the channels → logits, as torchvision."""

    levels: tuple[int, ...] = (-1,)
    multiple = 1
    encoder = ("resnet50", {"output_stride": 8})

    def __init__(
        self, info: FeatureInfo, num_classes: int, *, dropout: float = 0.1, rngs: nnx.Rngs
    ):
        (channels,) = info.channels
        width = max(1, channels // 4)
        self.conv = ConvNorm(channels, width, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)
        self.classifier = Conv(width, num_classes, rngs=rngs)

    def __call__(self, features: list[jax.Array], size: tuple[int, int]) -> jax.Array:
        (x,) = features
        return resize_bilinear(self.classifier(self.dropout(self.conv(x))), size)


class FCNAuxiliary(FCNHead):
    """The same head on the level before the coarsest, for a second loss (Zhao et al., 2017)."""

    levels = (-2,)


def _upsampled(x: jax.Array, up: LearnedUpsampling | None, size: tuple[int, ...]) -> jax.Array:
    return up(x, size) if up else x  # without a stride between two maps both have one size


VARIANTS = {
    "fcn32s": FCN32s,
    "fcn16s": FCN16s,
    "fcn8s": FCN8s,
    "fcn_head": FCNHead,
    "fcn_auxiliary": FCNAuxiliary,
}
