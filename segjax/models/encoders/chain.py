"""What the MobileNets and their kin share: one chain of layers, some of whose maps count."""

from collections.abc import Sequence

import jax
from flax import nnx

from segjax.models.features import IMAGENET, FeatureInfo, Place


class Chain(nnx.Module):
    """float [N, H, W, 3] → what the last layer of each level gives; any size.

    Args:
      layers: in their order.
      places: where each one stands.
      channels: that each one gives.
      output_stride: stride of the last map.
      first: take what the first layer of each level gives, but of the coarsest the last one still.
    """

    multiple = 1
    normalization = IMAGENET

    def __init__(
        self,
        layers: Sequence[nnx.Module],
        places: Sequence[Place],
        channels: Sequence[int],
        output_stride: int,
        *,
        first: bool = False,
    ):
        self.layers = nnx.List(layers)
        ends: dict[int, int] = {}
        for index, place in enumerate(places):
            if not first or place.level not in ends:
                ends[place.level] = index
        ends[places[-1].level] = len(places) - 1
        self.ends = tuple(ends.values())
        self.output_stride = output_stride
        self.info = FeatureInfo(
            tuple(ends),
            tuple(min(level, output_stride) for level in ends),
            tuple(channels[end] for end in self.ends),
        )

    def __call__(self, x: jax.Array) -> list[jax.Array]:
        maps = []
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index in self.ends:
                maps.append(x)
        return maps


def divisible(channels: float, by: int = 8) -> int:
    """A width as the MobileNets round it: to a multiple, and never down by more than a tenth."""
    rounded = max(by, int(channels + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * channels else rounded
