"""What is computed by the C files beside it, and when."""

import ctypes
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

FUNCTIONS = (
    "convolution",
    "inverted_residual",
    "preprocess",
    "upsample_blend",
    "guided_upsample_blend",
    "guided_coefficients",
    "box",
    "fill_holes",
    "drop_islands",
    "fit_lines",
    "smooth",
)

TRAINING = ("convolve", "differentiate")
"""Those of a batch in bfloat16, where the processor multiplies it."""

FORMS = ("direct", "pairs", "winograd", "depthwise", "tiles")
"""Of convolutions, as `convolution.c` numbers them."""

_MIX = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
"""What Winograd's F(4, 3) multiplies a kernel's rows and columns by."""

_loaded: bool | None = None
_pairs = False
"""Whether it multiplies pairs of bfloat16 numbers."""
_trains = False
"""Whether it has the functions of `TRAINING`."""
_tiles = False
"""Whether the processor multiplies tiles of bfloat16 numbers (AMX)."""


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


def trains() -> bool:
    """Whether `segjax_kernels.cpu.training` can be used here: AVX512-BF16 is there, or AMX."""
    return available() and _trains


def load(path: Path) -> None:
    """Makes XLA know the library at `path`."""
    global _loaded, _pairs, _trains, _tiles
    functions = ctypes.CDLL(str(path))
    _pairs = bool(ctypes.c_int.in_dll(functions, "segjax_pairs").value)
    _tiles = bool(functions.segjax_tiles())
    _trains = hasattr(functions, f"segjax_{TRAINING[0]}")
    for name in (*FUNCTIONS, *(TRAINING if _trains else ())):
        target = f"segjax_{name}"
        capsule = jax.ffi.pycapsule(getattr(functions, target))
        jax.ffi.register_ffi_target(target, capsule, platform="cpu")
    _loaded = True


def call(
    name: str,
    like: Any,
    *operands: Any,
    vmap: str = "sequential",
    in_place: int = 0,
    **numbers: float,
) -> Any:
    """The result of the C function `segjax_<name>`, for lowering to a CPU alone.

    Args:
      like: of the result's shape and dtype, or a sequence of such, if there are several.
      in_place: the first so many results take the places of as many operands; those that the caller
        still needs, or may not write to, are copied before.
      numbers: whole ones are int64 to C, others float32.

    Raises:
      NotImplementedError: the library is not built.
    """
    if not available():
        raise NotImplementedError("not built; build it by `python -m segjax_kernels.cpu.build`")
    results = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), like)
    aliases = {index: index for index in range(in_place)}
    run = jax.ffi.ffi_call(
        f"segjax_{name}", results, vmap_method=vmap, input_output_aliases=aliases
    )
    kinds = {key: np.float32 if isinstance(x, float) else np.int64 for key, x in numbers.items()}
    return run(*operands, **{key: kinds[key](number) for key, number in numbers.items()})


def convolution(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    add: jax.Array | None = None,
    prepared: jax.Array | None = None,
    *,
    stride: int = 1,
    dilation: int = 1,
    depthwise: bool = False,
    relu: bool = False,
    bfloat16: bool = True,
) -> jax.Array:
    """relu(convolution + bias + add) of one picture, for lowering to a CPU alone.

    Padding is dilation × (k − 1) / 2 on both sides. A 3×3 of stride 1 is Winograd's F(4×4, 3×3),
    off by about 1e-5 of the largest number, where AMX does not multiply it in bfloat16.

    Args:
      x: float32 [1, H, W, C].
      kernel: float32 [k, k, C, F] with odd k, or [k, k, 1, C] for depthwise.
      bias: float32 [F].
      add: float32, of the result's shape, or None.
      prepared: the kernel by `prepare_kernel`; without it, that is computed with every picture.
      bfloat16: without `prepared`, as `prepare_kernel` has it.

    Returns:
      float32 [1, ceil(H / stride), ceil(W / stride), F].

    Raises:
      NotImplementedError: the library is not built, or shapes or dtypes are beyond it.
    """
    count, height, width, channels = x.shape
    size, features = kernel.shape[0], kernel.shape[3]
    others = (bias,) if add is None else (bias, add)
    if count != 1 or any(operand.dtype != np.float32 for operand in (x, kernel, *others)):
        raise NotImplementedError(f"got {x.dtype} {x.shape}; one picture in float32 is served")
    winograd = (size, stride, depthwise) == (3, 1, False)
    if features % (16 if depthwise else 8) or (winograd and (channels % 8 or channels > 4096)):
        raise NotImplementedError(
            f"got {channels} → {features} channels; multiples of 8 are served, of 16 if depthwise"
        )
    if size % 2 == 0 or (dilation > 1 and not depthwise):
        raise NotImplementedError(f"got a dense {size}×{size} of dilation {dilation}")
    if prepared is None:
        prepared = prepare_kernel(kernel, stride=stride, depthwise=depthwise, bfloat16=bfloat16)
    if prepared is None:
        form, prepared = "depthwise" if depthwise else "direct", kernel
    else:
        form = {6: "tiles", 3: "pairs"}[prepared.ndim]
        form = form if prepared.dtype == jnp.bfloat16 else "winograd"
    shape = (1, -(-height // stride), -(-width // stride), features)
    result = jax.ShapeDtypeStruct(shape, x.dtype)
    numbers: Any = {"form": FORMS.index(form), "size": size, "stride": stride, "dilation": dilation}
    return call("convolution", result, x, prepared, *others, **numbers, relu=relu)


Layer = tuple[jax.Array, jax.Array, jax.Array | None]
"""A kernel, its bias, and the kernel by `prepare_kernel`, if that was kept."""


def inverted_residual(
    x: jax.Array,
    expand: Layer,
    spatial: Layer,
    project: Layer,
    *,
    stride: int = 1,
    dilation: int = 1,
    shortcut: bool = False,
) -> jax.Array:
    """MobileNetV2's block (Sandler et al., 2018) of one picture, for lowering to a CPU alone.

    1×1 → ReLU → depthwise → ReLU → 1×1, and x again with `shortcut`: what three calls of
    `convolution` give, bit for bit, a fifth to a third faster.

    Args:
      x: float32 [1, H, W, C].
      expand, spatial, project: kernels float32 [1, 1, C, E], [k, k, 1, E] and [1, 1, E, F].

    Returns:
      float32 [1, ceil(H / stride), ceil(W / stride), F].

    Raises:
      NotImplementedError: there is no AMX, the library is not built, or shapes or dtypes are beyond
        it.
    """
    count, height, width, _ = x.shape
    size, _, _, expanded = spatial[0].shape
    features = project[0].shape[3]
    if not (available() and _tiles):
        raise NotImplementedError("no AMX here, or the library is not built")
    if count != 1 or any(
        a.dtype != np.float32 for a in (x, *expand[:2], *spatial[:2], *project[:2])
    ):
        raise NotImplementedError(f"got {x.dtype} {x.shape}; one picture in float32 is served")
    if size not in (3, 5) or stride > 2 or dilation > 1 or expanded % 16:
        raise NotImplementedError(
            f"got {expanded} channels by {size}×{size} of stride {stride} and dilation {dilation}; "
            "multiples of 16 by 3×3 and 5×5 of strides 1 and 2 are served"
        )
    dense = [
        prepare_kernel(kernel) if prepared is None else prepared
        for kernel, _, prepared in (expand, project)
    ]
    shape = (1, -(-height // stride), -(-width // stride), features)
    result = jax.ShapeDtypeStruct(shape, x.dtype)
    operands = (x, dense[0], expand[1], *spatial[:2], dense[1], project[1])
    return call("inverted_residual", result, *operands, stride=stride, shortcut=shortcut)


def prepare_kernel(
    kernel: Any, *, stride: int = 1, depthwise: bool = False, bfloat16: bool = True
) -> Any:
    """A kernel as `convolution` multiplies it, or None if that is the kernel as it is.

    Weights are the same for all pictures: who prepares them once saves an eighth of the network.

    Args:
      kernel: float32 [k, k, C, F], of NumPy or JAX, and so is the result.
      bfloat16: lets dense products take bfloat16 numbers and sum them in float32: all of them by
        AMX's tiles, all but Winograd's by AVX512-BF16; where there is neither, they stay float32.
    """
    size, channels, features = kernel.shape[1:]
    if depthwise or not available():
        return None
    numbers = np if isinstance(kernel, np.ndarray) else jnp
    if bfloat16 and _tiles:
        runs = kernel.reshape(size, size * channels, features)
        runs = numbers.pad(runs, ((0, 0), (0, -runs.shape[1] % 32), (0, -features % 16)))
        tiles = runs.reshape(size, -1, 16, 2, runs.shape[2] // 16, 16)
        return tiles.transpose(4, 0, 1, 2, 5, 3).astype(jnp.bfloat16)
    if size == 3 and stride == 1:
        mix = _MIX.astype(np.float32)
        mixed = numbers.einsum("yi,xj,ijcf->yxcf", mix, mix, kernel)
        return mixed.reshape(-1, channels, features)
    if bfloat16 and _pairs and channels % 2 == 0:
        return kernel.astype(jnp.bfloat16).reshape(-1, 2, features).swapaxes(1, 2)
    return None
