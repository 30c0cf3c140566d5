"""No backbone: the picture itself is the one map, for models that begin at its pixels."""

import jax
from flax import nnx

from segjax.models.features import CENTRED, FeatureInfo


class Pixels(nnx.Module):
    """float [N, H, W, 3] → the same, at stride 1."""

    multiple = 1
    normalization = CENTRED
    output_stride = 1
    info = FeatureInfo((1,), (1,), (3,))

    def __init__(self, *, output_stride: int = 1, rngs: nnx.Rngs):
        if output_stride != 1:
            raise ValueError(f"output_stride: got {output_stride}; 1 is built")

    def __call__(self, x: jax.Array) -> list[jax.Array]:
        return [x]


VARIANTS = {"pixels": Pixels}
