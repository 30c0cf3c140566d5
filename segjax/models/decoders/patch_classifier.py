"""What fully convolutional networks replaced: a classifier of patches, slid over the picture.

Ciresan et al., 2012, network N4: the class of a pixel is that of the 95×95 window around it. The
same weights, applied as convolutions to the whole picture, give the same scores at the network's
stride of 16 without computing anything twice (Long et al., 2015): `convolved=True`.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from segjax.models.blocks import Conv, max_pool, resize_bilinear
from segjax.models.features import FeatureInfo


class PatchClassifier(nnx.Module):
    """Pixels → logits: those of a window around a pixel in the middle of each `stride`² block.

    What lies beyond the picture is mirrored. A stride of 1 is the published one: a window for every
    pixel. In between, logits are interpolated.
    """

    levels = (1,)
    multiple = 1
    encoder = ("pixels", {})
    window = 95
    own_stride = 16

    def __init__(
        self,
        info: FeatureInfo,
        num_classes: int,
        *,
        width: int = 48,
        hidden: int = 200,
        stride: int = 16,
        convolved: bool = False,
        rngs: nnx.Rngs,
    ):
        if convolved and stride != self.own_stride:
            raise ValueError(
                f"stride: got {stride}; convolved, the network's own of {self.own_stride} is given"
            )
        self.stride, self.convolved = stride, convolved
        (channels,) = info.channels
        self.convs = nnx.List(
            [
                Conv(before, width, kernel, padding=0, act=jax.nn.relu, rngs=rngs)
                for before, kernel in zip(
                    (channels, width, width, width), (4, 5, 4, 4), strict=True
                )
            ]
        )
        self.hidden = Conv(width, hidden, 3, padding=0, act=jax.nn.relu, rngs=rngs)
        self.classifier = Conv(hidden, num_classes, rngs=rngs)

    def __call__(self, features: list[jax.Array], size: tuple[int, int]) -> jax.Array:
        (x,) = features
        counts = [-(-side // self.stride) for side in size]
        before = self.window // 2 - self.stride // 2
        pads = [
            (before, self.stride * (count - 1) + self.window - before - side)
            for count, side in zip(counts, size, strict=True)
        ]
        x = jnp.pad(x, ((0, 0), *pads, (0, 0)), mode="symmetric")
        logits = self.classify(x) if self.convolved else self.slide(x, *counts)
        return resize_bilinear(logits, size)

    def classify(self, x: jax.Array) -> jax.Array:
        """A window of 95×95 → its scores [N, 1, 1, classes]; a larger picture → a map of them."""
        for conv in self.convs:
            x = max_pool(conv(x), 2, stride=2)
        return self.classifier(self.hidden(x))

    def slide(self, x: jax.Array, rows: int, columns: int) -> jax.Array:
        """The scores of each window, [N, rows, columns, classes], a row of windows at a time."""
        lefts = self.stride * jnp.arange(columns)

        def one_row(top: jax.Array) -> jax.Array:
            band = lax.dynamic_slice_in_dim(x, top, self.window, axis=1)
            windows = jax.vmap(
                lambda left: lax.dynamic_slice_in_dim(band, left, self.window, axis=2)
            )(lefts)
            scores = self.classify(windows.reshape(-1, *windows.shape[2:]))
            return scores.reshape(columns, x.shape[0], -1)

        scores = lax.map(one_row, self.stride * jnp.arange(rows))
        return scores.transpose(2, 0, 1, 3)


VARIANTS = {"patch_classifier": PatchClassifier}
