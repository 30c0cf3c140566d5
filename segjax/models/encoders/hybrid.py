"""Dense convolutions where maps are large, inverted residuals where they are small.

EfficientNetV2's finding (Tan and Le, 2021), scaled to a CPU's millisecond: at strides 4 and 8 a few
channels of dense 3×3 are faster than depthwise ones, at stride 16 depthwise ones buy three times
the channels for the same time. Dilation in the last stage widens the view to the whole picture,
and blocks at half its stride, where a pixel costs a quarter, can hold what the picture shows.
"""

import jax
from flax import nnx

from segjax.models.blocks import (
    ConvNorm,
    InvertedResidual,
    ResidualBlock,
    space_to_depth,
    upsample2x,
)
from segjax.models.features import CENTRED, FeatureInfo


class Hybrid(nnx.Module):
    """float [N, H, W, 3] → features at strides 4, 8 and `output_stride`; H, W multiples of 16."""

    multiple = 16
    normalization = CENTRED

    def __init__(
        self,
        *,
        widths: tuple[int, int, int] = (24, 48, 96),
        depths: tuple[int, int] = (0, 1),
        expanded: int = 192,
        dilations: tuple[int, ...] = (1, 2, 1, 2),
        context: int = 0,
        output_stride: int = 16,
        rngs: nnx.Rngs,
    ):
        if output_stride not in (8, 16):
            raise ValueError(f"output_stride: got {output_stride}; 8 and 16 are built")
        fine, middle, coarse = widths
        self.output_stride = output_stride
        self.info = FeatureInfo((4, 8, 16), (4, 8, output_stride), (fine, middle, coarse))
        scale = 16 // output_stride
        self.stem = ConvNorm(12, fine, stride=2, rngs=rngs)
        self.stage4 = nnx.List([ResidualBlock(fine, rngs=rngs) for _ in range(depths[0])])
        self.down8 = ConvNorm(fine, middle, stride=2, rngs=rngs)
        self.stage8 = nnx.List([ResidualBlock(middle, rngs=rngs) for _ in range(depths[1])])
        self.down16 = ConvNorm(middle, coarse, stride=output_stride // 8, rngs=rngs)
        self.stage16 = nnx.List(
            [
                InvertedResidual(
                    coarse, coarse, expanded, kernel=5, dilation=dilation * scale, rngs=rngs
                )
                for dilation in dilations
            ]
        )
        # Three times the width of the map: here capacity is cheap.
        self.context = nnx.data(
            Context(coarse, 3 * coarse, context, rngs=rngs) if context else None
        )

    def __call__(self, x: jax.Array) -> list[jax.Array]:
        features = []
        x = space_to_depth(x, 2)
        for down, stage in (
            (self.stem, self.stage4),
            (self.down8, self.stage8),
            (self.down16, self.stage16),
        ):
            x = down(x)
            for block in stage:
                x = block(x)
            features.append(x)
        if self.context is not None:
            features[-1] = self.context(x)
        return features


class Context(nnx.Module):
    """Adds to a map what inverted residuals see at half its size. Any size goes in and out."""

    def __init__(self, features: int, expanded: int, depth: int, *, rngs: nnx.Rngs):
        self.down = ConvNorm(features, features, stride=2, depthwise=True, act=None, rngs=rngs)
        self.blocks = nnx.List(
            [
                InvertedResidual(features, features, expanded, kernel=5, rngs=rngs)
                for _ in range(depth)
            ]
        )
        self.project = ConvNorm(features, features, 1, act=None, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.down(x)
        for block in self.blocks:
            y = block(y)
        _, height, width, _ = x.shape
        return x + upsample2x(self.project(y))[:, :height, :width]


VARIANTS = {"hybrid": Hybrid}
