"""MobileNetV3 (Howard et al., 2019): inverted residuals, hard swish, squeeze-excite."""

from functools import partial
from typing import NamedTuple

import jax
from flax import nnx

from segjax.models.blocks import ConvNorm, InvertedResidual, SqueezeExcite
from segjax.models.encoders.chain import Chain, divisible
from segjax.models.features import dilate


class Row(NamedTuple):
    """A line of the paper's tables: kernel, expanded size, channels out, SE, hard swish, stride."""

    kernel: int
    expanded: int
    features: int
    squeeze: bool
    hard: bool
    stride: int


LARGE = (
    Row(3, 16, 16, False, False, 1),
    Row(3, 64, 24, False, False, 2),
    Row(3, 72, 24, False, False, 1),
    Row(5, 72, 40, True, False, 2),
    Row(5, 120, 40, True, False, 1),
    Row(5, 120, 40, True, False, 1),
    Row(3, 240, 80, False, True, 2),
    Row(3, 200, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 480, 112, True, True, 1),
    Row(3, 672, 112, True, True, 1),
    Row(5, 672, 160, True, True, 2),
    Row(5, 960, 160, True, True, 1),
    Row(5, 960, 160, True, True, 1),
)
"""Table 1."""

SMALL = (
    Row(3, 16, 16, True, False, 2),
    Row(3, 72, 24, False, False, 2),
    Row(3, 88, 24, False, False, 1),
    Row(5, 96, 40, True, True, 2),
    Row(5, 240, 40, True, True, 1),
    Row(5, 240, 40, True, True, 1),
    Row(5, 120, 48, True, True, 1),
    Row(5, 144, 48, True, True, 1),
    Row(5, 288, 96, True, True, 2),
    Row(5, 576, 96, True, True, 1),
    Row(5, 576, 96, True, True, 1),
)
"""Table 2."""

EPSILON = 1e-3


class MobileNetV3(Chain):
    """float [N, H, W, 3] → maps at strides 2 to 32; any size.

    The coarsest one is that of the 1×1 convolution to six times the channels, on which LR-ASPP and
    DeepLab stand.

    Args:
      rows: lines of the table.
      width: coefficient of all channels.
      torchvision: maps and dilation as in torchvision's LR-ASPP and DeepLab v3, for their weights:
        a level's map is that of its first block, and the block that lost its stride is dilated
        too.
      output_stride: 32, 16 or 8.
    """

    def __init__(
        self,
        *,
        rows: tuple[Row, ...] = LARGE,
        width: float = 1.0,
        torchvision: bool = False,
        output_stride: int = 32,
        rngs: nnx.Rngs,
    ):
        rows = tuple(Row(*row) for row in rows)  # from a file they come as plain lists
        places = dilate((2, *(row.stride for row in rows)), output_stride)
        widths = [divisible(16 * width), *(divisible(row.features * width) for row in rows)]
        layers: list[nnx.Module] = [
            ConvNorm(3, widths[0], stride=2, act=jax.nn.hard_swish, epsilon=EPSILON, rngs=rngs)
        ]
        for row, place, channels, features in zip(
            rows, places[1:], widths, widths[1:], strict=False
        ):
            expanded = divisible(row.expanded * width)
            squeezed = divisible(expanded // 4)
            layers.append(
                InvertedResidual(
                    channels,
                    features,
                    expanded,
                    kernel=row.kernel,
                    stride=place.stride,
                    dilation=place.after if torchvision else place.before,
                    act=jax.nn.hard_swish if row.hard else jax.nn.relu,
                    squeeze=SqueezeExcite(expanded, squeezed, rngs=rngs) if row.squeeze else None,
                    expand=expanded != channels,
                    shortcut=row.stride == 1,
                    epsilon=EPSILON,
                    rngs=rngs,
                )
            )
        places.append(places[-1])
        widths.append(6 * widths[-1])
        before, after = widths[-2:]
        layers.append(ConvNorm(before, after, 1, act=jax.nn.hard_swish, epsilon=EPSILON, rngs=rngs))
        super().__init__(layers, places, widths, output_stride, first=torchvision)


VARIANTS = {
    "mobilenet_v3_large": partial(MobileNetV3, rows=LARGE),
    "mobilenet_v3_small": partial(MobileNetV3, rows=SMALL),
}
