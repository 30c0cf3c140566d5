"""Residual networks (He et al., 2016), with the stride in a bottleneck's 3×3 convolution ("v1.5").

Dilated as in DeepLab v3 (Chen et al., 2017) and Dilated Residual Networks (Yu et al., 2017).
"""

from functools import partial

import jax
from flax import nnx

from segjax.models.blocks import ConvNorm, max_pool
from segjax.models.features import IMAGENET, FeatureInfo, dilate

STAGES = {
    18: (False, (2, 2, 2, 2)),
    34: (False, (3, 4, 6, 3)),
    50: (True, (3, 4, 6, 3)),
    101: (True, (3, 4, 23, 3)),
    152: (True, (3, 8, 36, 3)),
}
"""Bottlenecks or not, and blocks a stage: the paper's Table 1."""


class ResNet(nnx.Module):
    """float [N, H, W, 3] → the maps of the stem and of the four stages; any size.

    Args:
      bottleneck: blocks of 1×1, 3×3, 1×1 convolutions instead of two 3×3.
      depths: blocks in each stage, conv2_x to conv5_x.
      width: channels of the stem.
      deep: a stem of three 3×3 convolutions instead of one of 7×7 (as in PSPNet and DeepLab).
      multi_grid: what the last stage's dilation is multiplied by, block by block: (1, 2, 4) is
        DeepLab v3's. Without, a stage's first block keeps the dilation of the stage before.
      output_stride: 32, 16 or 8.
    """

    multiple = 1
    normalization = IMAGENET

    def __init__(
        self,
        *,
        bottleneck: bool = True,
        depths: tuple[int, ...] = (3, 4, 6, 3),
        width: int = 64,
        deep: bool = False,
        multi_grid: tuple[int, ...] = (),
        output_stride: int = 32,
        rngs: nnx.Rngs,
    ):
        if multi_grid and len(multi_grid) < depths[-1]:
            raise ValueError(
                f"multi_grid: got {len(multi_grid)} rates; the last stage has {depths[-1]} blocks; "
                "give one a block"
            )
        self.stem = nnx.List(
            [
                ConvNorm(3, width // 2, stride=2, rngs=rngs),
                ConvNorm(width // 2, width // 2, rngs=rngs),
                ConvNorm(width // 2, width, rngs=rngs),
            ]
            if deep
            else [ConvNorm(3, width, 7, stride=2, rngs=rngs)]
        )
        make, grown = (Bottleneck, 4) if bottleneck else (BasicBlock, 1)
        places = dilate((2, 2, 1, *[2] * (len(depths) - 1)), output_stride)
        channels, stages = width, []
        for index, (depth, place) in enumerate(zip(depths, places[2:], strict=True)):
            inner = width * 2**index
            stage = []
            for block in range(depth):
                before, after = (place.after if block else place.before), place.after
                if multi_grid and index == len(depths) - 1:
                    before = after = place.after * multi_grid[block]
                stride = 1 if block else place.stride
                stage.append(
                    make(
                        channels,
                        inner,
                        stride=stride,
                        dilations=(before, after),
                        project=block == 0 and (index > 0 or channels != inner * grown),
                        rngs=rngs,
                    )
                )
                channels = inner * grown
            stages.append(nnx.List(stage))
        self.stages = nnx.List(stages)
        levels = (2, *(place.level for place in places[2:]))
        self.output_stride = output_stride
        self.info = FeatureInfo(
            levels,
            tuple(min(level, output_stride) for level in levels),
            (width, *(width * grown * 2**index for index in range(len(depths)))),
        )

    def __call__(self, x: jax.Array) -> list[jax.Array]:
        for conv in self.stem:
            x = conv(x)
        maps = [x]
        x = max_pool(x, 3, stride=2)
        for stage in self.stages:
            for block in stage:
                x = block(x)
            maps.append(x)
        return maps


class BasicBlock(nnx.Module):
    """Two 3×3 convolutions and a shortcut: the paper's Figure 5, left."""

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        stride: int,
        dilations: tuple[int, int],
        project: bool,
        rngs: nnx.Rngs,
    ):
        before, after = dilations
        self.first = ConvNorm(in_features, features, stride=stride, dilation=before, rngs=rngs)
        self.second = ConvNorm(features, features, dilation=after, rngs=rngs)
        self.shortcut = _shortcut(in_features, features, stride, rngs) if project else None

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.second(self.first(x), add=self.shortcut(x) if self.shortcut else x)


class Bottleneck(nnx.Module):
    """1×1 to fewer channels, 3×3, 1×1 to four times as many: the paper's Figure 5, right."""

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        stride: int,
        dilations: tuple[int, int],
        project: bool,
        rngs: nnx.Rngs,
    ):
        self.reduce = ConvNorm(in_features, features, 1, rngs=rngs)
        self.spatial = ConvNorm(features, features, stride=stride, dilation=dilations[0], rngs=rngs)
        self.expand = ConvNorm(features, 4 * features, 1, rngs=rngs)
        self.shortcut = _shortcut(in_features, 4 * features, stride, rngs) if project else None

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.spatial(self.reduce(x))
        return self.expand(y, add=self.shortcut(x) if self.shortcut else x)


def _shortcut(in_features: int, features: int, stride: int, rngs: nnx.Rngs) -> ConvNorm:
    return ConvNorm(in_features, features, 1, stride=stride, act=None, rngs=rngs)


VARIANTS = {
    f"resnet{layers}": partial(ResNet, bottleneck=bottleneck, depths=depths)
    for layers, (bottleneck, depths) in STAGES.items()
}
