"""DeepLab v1 to v3+ (Chen et al., 2015, 2017, 2017, 2018): atrous convolutions look far.

An atrous or dilated convolution of rate r is one with a kernel that has r − 1 zeros between its
weights: the view of a large kernel at the cost of a small one.
"""

import functools
import operator

import jax
import jax.numpy as jnp
from flax import nnx

from segjax.models.blocks import Conv, ConvNorm, resize_bilinear
from segjax.models.features import FeatureInfo


class DeepLabV2(nnx.Module):
    """The coarsest map → atrous branches, each a classifier, whose scores are summed; figure 7.

    A branch is VGG's classifier: atrous 3×3 and 1×1 convolutions of `widths`, then the scores.
    Without widths it is one atrous convolution that gives the scores, as on ResNet-101. Version 1,
    LargeFOV, is the one branch of rate 12. Rates are those of a map at stride 8.
    """

    levels = (-1,)
    multiple = 1
    encoder = ("vgg16", {"output_stride": 8, "pool": 3})

    def __init__(
        self,
        info: FeatureInfo,
        num_classes: int,
        *,
        rates: tuple[int, ...] = (6, 12, 18, 24),
        widths: tuple[int, ...] = (1024, 1024),
        dropout: float = 0.5,
        rngs: nnx.Rngs,
    ):
        (channels,), (stride,) = info.channels, info.strides
        self.branches = nnx.List()
        for rate in rates:
            layers, before, kernel = [], channels, 3
            for width in (*widths, num_classes):
                last = len(layers) == len(widths)
                layers.append(
                    Conv(
                        before,
                        width,
                        kernel,
                        dilation=_at_stride(rate, 8, stride) if kernel == 3 else 1,
                        act=None if last else jax.nn.relu,
                        rngs=rngs,
                    )
                )
                before, kernel = width, 1
            self.branches.append(nnx.List(layers))
        self.dropout = nnx.Dropout(dropout)

    def __call__(self, features: list[jax.Array], size: tuple[int, int]) -> jax.Array:
        (x,) = features
        scores = []
        for *hidden, score in self.branches:
            y = x
            for layer in hidden:
                y = self.dropout(layer(y))
            scores.append(score(y))
        return resize_bilinear(functools.reduce(operator.add, scores), size)


class DeepLabV3(nnx.Module):
    """The coarsest map → atrous spatial pyramid → 3×3 → logits; figure 5, as torchvision has it.

    `rates` are by default 6, 12 and 18 for a map at stride 16, twice those at stride 8.
    """

    levels = (-1,)
    multiple = 1
    encoder = ("resnet101", {"output_stride": 16, "multi_grid": (1, 2, 4)})

    def __init__(
        self,
        info: FeatureInfo,
        num_classes: int,
        *,
        width: int = 256,
        rates: tuple[int, ...] | None = None,
        dropout: float = 0.5,
        rngs: nnx.Rngs,
    ):
        (channels,), (stride,) = info.channels, info.strides
        self.pyramid = AtrousPyramid(
            channels, width, rates or pyramid_rates(stride), dropout=dropout, rngs=rngs
        )
        self.refine = ConvNorm(width, width, rngs=rngs)
        self.classifier = Conv(width, num_classes, rngs=rngs)

    def __call__(self, features: list[jax.Array], size: tuple[int, int]) -> jax.Array:
        (x,) = features
        return resize_bilinear(self.classifier(self.refine(self.pyramid(x))), size)


class DeepLabV3Plus(nnx.Module):
    """Maps at stride 4 and the coarsest → pyramid, upsampled beside the finer map; figure 2.

    `separable` makes the 3×3 convolutions depthwise and pointwise ones, as published.
    """

    levels = (4, -1)
    multiple = 1
    encoder = ("resnet101", {"output_stride": 16, "multi_grid": (1, 2, 4)})

    def __init__(
        self,
        info: FeatureInfo,
        num_classes: int,
        *,
        width: int = 256,
        low_width: int = 48,
        rates: tuple[int, ...] | None = None,
        separable: bool = True,
        dropout: float = 0.5,
        rngs: nnx.Rngs,
    ):
        low, high = info.channels
        self.pyramid = AtrousPyramid(
            high,
            width,
            rates or pyramid_rates(info.strides[1]),
            separable=separable,
            dropout=dropout,
            rngs=rngs,
        )
        self.low = ConvNorm(low, low_width, 1, rngs=rngs)
        conv3x3 = SeparableConv if separable else ConvNorm
        self.refine = nnx.Sequential(
            conv3x3(low_width + width, width, rngs=rngs), conv3x3(width, width, rngs=rngs)
        )
        self.classifier = Conv(width, num_classes, rngs=rngs)

    def __call__(self, features: list[jax.Array], size: tuple[int, int]) -> jax.Array:
        low, high = features
        x = resize_bilinear(self.pyramid(high), low.shape[1:3])
        x = self.refine(jnp.concatenate([self.low(low), x], axis=-1))
        return resize_bilinear(self.classifier(x), size)


class AtrousPyramid(nnx.Module):
    """ASPP: 1×1, atrous 3×3 of several rates and the map's mean, side by side, then 1×1."""

    def __init__(
        self,
        in_features: int,
        features: int,
        rates: tuple[int, ...],
        *,
        separable: bool = False,
        dropout: float = 0.5,
        rngs: nnx.Rngs,
    ):
        conv3x3 = SeparableConv if separable else ConvNorm
        self.pointwise = ConvNorm(in_features, features, 1, rngs=rngs)
        self.atrous = nnx.List(
            [conv3x3(in_features, features, dilation=rate, rngs=rngs) for rate in rates]
        )
        self.image = ConvNorm(in_features, features, 1, rngs=rngs)
        self.project = ConvNorm((len(rates) + 2) * features, features, 1, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)

    def __call__(self, x: jax.Array) -> jax.Array:
        image = self.image(x.mean(axis=(1, 2), keepdims=True))
        branches = [self.pointwise(x), *(branch(x) for branch in self.atrous)]
        branches.append(jnp.broadcast_to(image, branches[0].shape))
        return self.dropout(self.project(jnp.concatenate(branches, axis=-1)))


class SeparableConv(nnx.Module):
    """Depthwise 3×3, then pointwise, each with norm and ReLU (Chollet, 2017)."""

    def __init__(self, in_features: int, features: int, *, dilation: int = 1, rngs: nnx.Rngs):
        self.depthwise = ConvNorm(
            in_features, in_features, dilation=dilation, depthwise=True, rngs=rngs
        )
        self.pointwise = ConvNorm(in_features, features, 1, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.pointwise(self.depthwise(x))


def pyramid_rates(stride: int) -> tuple[int, int, int]:
    """The published 6, 12 and 18 of a map at stride 16, as many pixels apart at another stride."""
    return (_at_stride(6, 16, stride), _at_stride(12, 16, stride), _at_stride(18, 16, stride))


def _at_stride(rate: int, given: int, stride: int) -> int:
    return max(1, rate * given // stride)


VARIANTS = {
    "deeplabv1": functools.partial(DeepLabV2, rates=(12,)),
    "deeplabv2": DeepLabV2,
    "deeplabv3": DeepLabV3,
    "deeplabv3plus": DeepLabV3Plus,
}
