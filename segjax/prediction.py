"""A network on pictures of any size: one way for released weights and for those in training."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from segjax.geometry import AREA, MULTIPLE, Sight, network_size
from segjax.images import resize
from segjax.models import Segmenter, fold_norms

if TYPE_CHECKING:
    from segjax.config import ModelConfig

Finish = Callable[[jax.Array, jax.Array], jax.Array]
"""(what `PicturePredictor` gives, at the network's size; the picture at that size, float [h, w, 3]
in [0, 1]) → float32 [h, w] or [h, w, maps]."""


HOLES = 16
"""Pixels of a mask that `fill_holes` reaches: to the ends of badges and prints on who is near."""

SURE, ROOM_FIRST = 3, 2.0
"""Of `decide`: the power of the odds, and how much likelier than room a person must be for one
half. Chosen by validation pictures and clips together (docs/quality.md)."""


def decide(alpha: jax.Array) -> jax.Array:
    """A network's doubt made smaller, and where it cannot tell, room: float32 in [0, 1] to such.

    After what remembers earlier masks, which looks at changes of the doubt itself. NaN stays NaN.
    """
    person, room = alpha**SURE, (1 - alpha) ** SURE
    return person / (person + ROOM_FIRST * room)


class PicturePredictor:
    """What a network thinks of each pixel of a picture, with nothing remembered between two.

    The picture is shown whole: at about `area` pixels and its own aspect ratio, or, if that is 0,
    at its own size, rounded to sides that the network takes. Each such size is compiled once.

    A training run builds one predictor, and lets it `take` the weights as they are before each
    validation:

        predict = PicturePredictor(model, area=picture_area(config.model))
        predict.take(average)
        confusion += confusion_matrix(to_labels(predict(item["image"])), item["mask"], classes)

    Args:
      model: the network; it is left as it is.
      area: pixels of the picture that it sees; see `picture_area`.
      multiple: of what the sides are, besides the network's own: a folder of photographs has
        hundreds of sizes, and each would be a compilation.
      finish: goes on with the result, in the same program, before it is enlarged.
    """

    def __init__(
        self,
        model: Segmenter,
        *,
        area: int = 0,
        multiple: int = MULTIPLE,
        finish: Finish | None = None,
    ):
        self._area, self._multiple = area, math.lcm(model.multiple, multiple)
        graph, self._parameters = _folded(model)

        @jax.jit
        def forward(parameters: Any, pixels: jax.Array) -> jax.Array:
            small = pixels.astype(jnp.float32) / 255
            logits = nnx.merge(graph, parameters)(small[None])[0]
            one = logits.shape[-1] == 1
            found = jax.nn.sigmoid(logits[..., 0]) if one else jax.nn.softmax(logits)
            return finish(found, small) if finish else found

        self._forward = forward

    def take(self, model: Segmenter) -> None:
        """From now on the weights of `model`, which is the same network; norms are folded."""
        _, self._parameters = _folded(model)

    def input_size(self, height: int, width: int, scale: float = 1.0) -> tuple[int, int]:
        """Height and width at which the network sees a picture."""
        if self._area:
            area = round(self._area * scale**2)
            return network_size(height, width, area=area, multiple=self._multiple)
        rows, columns = (
            max(1, round(side * scale / self._multiple)) * self._multiple
            for side in (height, width)
        )
        return rows, columns

    def __call__(self, pixels: np.ndarray, scale: float = 1.0) -> np.ndarray:
        """pixels uint8 [H, W, 3] → probabilities float32, or what `finish` makes of them.

        [H, W] of a network of one class, in [0, 1]; else [H, W, classes], whose sums are 1. The
        network sees the picture `scale` times as high and wide as it would otherwise.
        """
        height, width = pixels.shape[:2]
        rows, columns = self.input_size(height, width, scale)
        if (rows, columns) == (height, width):
            return np.array(self._forward(self._parameters, pixels))
        found = np.asarray(self._forward(self._parameters, resize(pixels, (rows, columns))))
        return cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR)


def picture_area(config: "ModelConfig") -> int:
    """At how many pixels a network sees a picture, for `PicturePredictor`; 0 is its own size.

    Unless the config tells, that is `AREA` for one class, and the picture's own size for several.
    """
    if config.area is not None:
        return config.area
    return AREA if config.classes == 1 else 0


def sight_of(config: "ModelConfig") -> Sight:
    """How much a network sees of a live frame."""
    return Sight(picture_area(config))


def _folded(model: Segmenter) -> tuple[Any, Any]:
    """The graph and the numbers of a copy in inference."""
    network = nnx.clone(model)
    network.eval()
    fold_norms(network)
    return nnx.split(network)
