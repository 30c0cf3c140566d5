"""U-Net's expanding path (Ronneberger, Fischer and Brox, 2015): the right half of figure 1."""

import jax
import jax.numpy as jnp
from flax import nnx

from segjax.models.blocks import Conv, resize_bilinear
from segjax.models.encoders.unet import two_convolutions
from segjax.models.features import FeatureInfo
from segjax.models.sampling import ConvTranspose


class UNet(nnx.Module):
    """Features of any encoder → logits: up-convolution, the skip beside it, two convolutions.

    `widths` are those of the ways up, finest first; by default the published 64 at stride 1, twice
    as many at each further stride, at most 512. With batch norm and padding.
    """

    levels: tuple[int, ...] = ()
    multiple = 1
    encoder: tuple[str, dict[str, object]] = ("unet", {})
    norm = True

    def __init__(
        self,
        info: FeatureInfo,
        num_classes: int,
        *,
        widths: tuple[int, ...] | None = None,
        rngs: nnx.Rngs,
    ):
        *skips, below = info.channels
        if widths is None:
            widths = tuple(min(64 * level, 512) for level in info.levels[:-1])
        if len(widths) != len(skips):
            raise ValueError(f"widths: got {len(widths)}; the encoder has {len(skips)} skips")
        ups, stages = [], []
        for at in reversed(range(len(skips))):
            factor = info.strides[at + 1] // info.strides[at]
            ups.append(ConvTranspose(below, widths[at], factor, rngs=rngs))
            stages.append(
                two_convolutions(widths[at] + skips[at], widths[at], norm=self.norm, rngs=rngs)
            )
            below = widths[at]
        self.ups, self.stages = nnx.List(ups), nnx.List(stages)
        self.classifier = Conv(below, num_classes, rngs=rngs)

    def __call__(self, features: list[jax.Array], size: tuple[int, int]) -> jax.Array:
        *skips, x = features
        for up, stage, skip in zip(self.ups, self.stages, reversed(skips), strict=True):
            x = stage(self.beside(skip, up(x)))
        return self.to_size(self.classifier(x), size)

    def beside(self, skip: jax.Array, x: jax.Array) -> jax.Array:
        """The channels of both; of an odd side the second half of the last pixel is cut."""
        return jnp.concatenate([skip, x[:, : skip.shape[1], : skip.shape[2]]], axis=-1)

    def to_size(self, logits: jax.Array, size: tuple[int, int]) -> jax.Array:
        """Bilinear where the encoder's finest map is coarser than the picture."""
        return resize_bilinear(logits, size)


class UNetValid(UNet):
    """As published: no norm and no padding, which consumes the margin that the encoder keeps."""

    levels = (1, 2, 4, 8, 16)
    margin = 92
    encoder = ("unet_valid", {})
    norm = False

    def beside(self, skip: jax.Array, x: jax.Array) -> jax.Array:
        """Copy and crop: of the skip what lies in the middle."""
        rows, columns = x.shape[1:3]
        top, left = (skip.shape[1] - rows) // 2, (skip.shape[2] - columns) // 2
        return jnp.concatenate([skip[:, top : top + rows, left : left + columns], x], axis=-1)

    def to_size(self, logits: jax.Array, size: tuple[int, int]) -> jax.Array:
        """Cut where the picture was continued to a size that can be halved."""
        return logits[:, : size[0], : size[1]]


VARIANTS = {"unet": UNet, "unet_valid": UNetValid}
