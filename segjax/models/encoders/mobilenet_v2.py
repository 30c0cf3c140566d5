"""MobileNetV2 (Sandler et al., 2018): inverted residuals with linear bottlenecks."""

from typing import NamedTuple

import jax
from flax import nnx

from segjax.models.blocks import ConvNorm, InvertedResidual
from segjax.models.encoders.chain import Chain, divisible
from segjax.models.features import dilate


class Stage(NamedTuple):
    """A line of the paper's Table 2: t, c, n, s."""

    expansion: int
    features: int
    blocks: int
    stride: int


STAGES = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)


class MobileNetV2(Chain):
    """float [N, H, W, 3] → maps at strides 2 to 32; any size.

    Args:
      stages: lines of the table.
      width: coefficient of all channels.
      last: the 1×1 convolution to 1280 channels that the classifier has; the paper leaves it out
        for segmentation.
      output_stride: 32, 16 or 8.
    """

    def __init__(
        self,
        *,
        stages: tuple[Stage, ...] = STAGES,
        width: float = 1.0,
        last: bool = False,
        output_stride: int = 32,
        rngs: nnx.Rngs,
    ):
        stages = tuple(Stage(*stage) for stage in stages)  # from a file they come as plain lists
        rows = [
            (stage, 1 if block else stage.stride)
            for stage in stages
            for block in range(stage.blocks)
        ]
        places = dilate((2, *(stride for _, stride in rows)), output_stride)
        widths = [divisible(32 * width), *(divisible(row.features * width) for row, _ in rows)]
        layers: list[nnx.Module] = [
            ConvNorm(3, widths[0], stride=2, act=jax.nn.relu6, rngs=rngs),
        ]
        for index, (row, stride) in enumerate(rows):
            layers.append(
                InvertedResidual(
                    widths[index],
                    widths[index + 1],
                    widths[index] * row.expansion,
                    stride=places[index + 1].stride,
                    dilation=places[index + 1].before,
                    act=jax.nn.relu6,
                    expand=row.expansion > 1,
                    shortcut=stride == 1,
                    rngs=rngs,
                )
            )
        if last:
            places.append(places[-1])
            widths.append(divisible(1280 * max(1.0, width)))
            layers.append(ConvNorm(widths[-2], widths[-1], 1, act=jax.nn.relu6, rngs=rngs))
        super().__init__(layers, places, widths, output_stride)


VARIANTS = {"mobilenet_v2": MobileNetV2}
