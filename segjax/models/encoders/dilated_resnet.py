"""Few-channel residual network that trades its last stride for dilation.

After Dilated Residual Networks (Yu et al., 2017), thinned for a CPU: dense 3×3 convolutions at a
quarter of the resolution and below, where XLA on a CPU runs them at 100 to 200 GFLOP/s forward and
half that backward; nothing but a rearrangement of pixels happens above that.
"""

import jax
from flax import nnx

from segjax.models.blocks import ConvNorm, ResidualBlock, space_to_depth
from segjax.models.features import CENTRED, FeatureInfo


class DilatedResNet(nnx.Module):
    """float [N, H, W, 3] → features at strides 4, 8 and `output_stride`; H, W multiples of 16."""

    multiple = 16
    normalization = CENTRED

    def __init__(
        self,
        *,
        widths: tuple[int, int, int] = (32, 64, 128),
        depths: tuple[int, int, int] = (1, 2, 2),
        output_stride: int = 16,
        rngs: nnx.Rngs,
    ):
        if output_stride not in (8, 16):
            raise ValueError(f"output_stride: got {output_stride}; 8 and 16 are built")
        fine, middle, coarse = widths
        self.output_stride = output_stride
        self.info = FeatureInfo((4, 8, 16), (4, 8, output_stride), (fine, middle, coarse))
        dilated = 16 // output_stride
        self.stem = ConvNorm(12, fine, stride=2, rngs=rngs)
        self.stage4 = _blocks(fine, depths[0], rngs=rngs)
        self.down8 = ConvNorm(fine, middle, stride=2, rngs=rngs)
        self.stage8 = _blocks(middle, depths[1], rngs=rngs)
        self.down16 = ConvNorm(middle, coarse, stride=output_stride // 8, rngs=rngs)
        self.stage16 = _blocks(coarse, depths[2], dilation=dilated, growing=True, rngs=rngs)

    def __call__(self, x: jax.Array) -> list[jax.Array]:
        x = self.stem(space_to_depth(x, 2))
        x4 = self.stage4(x)
        x8 = self.stage8(self.down8(x4))
        x16 = self.stage16(self.down16(x8))
        return [x4, x8, x16]


def _blocks(
    features: int, depth: int, *, dilation: int = 1, growing: bool = False, rngs: nnx.Rngs
) -> nnx.Sequential:
    """`depth` residual blocks; `growing` alternates dilation × 1 and × 2 to widen the view."""
    return nnx.Sequential(
        *(
            ResidualBlock(features, dilation=dilation * (1 + index % 2 * growing), rngs=rngs)
            for index in range(depth)
        )
    )


VARIANTS = {"dilated_resnet": DilatedResNet}
