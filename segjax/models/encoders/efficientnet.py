"""EfficientNet (Tan and Le, 2019): one network, scaled in width and depth together.

Without stochastic depth; the pictures' resolution is whatever they come in.
"""

import math
from functools import partial
from typing import Literal, NamedTuple

import jax
from flax import nnx

from segjax.models.blocks import ConvNorm, InvertedResidual, SqueezeExcite
from segjax.models.encoders.chain import Chain, divisible
from segjax.models.features import EVEN, dilate


class Stage(NamedTuple):
    """A line of the paper's Table 1: expansion, kernel, stride, channels, layers."""

    expansion: int
    kernel: int
    stride: int
    features: int
    blocks: int


STAGES = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)
"""EfficientNet-B0's stages 2 to 8."""

COEFFICIENTS = (
    (1.0, 1.0, 1e-5),
    (1.0, 1.1, 1e-5),
    (1.1, 1.2, 1e-5),
    (1.2, 1.4, 1e-5),
    (1.4, 1.8, 1e-5),
    (1.6, 2.2, 1e-3),
    (1.8, 2.6, 1e-3),
    (2.0, 3.1, 1e-3),
)
"""Of B0 to B7: of the channels, of the blocks, and the norms' epsilon in torchvision."""

ACTIVATIONS = {"silu": jax.nn.silu, "relu6": jax.nn.relu6, "relu": jax.nn.relu}


class EfficientNet(Chain):
    """float [N, H, W, 3] → maps at strides 2 to 32; any size.

    Args:
      stages: lines of the table; the first few alone are a smaller encoder.
      width: coefficient of all channels.
      depth: coefficient of the blocks in each stage.
      epsilon: of the norms.
      lite: as in EfficientNet-Lite, without squeeze and excitation, and with a stem, a first and a
        last stage that are never scaled.
      act: name of the activation.
      last: the 1×1 convolution that the classifier has (stage 9).
      output_stride: 32, 16 or 8.
    """

    def __init__(
        self,
        *,
        stages: tuple[Stage, ...] = STAGES,
        width: float = 1.0,
        depth: float = 1.0,
        epsilon: float = 1e-5,
        lite: bool = False,
        act: Literal["silu", "relu6", "relu"] = "silu",
        last: bool = False,
        output_stride: int = 32,
        rngs: nnx.Rngs,
    ):
        if lite:
            self.normalization = EVEN
        activation = ACTIVATIONS[act]
        stages = tuple(Stage(*stage) for stage in stages)  # from a file they come as plain lists
        ends = {0, len(STAGES) - 1} if lite else ()
        self.depths = tuple(
            stage.blocks if index in ends else math.ceil(stage.blocks * depth)
            for index, stage in enumerate(stages)
        )
        rows = [
            (stage, 1 if block else stage.stride)
            for stage, blocks in zip(stages, self.depths, strict=True)
            for block in range(blocks)
        ]
        places = dilate((2, *(stride for _, stride in rows)), output_stride)
        widths = [
            divisible(32 * (1 if lite else width)),
            *(divisible(row.features * width) for row, _ in rows),
        ]
        layers: list[nnx.Module] = [
            ConvNorm(3, widths[0], stride=2, act=activation, epsilon=epsilon, rngs=rngs)
        ]
        for index, (row, stride) in enumerate(rows):
            channels, features = widths[index : index + 2]
            place = places[index + 1]
            expanded = channels * row.expansion
            layers.append(
                InvertedResidual(
                    channels,
                    features,
                    expanded,
                    kernel=row.kernel,
                    stride=place.stride,
                    dilation=place.before,
                    act=activation,
                    squeeze=None
                    if lite
                    else SqueezeExcite(
                        expanded,
                        max(1, channels // 4),
                        act=activation,
                        gate=jax.nn.sigmoid,
                        rngs=rngs,
                    ),
                    expand=row.expansion > 1,
                    shortcut=stride == 1,
                    epsilon=epsilon,
                    rngs=rngs,
                )
            )
        if last:
            places.append(places[-1])
            widths.append(1280 if lite else 4 * widths[-1])
            before, after = widths[-2:]
            layers.append(ConvNorm(before, after, 1, act=activation, epsilon=epsilon, rngs=rngs))
        super().__init__(layers, places, widths, output_stride)


VARIANTS = {
    f"efficientnet_b{index}": partial(EfficientNet, width=width, depth=depth, epsilon=epsilon)
    for index, (width, depth, epsilon) in enumerate(COEFFICIENTS)
}
