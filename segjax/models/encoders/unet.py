"""U-Net's contracting path (Ronneberger, Fischer and Brox, 2015): the left half of figure 1."""

from itertools import pairwise

import jax
import jax.numpy as jnp
from flax import nnx

from segjax.models.blocks import Conv, ConvNorm, max_pool
from segjax.models.features import CENTRED, FeatureInfo

WIDTHS = (64, 128, 256, 512, 1024)


class UNet(nnx.Module):
    """float [N, H, W, 3] → features at strides 1, 2, 4, 8 and 16, of two convolutions each.

    With batch norm and padding, as it is mostly built today.
    """

    multiple = 1
    normalization = CENTRED
    norm = True

    def __init__(
        self,
        *,
        widths: tuple[int, int, int, int, int] = WIDTHS,
        output_stride: int = 16,
        rngs: nnx.Rngs,
    ):
        if output_stride != 16:
            raise ValueError(f"output_stride: got {output_stride}; 16 is built")
        self.output_stride = output_stride
        strides = (1, 2, 4, 8, 16)
        self.info = FeatureInfo(strides, strides, tuple(widths))
        self.stages = nnx.List(
            [
                two_convolutions(before, width, norm=self.norm, rngs=rngs)
                for before, width in pairwise((3, *widths))
            ]
        )

    def __call__(self, x: jax.Array) -> list[jax.Array]:
        features = [self.stages[0](x)]
        for stage in list(self.stages)[1:]:
            features.append(stage(max_pool(features[-1], 2, stride=2)))
        return features


class UNetValid(UNet):
    """As published: no norm, no padding, so that every map keeps a margin of mirrored picture.

    The picture is mirrored by `margin` pixels on every side, and further at its end to the next
    size that can be halved four times (388 and each 16 more; figure 2). Half of the coarsest map's
    features are dropped in training.
    """

    margin = 92
    norm = False

    def __init__(
        self,
        *,
        widths: tuple[int, int, int, int, int] = WIDTHS,
        dropout: float = 0.5,
        output_stride: int = 16,
        rngs: nnx.Rngs,
    ):
        super().__init__(widths=widths, output_stride=output_stride, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)

    def __call__(self, x: jax.Array) -> list[jax.Array]:
        pads = [(self.margin, self.margin + (4 - side) % 16) for side in x.shape[1:3]]
        *features, coarsest = super().__call__(
            jnp.pad(x, ((0, 0), *pads, (0, 0)), mode="symmetric")
        )
        return [*features, self.dropout(coarsest)]


def two_convolutions(
    in_features: int, features: int, *, norm: bool, rngs: nnx.Rngs
) -> nnx.Sequential:
    """3×3 twice, with batch norm and padding or with neither."""
    widths = ((in_features, features), (features, features))
    if norm:
        return nnx.Sequential(*(ConvNorm(*pair, rngs=rngs) for pair in widths))
    return nnx.Sequential(
        *(Conv(*pair, 3, padding=0, act=jax.nn.relu, rngs=rngs) for pair in widths)
    )


VARIANTS = {"unet": UNet, "unet_valid": UNetValid}
