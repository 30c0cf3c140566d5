"""A batch's convolutions with their gradients, by `training.c`: for training on a CPU."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from segjax_kernels.cpu.api import call, trains

SIDE = 16
"""Channels come in multiples of it to C; what is missing is filled up."""

PLAIN = 0
"""1 takes no tiles of AMX, as on a processor that has none."""


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: int = 1,
    dilation: int = 1,
    depthwise: bool = False,
) -> jax.Array:
    """Convolution of a batch, with gradients, for lowering to a CPU alone.

    Padding is dilation × (k − 1) / 2 on both sides. What a dense one multiplies is rounded to
    bfloat16; sums are float32. A kernel's gradient is summed over the pictures in their order,
    whatever the number of threads. The results that a stride leaves out are computed as well: that
    is still faster.

    Args:
      x: float32 [N, H, W, C].
      kernel: float32 [k, k, C, F] with odd k, or [k, k, 1, C] for depthwise.

    Returns:
      float32 [N, ceil(H / stride), ceil(W / stride), F].

    Raises:
      NotImplementedError: this machine cannot (see `trains`), or dtypes are beyond it.
    """
    if not trains() or {x.dtype, kernel.dtype} != {jnp.dtype("float32")} or not kernel.shape[0] % 2:
        raise NotImplementedError(
            f"got {x.dtype} {x.shape} and a kernel of {kernel.dtype} {kernel.shape}; float32 with "
            "an odd kernel is served, where the processor multiplies bfloat16"
        )
    features = kernel.shape[3]
    kernel = _filled(kernel, 3) if depthwise else _filled(kernel, 2, 3)
    y: Any = _convolve(_filled(x, 3), kernel, dilation)
    return y[:, ::stride, ::stride, :features]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(x: jax.Array, kernel: jax.Array, dilation: int) -> jax.Array:
    like = jax.ShapeDtypeStruct((*x.shape[:3], kernel.shape[3]), x.dtype)
    return call("convolve", like, x, kernel, **_numbers(x, kernel, dilation))


def _forward(x: jax.Array, kernel: jax.Array, dilation: int) -> tuple:
    return _convolve(x, kernel, dilation), (x, kernel)


def _backward(dilation: int, kept: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple:
    x, kernel = kept
    numbers = _numbers(x, kernel, dilation)
    turned = jnp.flip(kernel, (0, 1))
    turned = turned.swapaxes(2, 3) if numbers["dense"] else turned
    return _convolve(dy, turned, dilation), call("differentiate", kernel, x, dy, **numbers)


_convolve.defvjp(_forward, _backward)


def _numbers(x: jax.Array, kernel: jax.Array, dilation: int) -> dict[str, Any]:
    return {
        "size": kernel.shape[0],
        "dilation": dilation,
        "plain": PLAIN,
        "dense": int(kernel.shape[2] == x.shape[3]),
    }


def _filled(x: jax.Array, *axes: int) -> jax.Array:
    """With zeros up to whole multiples of `SIDE` along the axes."""
    return jnp.pad(x, [(0, -n % SIDE if axis in axes else 0) for axis, n in enumerate(x.shape)])
