"""SegFormer's all-MLP decoder (Xie et al., 2021, Figure 2)."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from segjax.models.blocks import Conv, ConvNorm, resize_bilinear
from segjax.models.features import FeatureInfo


class AllMLP(nnx.Module):
    """Features at strides 4, 8, 16, 32: each → linear → stride 4; together → 1×1 → classifier.

    Args:
      width: channels that every level is projected to: 256 with B0 and B1 as published, 768 with
        B2 to B5.
      dropout: chance that a channel is left out before the classifier in training.
    """

    levels = (4, 8, 16, 32)
    multiple = 1
    encoder = ("mit_b0", {})

    def __init__(
        self,
        info: FeatureInfo,
        num_classes: int,
        *,
        width: int = 256,
        dropout: float = 0.1,
        rngs: nnx.Rngs,
    ):
        linear = functools.partial(nnx.Linear, out_features=width, rngs=rngs)
        self.project = nnx.List([linear(channels) for channels in info.channels])
        self.mix = ConvNorm(len(info.channels) * width, width, 1, rngs=rngs)
        self.dropout = nnx.Dropout(dropout, broadcast_dims=(1, 2))
        self.classifier = Conv(width, num_classes, rngs=rngs)

    def __call__(self, features: list[jax.Array], size: tuple[int, int]) -> jax.Array:
        finest = features[0].shape[1:3]
        maps = [
            resize_bilinear(project(x), finest)
            for project, x in zip(self.project, features, strict=True)
        ]
        # Coarsest first, as in published weights.
        x = self.mix(jnp.concatenate(maps[::-1], axis=-1))
        return resize_bilinear(self.classifier(self.dropout(x)), size)


VARIANTS = {"segformer": AllMLP}
