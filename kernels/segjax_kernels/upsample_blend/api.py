"""The public `upsample_blend`."""

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from segjax_kernels import tuning
from segjax_kernels.dispatch import Implementation, operation
from segjax_kernels.tuning import KernelConfig
from segjax_kernels.upsample_blend import cases, native, reference, xla


def upsample_blend(
    frame: Any,
    alpha: Any,
    background: Any,
    *,
    faint: float = 0.0,
    in_place: bool = False,
    implementation: Literal["triton", "c", "xla", "reference"] | None = None,
    config: KernelConfig | None = None,
) -> jax.Array:
    """Lays the frame over a background by a mask of any smaller size, in one pass.

    `out = a * frame + (1 - a) * background`, rounded to the nearest byte, where `a` is `alpha`
    upsampled bilinearly with half-pixel centres and clamped edges. Where `a` is 0 or 1 the result
    is exactly the background or the frame; it always lies between the two. Elsewhere the integers
    used on a CPU are off by at most 2, by 1 on about one byte in ten (six, and 1 where `a` is 0,
    for a small background); floats differ only where the exact result lies halfway between two
    bytes.

    Batches: any of the three may have a leading axis of N, and those without one serve all. `vmap`
    makes the same batched call. Works under `jit`. It has no derivative, and says so.

    Args:
      frame: uint8 [H, W, 3] or [N, H, W, 3].
      alpha: float32 [h, w] or [N, h, w] with 1 <= h <= H and 1 <= w <= W; 1 shows the frame, 0 the
        background. Values outside [0, 1] are clipped. NaN counts as 0, so that a broken mask hides
        the room.
      background: one of
        * a picture: uint8 [H, W, 3] or [N, H, W, 3];
        * a colour: uint8 [3] or [N, 3];
        * a small picture: float32 [b, c, 3] or [N, b, c, 3] in [0, 1] with b <= H and c <= W,
          clipped, upsampled like alpha and rounded to bytes in the same pass;
        * None for none: the result is RGBA.
      faint: traces of the frame to leave out, in [0, 1). Where `a` is at most this it becomes
        exactly 0, and what is above is spread over the range again, (a - faint) / (1 - faint): no
        step shows where it begins, and nowhere is more of the frame seen than without it. The
        integers used on a CPU take it for up to 2 / 255 more, and are off by at most 3.
      in_place: the result is written over the frame, where the caller's `jit` donates it and the
        platform is a GPU. Where the frame is not donated, this costs a copy; elsewhere it does
        nothing, so do not donate there. Not for RGBA.
      implementation: "triton" (NVIDIA GPUs; needs triton and jax-triton), "c" (CPUs whose
        `segjax_kernels.cpu` is built), "xla" (everywhere), "reference" (plain jax.numpy, slow), or
        None for the first of them that can run.
      config: how the Triton kernel is cut into programs: `block` bytes of at most `rows` rows
        each. None takes what `segjax_kernels.autotune` found for this GPU, or an estimate.

    Returns:
      uint8 [H, W, 3]; RGBA [H, W, 4] without a background: straight alpha, and the colour is 0
      where the opacity is. With a leading axis of N if any input has one.

    Raises:
      ValueError: a shape or dtype breaks the rules above, or the implementation is unknown.
      NotImplementedError: the named implementation cannot run here; or a derivative is asked for.
    """
    frame, alpha = jnp.asarray(frame), jnp.asarray(alpha)
    arrays = (frame, alpha) if background is None else (frame, alpha, jnp.asarray(background))
    options = (("faint", check_faint(faint)), ("in_place", in_place), ("config", config))
    return _call(implementation, options, _check(in_place, *arrays), *arrays)


def check_faint(faint: float) -> float:
    """It, or a ValueError."""
    if not 0 <= faint < 1:
        raise ValueError(f"got faint={faint}; it is at least 0 and below 1; 0 leaves nothing out")
    return float(faint)


def _check(
    in_place: bool, frame: jax.Array, alpha: jax.Array, background: jax.Array | None = None
) -> tuple[bool, ...]:
    """Whether each of the arrays has a batch axis."""
    if frame.dtype != jnp.uint8 or frame.ndim not in (3, 4) or frame.shape[-1] != 3:
        raise ValueError(
            f"got a frame of {frame.dtype}{list(frame.shape)}; it is uint8[H, W, 3] or "
            "uint8[N, H, W, 3]; convert it"
        )
    if alpha.dtype != jnp.float32 or alpha.ndim not in (2, 3):
        raise ValueError(
            f"got an alpha of {alpha.dtype}{list(alpha.shape)}; it is float32[h, w] or "
            "float32[N, h, w]; convert it"
        )
    if not frame.size or not alpha.size:
        raise ValueError(
            f"got a frame of {list(frame.shape)} and an alpha of {list(alpha.shape)}; each has at "
            "least one pixel"
        )
    size = frame.shape[-3:-1]
    if alpha.shape[-2] > size[0] or alpha.shape[-1] > size[1]:
        raise ValueError(
            f"got an alpha of {list(alpha.shape)} for a frame of {list(frame.shape)}; it is at "
            "most as high and as wide; resize it first"
        )
    batched = [frame.ndim == 4, alpha.ndim == 3]
    if background is None:
        if in_place:
            raise ValueError(
                "got in_place=True without a background; RGBA has more bytes than the frame; "
                "leave in_place out"
            )
    else:
        batched.append(_check_background(size, frame, background))
    counts = {
        array.shape[0]
        for array, has_axis in zip((frame, alpha, background), batched, strict=False)
        if has_axis and array is not None
    }
    if len(counts) > 1:
        raise ValueError(
            f"got batches of {sorted(counts)}; those with a batch axis have the same N"
        )
    return tuple(batched)


def _check_background(size: tuple[int, ...], frame: jax.Array, background: jax.Array) -> bool:
    shape = background.shape
    if background.dtype == jnp.float32 and background.ndim in (3, 4) and shape[-1] == 3:
        if background.size and shape[-3] <= size[0] and shape[-2] <= size[1]:
            return background.ndim == 4
    elif background.dtype == jnp.uint8 and shape[-3:] == (*size, 3) and background.ndim in (3, 4):
        return background.ndim == 4
    elif background.dtype == jnp.uint8 and shape[-1:] == (3,) and background.ndim in (1, 2):
        return background.ndim == 2
    raise ValueError(
        f"got a background of {background.dtype}{list(shape)} for a frame of "
        f"{list(frame.shape)}; it is uint8 and of the frame's size, uint8[3] for one colour, or "
        "float32[b, c, 3], at most as high and as wide, all of them with or without a batch axis; "
        "resize or convert it"
    )


def _triton(*arrays: jax.Array, **options: Any) -> jax.Array:
    try:
        from segjax_kernels.upsample_blend import triton_kernel
    except ImportError as error:
        raise NotImplementedError(
            f"implementation='triton' needs triton and jax-triton ({error}); "
            "install segjax[gpu], or use None for the best one here"
        ) from error
    return triton_kernel.upsample_blend(*arrays, **options)


IMPLEMENTATIONS = {
    "triton": Implementation(_triton, platforms=("cuda",)),
    "c": Implementation(native.upsample_blend, platforms=("cpu",)),
    "xla": Implementation(xla.upsample_blend),
    "reference": Implementation(reference.upsample_blend),
}
"""By preference, best first."""

_call = operation(
    IMPLEMENTATIONS,
    "upsample_blend gives bytes, which have no derivative; "
    "stop the gradient before it, or train on a blend of floats",
)


MULTIPROCESSORS = {"A100": 108, "H100": 132, "H200": 132, "B200": 148, "L40": 142, "L4": 58}
"""By a part of the device's name; the first that fits."""

LEAST_WARPS = 5
"""On a multiprocessor, if the memory is to be kept busy."""


def _heuristic(shape: tuple[int, int], device_kind: str) -> KernelConfig:
    """16 bytes a thread, and as many rows as leave enough warps to each multiprocessor."""
    multiprocessors = next((n for name, n in MULTIPROCESSORS.items() if name in device_kind), 132)
    block, warps = 1024, 2
    warps_by_row = math.ceil(3 * shape[1] / block) * shape[0] * warps
    rows = 8 if warps_by_row >= 8 * LEAST_WARPS * multiprocessors else 4
    return KernelConfig(block, warps, rows)


def _problem(shape: tuple[int, int]) -> tuple[Any, tuple[np.ndarray, ...]]:
    mask = (min(144, shape[0]), min(256, shape[1]))
    inputs = cases.inputs(cases.Case("at hand", *shape, *mask))

    def run(config: KernelConfig, *arrays: jax.Array) -> jax.Array:
        return upsample_blend(*arrays, implementation="triton", config=config)

    return run, inputs


tuning.register(
    tuning.Tunable(
        name="upsample_blend",
        heuristic=_heuristic,
        space=lambda shape: tuning.grid_of(
            blocks=(512, 1024, 2048, 4096), warps=(1, 2, 4, 8), rows=(2, 4, 8, 16)
        ),
        problem=_problem,
    )
)
