"""MobileNetV3-like inverted residuals (Howard et al., 2019) with ReLU, thinned for a CPU."""

from typing import NamedTuple

import jax
from flax import nnx

from segjax.models.blocks import ConvNorm, InvertedResidual
from segjax.models.features import CENTRED, FeatureInfo


class Row(NamedTuple):
    """One inverted residual: kernel side, expanded and output channels, squeeze-excite, stride."""

    kernel: int
    expanded: int
    features: int
    squeeze: bool
    stride: int


SMALL = (
    Row(3, 16, 16, True, 2),
    Row(3, 72, 24, False, 2),
    Row(3, 88, 24, False, 1),
    Row(5, 96, 40, True, 2),
    Row(5, 240, 40, True, 1),
    Row(5, 240, 40, True, 1),
    Row(5, 120, 48, True, 1),
    Row(5, 144, 48, True, 1),
)
"""The paper's Table 2 down to stride 16; its last stage would be stride 32."""


class MobileNetV3(nnx.Module):
    """float [N, H, W, 3] → features at strides 4, 8 and `output_stride`; H, W multiples of 16."""

    multiple = 16
    normalization = CENTRED

    def __init__(self, *, rows: tuple[Row, ...] = SMALL, output_stride: int = 16, rngs: nnx.Rngs):
        if output_stride not in (8, 16):
            raise ValueError(f"output_stride: got {output_stride}; 8 and 16 are built")
        rows = tuple(Row(*row) for row in rows)  # from a file they come as plain lists
        self.stem = ConvNorm(3, 16, stride=2, rngs=rngs)
        channels, stride, dilation = 16, 2, 1
        blocks: list[InvertedResidual] = []
        ends: dict[int, int] = {}
        for index, row in enumerate(rows):
            step, grow = row.stride, 1
            if stride * step > output_stride:
                step, grow = 1, step
            blocks.append(
                InvertedResidual(
                    channels,
                    row.features,
                    row.expanded,
                    kernel=row.kernel,
                    stride=step,
                    dilation=dilation,
                    squeeze=row.squeeze,
                    rngs=rngs,
                )
            )
            # The kernel that lost its stride sees what it saw before; those behind it are spread.
            channels, stride, dilation = row.features, stride * step, dilation * grow
            ends[min(16, stride * dilation)] = index
        self.blocks = nnx.List(blocks)
        if not {4, 8, 16} <= set(ends):
            raise ValueError(f"rows: got strides {sorted(ends)}; 4, 8 and 16 are needed")
        self.ends = (ends[4], ends[8], ends[16])
        self.output_stride = output_stride
        channels_out = tuple(rows[end].features for end in self.ends)
        self.info = FeatureInfo((4, 8, 16), (4, 8, output_stride), channels_out)

    def __call__(self, x: jax.Array) -> list[jax.Array]:
        x = self.stem(x)
        features = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.ends:
                features.append(x)
        return features


VARIANTS = {"mobilenet_v3": MobileNetV3}
