"""The public `upsample_blend`."""

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp

from segjax_kernels.dispatch import Implementation, dispatch
from segjax_kernels.upsample_blend import reference, xla


def upsample_blend(
    frame: Any,
    alpha: Any,
    background: Any,
    *,
    implementation: Literal["triton", "xla", "reference"] | None = None,
) -> jax.Array:
    """Lays the frame over a background by a mask of any smaller size, in one pass.

    `out = a * frame + (1 - a) * background`, rounded to the nearest byte, where `a` is `alpha`
    upsampled bilinearly with half-pixel centres and clamped edges. Where `a` is 0 or 1 the result
    is exactly the background or the frame; it always lies between the two. Elsewhere the integers
    used on a CPU are off by at most 2, by 1 on about one byte in ten; floats differ only where
    the exact result lies halfway between two bytes.

    Works under `jit` and `vmap`. It has no derivative, and says so.

    Args:
      frame: uint8 [H, W, 3].
      alpha: float32 [h, w] with 1 <= h <= H and 1 <= w <= W; 1 shows the frame, 0 the background.
        Values outside [0, 1] are clipped. NaN counts as 0, so that a broken mask hides the room.
      background: uint8 [H, W, 3], or uint8 [3] for one colour.
      implementation: "triton" (NVIDIA GPUs; needs triton and jax-triton), "xla" (everywhere),
        "reference" (plain jax.numpy, slow), or None for the first of them that can run.

    Returns:
      uint8 [H, W, 3].

    Raises:
      ValueError: a shape or dtype breaks the rules above, or the implementation is unknown.
      NotImplementedError: the named implementation cannot run here; or a derivative is asked for.
    """
    frame, alpha, background = jnp.asarray(frame), jnp.asarray(alpha), jnp.asarray(background)
    _check(frame, alpha, background)
    return _jitted(implementation, frame, alpha, background)


def _check(frame: jax.Array, alpha: jax.Array, background: jax.Array) -> None:
    if frame.dtype != jnp.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
        raise ValueError(
            f"got a frame of {frame.dtype}{list(frame.shape)}; it is uint8[H, W, 3] with at least "
            "one pixel; convert it, or use jax.vmap for a batch"
        )
    if background.dtype != jnp.uint8 or background.shape not in (frame.shape, (3,)):
        raise ValueError(
            f"got a background of {background.dtype}{list(background.shape)} for a frame of "
            f"{list(frame.shape)}; it is uint8 and of the frame's shape, or [3] for one colour; "
            "resize or convert it"
        )
    if alpha.dtype != jnp.float32 or alpha.ndim != 2 or not alpha.size:
        raise ValueError(
            f"got an alpha of {alpha.dtype}{list(alpha.shape)}; it is float32[h, w] with at least "
            "one pixel; convert it, or use jax.vmap for a batch"
        )
    if alpha.shape[0] > frame.shape[0] or alpha.shape[1] > frame.shape[1]:
        raise ValueError(
            f"got an alpha of {list(alpha.shape)} for a frame of {list(frame.shape)}; it is at "
            "most as high and as wide; resize it first"
        )


def _triton(frame: jax.Array, alpha: jax.Array, background: jax.Array) -> jax.Array:
    try:
        from segjax_kernels.upsample_blend import triton_kernel
    except ImportError as error:
        raise NotImplementedError(
            f"implementation='triton' needs triton and jax-triton ({error}); "
            "install segjax[gpu], or use None for the best one here"
        ) from error
    return triton_kernel.upsample_blend(frame, alpha, background)


IMPLEMENTATIONS = {
    "triton": Implementation(_triton, platforms=("cuda",)),
    "xla": Implementation(xla.upsample_blend),
    "reference": Implementation(reference.upsample_blend),
}
"""By preference, best first."""


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _upsample_blend(implementation, frame, alpha, background):
    return dispatch(IMPLEMENTATIONS, implementation, frame, alpha, background)


@_upsample_blend.defjvp
def _no_derivative(implementation, primals, tangents):
    raise NotImplementedError(
        "upsample_blend gives bytes, which have no derivative; "
        "stop the gradient before it, or train on a blend of floats"
    )


_jitted = jax.jit(_upsample_blend, static_argnums=0)
