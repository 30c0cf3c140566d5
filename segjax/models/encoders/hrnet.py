"""High resolution throughout: HRNetV2 (Wang et al., 2019, "Deep High-Resolution Representation
Learning for Visual Recognition").

The paper's Figure 2: branches at strides 4, 8, 16 and 32 run side by side; each stage starts one
more, and after every four residual blocks an exchange unit adds all branches to all.
"""

import functools
from collections.abc import Iterable
from typing import Any

import jax
from flax import nnx

from segjax.models.blocks import ConvNorm, ResidualBlock, resize_bilinear
from segjax.models.encoders.resnet import Bottleneck
from segjax.models.features import IMAGENET, FeatureInfo


class HRNet(nnx.Module):
    """float [N, H, W, 3] of any size → features at strides 4, 8, 16 and 32.

    Branches are upsampled with half-pixel centres, as in the code that was published first.

    Args:
      width: channels of the finest branch; each coarser one has twice as many.
      modules: exchange units of stages 2, 3 and 4.
      depth: residual blocks of a branch between two exchanges, and bottlenecks of stage 1.
      stem: channels of the stem; stage 1 has four times as many.
      output_stride: 32; there is no stride to trade, the finest branch never loses resolution.
    """

    multiple = 1
    normalization = IMAGENET

    def __init__(
        self,
        *,
        width: int,
        modules: tuple[int, int, int] = (1, 4, 3),
        depth: int = 4,
        stem: int = 64,
        output_stride: int = 32,
        rngs: nnx.Rngs,
    ):
        if output_stride != 32:
            raise ValueError(f"output_stride: got {output_stride}; 32 is built")
        widths = tuple(width * 2**branch for branch in range(4))
        self.output_stride = output_stride
        self.info = FeatureInfo((4, 8, 16, 32), (4, 8, 16, 32), widths)
        self.stem = nnx.List(
            [ConvNorm(3, stem, stride=2, rngs=rngs), ConvNorm(stem, stem, stride=2, rngs=rngs)]
        )
        self.stage1 = nnx.List(
            [
                Bottleneck(
                    stem if index == 0 else 4 * stem,
                    stem,
                    stride=1,
                    dilations=(1, 1),
                    project=index == 0,
                    rngs=rngs,
                )
                for index in range(depth)
            ]
        )
        self.stage2 = Stage((4 * stem,), widths[:2], modules[0], depth, rngs=rngs)
        self.stage3 = Stage(widths[:2], widths[:3], modules[1], depth, rngs=rngs)
        self.stage4 = Stage(widths[:3], widths, modules[2], depth, rngs=rngs)

    def __call__(self, x: jax.Array) -> list[jax.Array]:
        x = _through(self.stage1, _through(self.stem, x))
        return self.stage4(self.stage3(self.stage2([x])))


class Stage(nnx.Module):
    """One more branch than before, then `modules` times: residual blocks, exchange."""

    def __init__(
        self,
        before: tuple[int, ...],
        widths: tuple[int, ...],
        modules: int,
        depth: int,
        *,
        rngs: nnx.Rngs,
    ):
        # Where a branch keeps its channels it goes on as it is; the new one starts from the last.
        self.transitions = nnx.List(
            [
                None if old == new else ConvNorm(old, new, rngs=rngs)
                for old, new in zip(before, widths, strict=False)
            ]
        )
        self.start = ConvNorm(before[-1], widths[-1], stride=2, rngs=rngs)
        self.modules = nnx.List([Exchange(widths, depth, rngs=rngs) for _ in range(modules)])

    def __call__(self, maps: list[jax.Array]) -> list[jax.Array]:
        start = self.start(maps[-1])
        maps = [
            x if transition is None else transition(x)
            for x, transition in zip(maps, self.transitions, strict=True)
        ]
        maps.append(start)
        for module in self.modules:
            maps = module(maps)
        return maps


class Exchange(nnx.Module):
    """Residual blocks in every branch, then each branch becomes the sum of all, at its stride.

    From a coarser branch: 1×1 convolution and bilinear upsampling. From a finer one: a 3×3
    convolution of stride 2 for each halving, of which the last changes the channels.
    """

    def __init__(self, widths: tuple[int, ...], depth: int, *, rngs: nnx.Rngs):
        self.branches = nnx.List(
            [nnx.List([ResidualBlock(width, rngs=rngs) for _ in range(depth)]) for width in widths]
        )
        self.fuse = nnx.List(
            [
                nnx.List(
                    [self._path(widths, start, end, rngs=rngs) for start in range(len(widths))]
                )
                for end in range(len(widths))
            ]
        )

    @staticmethod
    def _path(widths: tuple[int, ...], start: int, end: int, *, rngs: nnx.Rngs) -> nnx.List:
        old, new = widths[start], widths[end]
        if start > end:
            return nnx.List([ConvNorm(old, new, 1, act=None, rngs=rngs)])
        halvings = [ConvNorm(old, old, stride=2, rngs=rngs) for _ in range(end - start - 1)]
        if start < end:
            halvings.append(ConvNorm(old, new, stride=2, act=None, rngs=rngs))
        return nnx.List(halvings)

    def __call__(self, maps: list[jax.Array]) -> list[jax.Array]:
        maps = [_through(branch, x) for branch, x in zip(self.branches, maps, strict=True)]
        fused = []
        for end, paths in enumerate(self.fuse):
            total = maps[end]
            for start, path in enumerate(paths):
                if start == end:
                    continue
                y = _through(path, maps[start])
                total = total + (resize_bilinear(y, total.shape[1:3]) if start > end else y)
            fused.append(jax.nn.relu(total))
        return fused


def _through(layers: Iterable[Any], x: jax.Array) -> jax.Array:
    for layer in layers:
        x = layer(x)
    return x


VARIANTS = {
    "hrnet_w18": functools.partial(HRNet, width=18),
    "hrnet_w32": functools.partial(HRNet, width=32),
    "hrnet_w48": functools.partial(HRNet, width=48),
}
