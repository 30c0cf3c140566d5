"""Segmenter = encoder → decoder."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from segjax.models.decoders import DECODERS
from segjax.models.encoders import ENCODERS
from segjax.models.initial import Keys


class Segmenter(nnx.Module):
    """float [N, H, W, 3] in [0, 1] → logits float32 [N, H, W, classes].

    H and W are multiples of `multiple`. Pictures are centred here, so that whoever calls it needs
    no constants. `model.eval()` before use, `model.train()` before training, as NNX has it.
    """

    def __init__(
        self, encoder: nnx.Module, decoder: nnx.Module, auxiliary: nnx.Module | None = None
    ):
        self.encoder: Any = encoder
        self.decoder: Any = decoder
        self.auxiliary: Any = nnx.data(auxiliary)
        self.multiple = math.lcm(self.encoder.multiple, self.decoder.multiple)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self._decode(self.decoder, self.features(x), x)

    def decode(self, features: list[jax.Array], x: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        """The logits of x, and those of the auxiliary head that helps training, if there is one."""
        logits = self._decode(self.decoder, features, x)
        if self.auxiliary is None:
            return logits, None
        return logits, self._decode(self.auxiliary, features, x)

    def features(self, x: jax.Array) -> list[jax.Array]:
        """The encoder's maps, finest first."""
        _, height, width, channels = x.shape
        if channels != 3 or height % self.multiple or width % self.multiple:
            fits = [max(1, round(side / self.multiple)) * self.multiple for side in (height, width)]
            raise ValueError(
                f"got a batch of shape {x.shape}; it must be [N, H, W, 3] with sides that are "
                f"multiples of {self.multiple}; {fits[0]}x{fits[1]} would fit"
            )
        return encode(self.encoder, x)

    def _decode(self, decoder: Any, features: list[jax.Array], x: jax.Array) -> jax.Array:
        chosen = [features[at] for at in self.encoder.info.places(decoder.levels)]
        return decoder(chosen, x.shape[1:3]).astype(jnp.float32)


def encode(encoder: Any, x: jax.Array) -> list[jax.Array]:
    """The maps of pictures in [0, 1], normalised as the encoder wants them."""
    mean, deviation = (jnp.asarray(values, x.dtype) for values in encoder.normalization)
    return encoder((x - mean) / deviation)


def create_model(
    name: str,
    *,
    encoder: str | None = None,
    num_classes: int = 1,
    output_stride: int | None = None,
    auxiliary: str | None = None,
    encoder_options: dict[str, Any] | None = None,
    decoder_options: dict[str, Any] | None = None,
    seed: int = 0,
) -> Segmenter:
    """Builds a network by the names in `DECODERS` and `ENCODERS`.

    Args:
      name: of the model, which is that of its decoder.
      encoder: the backbone; by default the one that the model was published with.
      num_classes: channels of the logits; 1 for person or room.
      output_stride: coarsest stride of the encoder; its own by default.
      auxiliary: name of a second decoder, for a second loss: "fcn_auxiliary" as a rule.
      encoder_options: further keywords of the encoder, before those that the model was published
        with, which hold for an encoder of the same family.
      decoder_options: further keywords of the decoder.
      seed: of the initial weights.

    Raises:
      ValueError: a name is not registered (the message lists those that are), or the encoder
        lacks a level that the model needs.
    """
    make = DECODERS[name]
    own, own_options = variant_class(make).encoder
    backbone = encoder or own
    options = {**(own_options if ENCODERS.kin(backbone, own) else {}), **(encoder_options or {})}
    if output_stride is not None:
        options["output_stride"] = output_stride
    rngs = Keys(seed)
    body = ENCODERS[backbone](**options, rngs=rngs)

    def build(make: Any, name: str, **options: Any) -> Any:
        kind = variant_class(make)
        if problem := misfit(kind, body):
            raise ValueError(
                f"{name} {problem[0]}; the encoder {backbone} has {problem[1]}; "
                "take another encoder"
            )
        info = body.info.of(kind.levels)
        return make(info, num_classes, **options, rngs=rngs)

    top = build(make, name, **(decoder_options or {}))
    second = build(DECODERS[auxiliary], auxiliary) if auxiliary else None
    return Segmenter(body, top, second)


def misfit(decoder: Any, encoder: Any) -> tuple[str, str] | None:
    """What a decoder, or its class, needs and what an encoder has instead; None if it fits."""
    levels, wanted = encoder.info.levels, decoder.levels
    if any(level > 0 and level not in levels for level in wanted):
        strides = [
            ", ".join(str(level) for level in some if level > 0) for some in (wanted, levels)
        ]
        return f"needs features at strides {strides[0]}", strides[1]
    if min(wanted, default=0) < -len(levels):
        return f"needs {-min(wanted)} maps", f"{len(levels)}"
    margins = [getattr(part, "margin", 0) for part in (decoder, encoder)]
    if margins[0] != margins[1]:
        return f"needs maps with a margin of {margins[0]} pixels", f"one of {margins[1]}"
    return None


def variant_class(make: Any) -> Any:
    """The class that a variant builds: the variant itself, or what it is a `partial` of."""
    return getattr(make, "func", make)
