"""What stands behind the person."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from segjax.matting.filters import gaussian
from segjax_kernels import box

BLUR_RANGE = (0.008, 0.05)
"""Standard deviation of the weakest and strongest blur, as a share of the picture's long side."""


@dataclasses.dataclass(frozen=True)
class Effect:
    """The background of a stream.

    Attributes:
      kind: "blur" the room, or blur it as a lens would ("bokeh"), one "color", a "picture" given
        with every frame (image or video), or "transparent" (RGBA out).
      strength: of the blur, in (0, 1].
      color: RGB in 0..255, of "color".
      overlaid: whether a layer for between the background and the person comes with every frame;
        not of "color" and "picture", which can have it in them.

    Raises:
      ValueError: a value is none of these.
    """

    kind: Literal["blur", "bokeh", "color", "picture", "transparent"]
    strength: float = 0.5
    color: tuple[int, int, int] = (0, 0, 0)
    overlaid: bool = False

    def __post_init__(self) -> None:
        kinds = ("blur", "bokeh", "color", "picture", "transparent")
        if self.kind not in kinds:
            raise ValueError(f"kind: got {self.kind!r}; known are {', '.join(kinds)}")
        if not 0 < self.strength <= 1:
            raise ValueError(f"strength: got {self.strength}; it is above 0 and at most 1")
        if len(self.color) != 3 or not all(0 <= value <= 255 for value in self.color):
            raise ValueError(f"color: got {self.color}; it is three numbers from 0 to 255")
        if self.overlaid and self.kind in ("color", "picture"):
            raise ValueError(
                f"overlaid: got it for {self.kind!r}; lay it over the picture yourself, once"
            )


def blurred_room(small: jax.Array, alpha: jax.Array, strength: float | jax.Array) -> jax.Array:
    """The room without the person, blurred: a small picture, float32 [h / 2, w / 2, 3] in [0, 1].

    Each pixel is a mean of the room around it, weighted by 1 − alpha: the person's colours do not
    bleed into it and there is no halo. Half the mask's size is enough, and costs no look at the
    frame: on the sample it differs from the same at full size by 0.1 of 255 levels on average at
    strength 0.5, by 0.4 at 0.1.

    Args:
      small: float32 [h, w, 3] in [0, 1], the frame at the mask's size.
      alpha: float32 [h, w] in [0, 1].
      strength: in (0, 1]; a float32 [] may change without a compilation.
    """
    weighted = weighted_room(jnp.moveaxis(small, -1, 0), alpha)
    blurred = gaussian(weighted, blur_sigma(strength, weighted.shape[1:]))
    return jnp.moveaxis(mean_room(weighted, blurred), 0, -1)


def blur_sigma(strength: float | jax.Array, size: tuple[int, ...]) -> float | jax.Array:
    """Standard deviation, in pixels, of a blur of a strength in (0, 1] for a map of (h, w)."""
    weakest, strongest = BLUR_RANGE
    return (weakest + strength * (strongest - weakest)) * max(size)


def weighted_room(planes: jax.Array, alpha: jax.Array) -> jax.Array:
    """Colours [3, h, w] times how surely they are the room's, and that, at half the size: float32
    [4, h / 2, w / 2]."""
    # Where a mask is soft the colours are mixed already, and its edge may be a pixel or two off:
    # count only what lies well outside.
    room = jnp.clip(1 - 4 * box(alpha, 2), 0, 1)
    # Planes rather than pixels: XLA halves and multiplies them in half the time.
    weighted = jnp.concatenate([planes * room, room[None]])
    return _halve(weighted) if min(alpha.shape) >= 2 else weighted


def mean_room(weighted: jax.Array, near: jax.Array) -> jax.Array:
    """Colours float32 [3, h, w] of what `weighted_room` gave and its blurred form `near`."""
    # Deep inside the person no room is near: there the mean of the whole room stands in.
    far = weighted.sum((1, 2), keepdims=True) / jnp.maximum(weighted[3].sum(), 1e-3)
    return (near[:3] + 1e-4 * far[:3]) / (near[3] + 1e-4)


def _halve(planes: jax.Array) -> jax.Array:
    height, width = (side // 2 * 2 for side in planes.shape[1:])
    even, odd = (planes[:, row:height:2] for row in (0, 1))
    rows = even + odd
    return (rows[:, :, 0:width:2] + rows[:, :, 1:width:2]) / 4
