"""What an encoder tells a decoder about its maps."""

from collections.abc import Iterable
from typing import NamedTuple

CENTRED = (0.5, 0.25)
"""Mean and spread of bytes / 255: for networks trained from scratch."""

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of ImageNet's colours, RGB: what its weights expect."""

EVEN = (127 / 255, 128 / 255)
"""Bytes about −1 to 1: what weights of EfficientNet-Lite expect."""


class FeatureInfo(NamedTuple):
    """The maps that an encoder gives, finest first; one entry a map in each tuple.

    Attributes:
      levels: the strides that the family has without dilation. They name the maps.
      strides: the strides that the maps have: smaller than the level where dilation took the
        place of a stride.
      channels: of each map.
    """

    levels: tuple[int, ...]
    strides: tuple[int, ...]
    channels: tuple[int, ...]

    def places(self, levels: tuple[int, ...]) -> list[int]:
        """Where the maps of some levels stand, as a decoder names them: see there."""
        if not levels:
            return list(range(len(self.levels)))
        return [self.levels.index(level) if level > 0 else level for level in levels]

    def of(self, levels: tuple[int, ...]) -> "FeatureInfo":
        """What there is to say of these levels alone."""
        at = self.places(levels)
        return FeatureInfo(*(tuple(values[place] for place in at) for values in self))


class Place(NamedTuple):
    """Where a layer stands in a network that may trade strides for dilation.

    Attributes:
      level: the stride of its map without dilation.
      stride: what it has left of its own stride.
      before: dilation of the kernel that has the stride, or had it: it sees what it always saw.
      after: dilation of the kernels that follow.
    """

    level: int
    stride: int
    before: int
    after: int


def dilate(strides: Iterable[int], output_stride: int) -> list[Place]:
    """The places of layers with these strides, none coarser than 32, 16 or 8.

    From where the strides would go beyond `output_stride`, each one becomes dilation behind it, so
    that the same weights give the same maps, with more pixels (Chen et al., 2015, "hole
    algorithm").

    Raises:
      ValueError: another `output_stride`.
    """
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output_stride: got {output_stride}; 8, 16 and 32 are built")
    places: list[Place] = []
    level, now, dilation = 1, 1, 1
    for stride in strides:
        level, before = level * stride, dilation
        if now * stride > output_stride:
            dilation, stride = dilation * stride, 1
        now *= stride
        places.append(Place(level, stride, before, dilation))
    return places
