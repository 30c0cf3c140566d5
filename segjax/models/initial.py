"""What weights begin with: keys to draw by, numbers drawn, or shapes without numbers."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

Module = TypeVar("Module", bound=nnx.Module)

_shapes_alone: ContextVar[bool] = ContextVar("shapes_alone", default=False)


class Keys(nnx.Rngs):
    """`nnx.Rngs(seed)` for parameters alone, counted in Python.

    Flax counts in an array, and in `shapes_of` each count then takes longer than the one before: a
    minute for HRNet, two seconds here.

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


def drawn(rngs: nnx.Rngs, shape: tuple[int, ...], variance: float = 2.0) -> jax.Array:
    """A kernel to begin with, float32, which keeps a map's variance (He et al., 2015)."""
    if _shapes_alone.get():
        return jnp.zeros(shape)
    initial = jax.nn.initializers.variance_scaling(variance, "fan_in", "truncated_normal")
    return initial(rngs.params(), shape)


def shapes_of(build: Callable[[], Module]) -> Module:
    """What `build` would make, with `jax.ShapeDtypeStruct` for numbers: to be described or filled.

    Numbers are not drawn, which would take half a second of tracing, or seconds of compiling.
    """
    token = _shapes_alone.set(True)
    try:
        return nnx.eval_shape(build)
    finally:
        _shapes_alone.reset(token)
