"""Dense convolutions where maps are large, EfficientNet-Lite where they are small.

EfficientNetV2's finding (Tan and Le, 2021): at strides 4 and 8 a few channels of dense 3×3 are
faster than inverted residuals of many, which pay in memory for what they save in products. So
they take the place of EfficientNet-Lite0's first five layers, whose map of stride 8 they learn to
give (`TrainConfig.teacher`), and what follows begins from its weights.
"""

import jax
from flax import nnx

from segjax.models.blocks import ConvNorm, ResidualBlock, space_to_depth
from segjax.models.encoders.efficientnet import STAGES
from segjax.models.encoders.efficientnet_lite import VARIANTS as LITE
from segjax.models.features import EVEN, FeatureInfo

KEPT = (*STAGES[:5], STAGES[5]._replace(blocks=1))
"""Of Lite0's stages: two thirds of the parameters are in what follows."""
REPLACED = 5
"""Of Lite0's layers: the stem, the block at stride 2, two at stride 4, one at stride 8."""


class DenseLite(nnx.Module):
    """float [N, H, W, 3] → features at strides 4, 8, 16 and 32; H, W multiples of 16.

    Args:
      widths: channels of the dense convolutions at strides 4 and 8.
      depth: residual blocks at stride 8.
      output_stride: 32, 16 or 8.
    """

    multiple = 16
    normalization = EVEN

    def __init__(
        self,
        *,
        widths: tuple[int, int] = (32, 64),
        depth: int = 1,
        output_stride: int = 32,
        rngs: nnx.Rngs,
    ):
        fine, middle = widths
        lite = LITE["efficientnet_lite0"](
            stages=KEPT, act="relu", output_stride=output_stride, rngs=rngs
        )
        channels = (fine, *lite.info.channels[2:])
        self.stem = ConvNorm(12, fine, stride=2, rngs=rngs)
        self.down = ConvNorm(fine, middle, stride=2, rngs=rngs)
        self.dense = nnx.List([ResidualBlock(middle, rngs=rngs) for _ in range(depth)])
        self.hint = ConvNorm(middle, channels[1], 1, act=None, rngs=rngs)
        self.layers = nnx.List(lite.layers[REPLACED:])
        self.ends = tuple(end - REPLACED for end in lite.ends[2:])
        self.output_stride = output_stride
        self.info = FeatureInfo(lite.info.levels[1:], lite.info.strides[1:], channels)

    def __call__(self, x: jax.Array) -> list[jax.Array]:
        x = self.stem(space_to_depth(x, 2))
        maps = [x]
        x = self.down(x)
        for block in self.dense:
            x = block(x)
        x = self.hint(x)
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index in self.ends:
                maps.append(x)
        return maps

    def adopted(self, encoder: str) -> dict[str, str]:
        """Beginnings of names, ours → theirs, that weights of another encoder begin ours."""
        if encoder != "efficientnet_lite0":
            return {}
        return {f"layers.{at}.": f"layers.{at + REPLACED}." for at in range(len(self.layers))}


VARIANTS = {"dense_lite": DenseLite}
