"""A batch's convolutions with their gradients, by `training.c`: for training on a CPU."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from segjax_kernels.cpu.api import call, trains

SIDE = 16
"""Channels come in multiples of it to C; what is missing is filled up."""

LARGEST = 1 << 23
"""Numbers of a kernel: as many are kept for each picture until its gradient is summed."""

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
      NotImplementedError: this machine cannot (see `trains`), or shapes or dtypes are beyond it.
      ValueError: the two do not fit.
    """
    if not trains():
        raise NotImplementedError("the processor does not multiply bfloat16, or C is not built")
    size, _, inputs, features = kernel.shape
    served = (x.dtype, kernel.dtype) == (jnp.float32, jnp.float32)
    if not served or size % 2 == 0 or kernel.size > LARGEST:
        raise NotImplementedError(
            f"got {x.dtype} {x.shape} and a kernel of {kernel.dtype} {kernel.shape}; float32 with "
            f"an odd kernel of at most {LARGEST} numbers is served"
        )
    channels = x.shape[3]
    fits = (1, channels) == (inputs, features) if depthwise else channels == inputs
    if not fits or kernel.shape[1] != size:
        raise ValueError(f"got maps of {x.shape} and a kernel of {kernel.shape}; they do not fit")
    kernel = _filled(kernel, 3) if depthwise else _filled(kernel, 2, 3)
    y: Any = _convolve(_filled(x, 3), kernel, dilation, depthwise)
    return y[:, ::stride, ::stride, :features]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(x: jax.Array, kernel: jax.Array, dilation: int, depthwise: bool) -> jax.Array:
    like = jax.ShapeDtypeStruct((*x.shape[:3], kernel.shape[3]), x.dtype)
    return call("convolve", like, x, kernel, **_numbers(kernel, dilation, depthwise))


def _forward(x: jax.Array, kernel: jax.Array, dilation: int, depthwise: bool) -> tuple:
    return _convolve(x, kernel, dilation, depthwise), (x, kernel)


def _backward(
    dilation: int, depthwise: bool, kept: tuple[jax.Array, jax.Array], dy: jax.Array
) -> tuple:
    x, kernel = kept
    turned = jnp.flip(kernel, (0, 1))
    turned = turned if depthwise else turned.swapaxes(2, 3)
    dkernel = call("differentiate", kernel, x, dy, **_numbers(kernel, dilation, depthwise))
    return _convolve(dy, turned, dilation, depthwise), dkernel


_convolve.defvjp(_forward, _backward)


def _numbers(kernel: jax.Array, dilation: int, depthwise: bool) -> dict[str, Any]:
    size = kernel.shape[0]
    return {"size": size, "dilation": dilation, "dense": not depthwise, "plain": PLAIN}


def _filled(x: jax.Array, *axes: int) -> jax.Array:
    """With zeros up to whole multiples of `SIDE` along the axes."""
    return jnp.pad(x, [(0, -n % SIDE if axis in axes else 0) for axis, n in enumerate(x.shape)])
