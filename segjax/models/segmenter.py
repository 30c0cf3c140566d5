"""Segmenter = encoder → decoder → head."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from segjax.models.blocks import conv, depth_to_space
from segjax.models.decoders import DECODERS
from segjax.models.encoders import ENCODERS


class SubpixelHead(nnx.Module):
    """A 3×3 convolution whose channels become the pixels of a map `factor` times finer.

    Shi et al., 2016: full-size logits without a single operation at full size.
    """

    def __init__(self, in_features: int, classes: int, *, factor: int, rngs: nnx.Rngs):
        self.factor = factor
        init = jax.nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
        shape = (3, 3, in_features, factor**2 * classes)
        self.kernel = nnx.Param(init(rngs.params(), shape))
        self.bias = nnx.Param(jnp.zeros((factor**2 * classes,)))

    def __call__(self, x: jax.Array) -> jax.Array:
        kernel, bias = self.kernel[...].astype(x.dtype), self.bias[...].astype(x.dtype)
        return depth_to_space(conv(x, kernel) + bias, self.factor)


class Segmenter(nnx.Module):
    """float [N, H, W, 3] in [0, 1] → logits float32 [N, H, W, classes]; H, W multiples of 16.

    Pictures are centred here, so that whoever calls it needs no constants. `model.eval()` before
    use, `model.train()` before training, as NNX has it.
    """

    MULTIPLE = 16

    def __init__(self, encoder: nnx.Module, decoder: nnx.Module, head: nnx.Module):
        self.encoder: Any = encoder
        self.decoder: Any = decoder
        self.head: Any = head

    def __call__(self, x: jax.Array) -> jax.Array:
        _, height, width, channels = x.shape
        if channels != 3 or height % self.MULTIPLE or width % self.MULTIPLE:
            fits = [max(1, round(side / self.MULTIPLE)) * self.MULTIPLE for side in (height, width)]
            raise ValueError(
                f"got a batch of shape {x.shape}; it must be [N, H, W, 3] with sides that are "
                f"multiples of {self.MULTIPLE}; {fits[0]}x{fits[1]} would fit"
            )
        features = self.encoder((x - 0.5) * 4)
        return self.head(self.decoder(features)).astype(jnp.float32)


def create_segmenter(
    *,
    encoder: str,
    decoder: str,
    classes: int = 1,
    encoder_options: dict[str, Any] | None = None,
    decoder_options: dict[str, Any] | None = None,
    seed: int = 0,
) -> Segmenter:
    """Builds a `Segmenter` by the names in `ENCODERS` and `DECODERS`.

    Raises:
      ValueError: a name is not registered; the message lists those that are.
    """
    for kind, name, known in (("encoder", encoder, ENCODERS), ("decoder", decoder, DECODERS)):
        if name not in known:
            raise ValueError(f"{kind}: got {name!r}; known are {', '.join(sorted(known))}")
    # Drawing by JAX's default generator compiles for two seconds a shape on a CPU, by this one for
    # a quarter. Its numbers may differ from device to device, which start values may.
    rngs = nnx.Rngs(jax.random.key(seed, impl="rbg"))
    body = ENCODERS[encoder](**(encoder_options or {}), rngs=rngs)
    top = DECODERS[decoder](body.out_channels, body.strides, **(decoder_options or {}), rngs=rngs)
    head = SubpixelHead(top.out_channels, classes, factor=top.stride, rngs=rngs)
    return Segmenter(body, top, head)
