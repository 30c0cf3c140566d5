"""The public `preprocess`."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from segjax_kernels import tuning
from segjax_kernels.dispatch import Implementation, operation
from segjax_kernels.preprocess import cases, native, reference, xla
from segjax_kernels.tuning import KernelConfig

DTYPES = (jnp.dtype(jnp.float32), jnp.dtype(jnp.bfloat16))


def preprocess(
    frame: Any,
    size: tuple[int, int],
    *,
    dtype: jax.typing.DTypeLike = jnp.float32,
    implementation: Literal["triton", "c", "xla", "reference"] | None = None,
    config: KernelConfig | None = None,
) -> jax.Array:
    """Shrinks a frame of bytes to the picture of floats that a network sees, in one pass.

    Each pixel is the mean of its area of the frame, exact to 1e-6 in float32 (OpenCV's INTER_AREA
    without its rounding). A side that grows is interpolated bilinearly instead, with half-pixel
    centres and clamped edges.

    Works under `jit` and `vmap`, which makes one call of any number of frames. Bytes have no
    derivative: `jax.grad` refuses them; to differentiate by a picture, shrink floats with
    `jax.image.resize`.

    Args:
      frame: uint8 [H, W, 3], or [N, H, W, 3].
      size: (h, w) of the result.
      dtype: of the result, float32 or bfloat16.
      implementation: "triton" (NVIDIA GPUs, where no side grows; needs triton and jax-triton),
        "c" (CPUs whose `segjax_kernels.cpu` is built, where no side grows), "xla" (everywhere),
        "reference" (two matrix products), or None for the first that can run.
      config: how the Triton kernel is cut into programs, where `rows` are those read at once; None
        for the table of `segjax_kernels.autotune` or, without one, an estimate.

    Returns:
      [h, w, 3] or [N, h, w, 3] in [0, 1].

    Raises:
      ValueError: a shape, size or dtype breaks the rules above, or the implementation is unknown.
      NotImplementedError: the named implementation cannot run here.
    """
    frame = jnp.asarray(frame)
    if frame.dtype != jnp.uint8 or frame.ndim not in (3, 4) or frame.shape[-1] != 3:
        raise ValueError(
            f"got a frame of {frame.dtype}{list(frame.shape)}; it is uint8[H, W, 3] or "
            "uint8[N, H, W, 3]; convert it"
        )
    if not frame.size or len(size) != 2 or min(size) < 1:
        raise ValueError(
            f"got a frame of {list(frame.shape)} and size={size}; both have at least one pixel"
        )
    if jnp.dtype(dtype) not in DTYPES:
        raise ValueError(f"got dtype={jnp.dtype(dtype)}; it is float32 or bfloat16")
    options = (("size", (int(size[0]), int(size[1]))), ("dtype", jnp.dtype(dtype)))
    return _call(implementation, (*options, ("config", config)), (frame.ndim == 4,), frame)


def _triton(frames: jax.Array, **options: Any) -> jax.Array:
    try:
        from segjax_kernels.preprocess import triton_kernel
    except ImportError as error:
        raise NotImplementedError(
            f"implementation='triton' needs triton and jax-triton ({error}); "
            "install segjax[gpu], or use None for the best one here"
        ) from error
    return triton_kernel.preprocess(frames, **options)


IMPLEMENTATIONS = {
    "triton": Implementation(_triton, platforms=("cuda",)),
    "c": Implementation(native.preprocess, platforms=("cpu",)),
    "xla": Implementation(xla.preprocess),
    "reference": Implementation(reference.preprocess),
}
"""By preference, best first."""

_call = operation(IMPLEMENTATIONS, "preprocess takes bytes, which have no derivative")


def _problem(shape: tuple[int, int]) -> tuple[Any, tuple[np.ndarray]]:
    real = min(cases.REAL, key=lambda case: abs(case.height - shape[0]))
    frame = cases.inputs(real._replace(height=shape[0], width=shape[1]))

    def run(config: KernelConfig, frame: jax.Array) -> jax.Array:
        size = (real.small_height, real.small_width)
        return preprocess(frame, size, implementation="triton", config=config)

    return run, (frame,)


tuning.register(
    tuning.Tunable(
        name="preprocess",
        # 16 bytes a thread, and rows in flight to hide the memory's latency.
        heuristic=lambda shape, device_kind: KernelConfig(block=1024, warps=2, rows=8),
        space=lambda shape: tuning.grid_of(
            blocks=(512, 1024, 2048), warps=(1, 2, 4, 8), rows=(4, 8, 16)
        ),
        problem=_problem,
    )
)
