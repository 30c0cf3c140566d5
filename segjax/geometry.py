"""The size at which a network sees a picture."""

import functools
import math
from typing import NamedTuple

AREA = 144 * 256
"""Pixels at which a network for one class sees a picture, unless its weights tell."""

MULTIPLE = 16
"""Sides of the network's input are multiples of this: the encoder halves four times."""

UNEVEN = 0.25
"""What sides that do not divide the picture's count, beside distortion and lost resolution."""


class Sight(NamedTuple):
    """How much a network sees of a frame.

    Attributes:
      area: pixels that it is made for, of the whole frame; 0 is the frame's own.
      share: of these pixels; below 1 it is there to be fast.
    """

    area: int = AREA
    share: float = 1.0

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width at which it sees a frame, multiples of `MULTIPLE`."""
        area = round(self.share * (self.area or height * width))
        return network_size(height, width, area=area, even=self.share < 1)


@functools.cache
def network_size(
    height: int, width: int, *, area: int = AREA, multiple: int = MULTIPLE, even: bool = False
) -> tuple[int, int]:
    """The input size (height, width) of about `area` pixels that keeps a picture's aspect ratio.

    Of the sides that are multiples of `multiple` and give at most 1.15 × `area` pixels, it takes
    those that trade distortion against lost resolution best: squashing an upright picture into
    16:9 costs more accuracy than a few pixels do. With `even` it would rather divide the picture's
    own sides, even if that distorts it by a tenth: reducing it takes half the time then.

    Raises:
      ValueError: a side is not positive.
    """
    if height <= 0 or width <= 0:
        raise ValueError(f"got a picture of {height}x{width}; both sides must be positive")

    def cost(size: tuple[int, int]) -> float:
        h, w = size
        distortion = abs(math.log((h / w) / (height / width)))
        uneven = even and (height % h or width % w)
        return distortion + abs(math.log(h * w / area)) + (UNEVEN if uneven else 0)

    longest = 4 * math.isqrt(area)
    sides = range(multiple, longest + 1, multiple)
    sizes = [(h, w) for h in sides for w in sides if h * w <= 1.15 * area]
    return min(sizes, key=cost)
