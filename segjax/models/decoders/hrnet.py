"""HRNetV2's head (Wang et al., 2019, Figure 4b): all branches as one map."""

import jax
import jax.numpy as jnp
from flax import nnx

from segjax.models.blocks import Conv, ConvNorm, resize_bilinear
from segjax.models.features import FeatureInfo


class HRNetHead(nnx.Module):
    """All features, upsampled to the finest and concatenated → 1×1 → 1×1 classifier → logits."""

    levels = ()
    multiple = 1
    encoder = ("hrnet_w48", {})

    def __init__(self, info: FeatureInfo, num_classes: int, *, rngs: nnx.Rngs):
        width = sum(info.channels)
        self.mix = ConvNorm(width, width, 1, rngs=rngs)
        self.classifier = Conv(width, num_classes, rngs=rngs)

    def __call__(self, features: list[jax.Array], size: tuple[int, int]) -> jax.Array:
        finest = features[0].shape[1:3]
        maps = [features[0], *(resize_bilinear(x, finest) for x in features[1:])]
        return resize_bilinear(self.classifier(self.mix(jnp.concatenate(maps, axis=-1))), size)


VARIANTS = {"hrnet": HRNetHead}
