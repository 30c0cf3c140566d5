"""Lite R-ASPP, MobileNetV3's own head (Howard et al., 2019, figure 10), as torchvision has it."""

import jax
from flax import nnx

from segjax.models.blocks import Conv, ConvNorm, resize_bilinear
from segjax.models.features import FeatureInfo


class LRASPP(nnx.Module):
    """The coarsest map, weighted by its own mean, and the map at stride 8 → the sum of scores."""

    levels = (8, -1)
    multiple = 1
    encoder = ("mobilenet_v3_large", {"output_stride": 16, "torchvision": True})

    def __init__(self, info: FeatureInfo, num_classes: int, *, width: int = 128, rngs: nnx.Rngs):
        low, high = info.channels
        self.project = ConvNorm(high, width, 1, rngs=rngs)
        init = jax.nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
        self.scale = nnx.Linear(high, width, use_bias=False, kernel_init=init, rngs=rngs)
        self.low_classifier = Conv(low, num_classes, rngs=rngs)
        self.high_classifier = Conv(width, num_classes, rngs=rngs)

    def __call__(self, features: list[jax.Array], size: tuple[int, int]) -> jax.Array:
        low, high = features
        scale = jax.nn.sigmoid(self.scale(high.mean(axis=(1, 2))))
        x = self.project(high) * scale[:, None, None, :]
        x = resize_bilinear(x, low.shape[1:3])
        return resize_bilinear(self.low_classifier(low) + self.high_classifier(x), size)


VARIANTS = {"lraspp": LRASPP}
