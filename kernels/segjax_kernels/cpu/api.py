"""What is computed by `native.c`, and when."""

import ctypes
from pathlib import Path

import jax
import numpy as np

TARGET = "segjax_convolution"

_loaded: bool | None = None


def available() -> bool:
    """Whether the library was built for this processor and version; it is loaded if so."""
    global _loaded
    if _loaded is None:
        from segjax_kernels.cpu.build import library  # which `python -m` runs, so not before

        path = library()
        if path.is_file():
            load(path)
        else:
            _loaded = False
    return bool(_loaded)


def load(path: Path) -> None:
    """Makes XLA know the library at `path`."""
    global _loaded
    function = getattr(ctypes.CDLL(str(path)), TARGET)
    jax.ffi.register_ffi_target(TARGET, jax.ffi.pycapsule(function), platform="cpu")
    _loaded = True


def convolution(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    add: jax.Array | None = None,
    *,
    stride: int = 1,
    dilation: int = 1,
    depthwise: bool = False,
    relu: bool = False,
    bfloat16: bool = True,
) -> jax.Array:
    """relu(convolution + bias + add) of one picture, for lowering to a CPU alone.

    Padding is dilation × (k − 1) / 2 on both sides. A 3×3 of stride 1 is Winograd's F(4×4, 3×3):
    off by about 1e-5 of the largest number.

    Args:
      x: float32 [1, H, W, C].
      kernel: float32 [k, k, C, F] with odd k, or [k, k, 1, C] for depthwise.
      bias: float32 [F].
      add: float32, of the result's shape, or None.
      bfloat16: lets dense products but Winograd's take bfloat16 numbers and sum them in float32,
        in half the time; where the processor cannot (AVX512-BF16), they stay float32.

    Returns:
      float32 [1, ceil(H / stride), ceil(W / stride), F].

    Raises:
      NotImplementedError: the library is not built, or shapes or dtypes are beyond it.
    """
    if not available():
        raise NotImplementedError("not built; build it by `python -m segjax_kernels.cpu.build`")
    count, height, width, channels = x.shape
    size, features = kernel.shape[0], kernel.shape[3]
    operands = (x, kernel, bias) if add is None else (x, kernel, bias, add)
    if count != 1 or any(operand.dtype != np.float32 for operand in operands):
        raise NotImplementedError(f"got {x.dtype} {x.shape}; one picture in float32 is served")
    winograd = (size, stride, depthwise) == (3, 1, False)
    if features % (16 if depthwise else 8) or (winograd and (channels % 8 or channels > 4096)):
        raise NotImplementedError(
            f"got {channels} → {features} channels; multiples of 8 are served, of 16 if depthwise"
        )
    if size % 2 == 0 or (dilation > 1 and not depthwise):
        raise NotImplementedError(f"got a dense {size}×{size} of dilation {dilation}")
    shape = (1, -(-height // stride), -(-width // stride), features)
    call = jax.ffi.ffi_call(TARGET, jax.ShapeDtypeStruct(shape, x.dtype), vmap_method="sequential")
    return call(
        *operands,
        stride=np.int64(stride),
        dilation=np.int64(dilation),
        depthwise=np.int64(depthwise),
        relu=np.int64(relu),
        bfloat16=np.int64(bfloat16),
    )
