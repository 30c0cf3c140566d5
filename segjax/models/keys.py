"""Random keys for initial weights."""

import jax
from flax import nnx


class Keys(nnx.Rngs):
    """`nnx.Rngs(seed)` for parameters alone, counted in Python.

    Flax counts in an array, and under `nnx.eval_shape`, which is how a network is described or
    loaded, each count then takes longer than the one before: a minute for HRNet, two seconds here.

    Drawing by JAX's default generator compiles for two seconds a shape on a CPU, by this one for a
    quarter. Its numbers may differ from device to device, which start values may.
    """

    def __init__(self, seed: int):
        self._key = nnx.data(jax.random.key(seed, impl="rbg"))
        self._drawn = 0

    def params(self) -> jax.Array:
        """The next key."""
        self._drawn += 1
        return jax.random.fold_in(self._key, self._drawn)
