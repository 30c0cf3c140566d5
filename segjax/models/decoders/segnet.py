"""SegNet (Badrinarayanan, Kendall and Cipolla, 2017): pooled maxima return to where they were."""

from itertools import pairwise

import jax
from flax import nnx

from segjax.models.blocks import Conv, ConvNorm
from segjax.models.features import FeatureInfo
from segjax.models.sampling import max_pool_indices, max_unpool


class SegNet(nnx.Module):
    """The maps of VGG's stages before their pooling → logits at full size; figure 2.

    The decoder mirrors the encoder: `depths` are the convolutions of its stages, finest first. No
    map but the coarsest is passed on, only where each maximum lay.

    Raises:
      ValueError: the encoder is dilated.
    """

    levels = (1, 2, 4, 8, 16)
    multiple = 1
    encoder = ("vgg16_bn", {})

    def __init__(
        self,
        info: FeatureInfo,
        num_classes: int,
        *,
        depths: tuple[int, int, int, int, int] = (2, 2, 3, 3, 3),
        rngs: nnx.Rngs,
    ):
        if info.strides != info.levels:
            strides = ", ".join(map(str, info.strides))
            raise ValueError(
                f"segnet needs maps of which each is half as large as the one before; got strides "
                f"{strides}; leave out output_stride"
            )
        channels = info.channels
        # The last convolution of a stage takes the next finer one's channels, of the finest gives
        # the classes.
        stages = [
            nnx.List(
                [ConvNorm(width, width, rngs=rngs) for _ in range(depth - 1)]
                + [ConvNorm(width, finer, rngs=rngs)]
            )
            for (finer, width), depth in zip(pairwise(channels), depths[1:], strict=True)
        ]
        finest = nnx.List(
            [ConvNorm(channels[0], channels[0], rngs=rngs) for _ in range(depths[0] - 1)]
        )
        self.stages = nnx.List([finest, *stages])
        self.classifier = Conv(channels[0], num_classes, 3, rngs=rngs)

    def __call__(self, features: list[jax.Array], size: tuple[int, int]) -> jax.Array:
        pooled = [max_pool_indices(x) for x in features]
        x = pooled[-1][0]
        for stage, fine, (_, places) in zip(
            reversed(self.stages), reversed(features), reversed(pooled), strict=True
        ):
            x = max_unpool(x, places, fine.shape[1:3])
            for conv in stage:
                x = conv(x)
        return self.classifier(x)


VARIANTS = {"segnet": SegNet}
