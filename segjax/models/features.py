"""What an encoder tells a decoder about its maps."""

from typing import NamedTuple

CENTRED = (0.5, 0.25)
"""Mean and spread of bytes / 255: for networks trained from scratch."""

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of ImageNet's colours, RGB: what its weights expect."""


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
