"""Another network's encoder, whose maps a network learns to give as well as its own task."""

from dataclasses import dataclass
from typing import Any

import jax
from flax import nnx

from segjax import weights
from segjax.errors import SegjaxError
from segjax.models import Segmenter, encode
from segjax.training.losses import hint_loss


@dataclass(frozen=True)
class Teacher:
    """What it takes to give hints: the encoder, and which maps of both are compared.

    Attributes:
      encoder: with norms folded; it is not trained.
      pairs: places of maps, the student's and the teacher's.
      info: facts that stand with its weights.
    """

    encoder: nnx.Module
    pairs: tuple[tuple[int, int], ...]
    info: dict[str, Any]

    def loss(self, pictures: jax.Array, maps: list[jax.Array]) -> jax.Array:
        """How far the student's maps of these pictures in [0, 1] are from the teacher's."""
        hints = jax.lax.stop_gradient(encode(self.encoder, pictures))
        return hint_loss(
            [maps[ours] for ours, _ in self.pairs], [hints[theirs] for _, theirs in self.pairs]
        )


def find_teacher(name: str, model: Segmenter) -> Teacher:
    """The encoder of weights by name or path, as a teacher of the model's.

    Raises:
      SegjaxError: no such weights, or no map of the two has the same level, stride and channels.
    """
    found = weights.read_encoder(name)
    encoder: Any = found[0]
    ours, theirs = (zip(*part.info, strict=True) for part in (model.encoder, encoder))
    places = {map_: place for place, map_ in enumerate(theirs)}
    pairs = tuple((place, places[map_]) for place, map_ in enumerate(ours) if map_ in places)
    if not pairs:
        raise SegjaxError(
            f"the teacher {name} has maps at strides {_listed(encoder)}, the model's encoder at "
            f"{_listed(model.encoder)}; a hint needs a stride where both have as many channels; "
            "take a teacher of the encoder's kin"
        )
    return Teacher(encoder, pairs, found[1])


def _listed(encoder: Any) -> str:
    info = encoder.info
    pairs = zip(info.strides, info.channels, strict=True)
    return ", ".join(f"{stride} ({channels} channels)" for stride, channels in pairs)
