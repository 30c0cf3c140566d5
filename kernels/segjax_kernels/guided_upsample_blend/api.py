"""The public `guided_upsample_blend`."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from segjax_kernels import tuning
from segjax_kernels.dispatch import Implementation, operation
from segjax_kernels.guided_upsample_blend import cases, native, reference, xla
from segjax_kernels.tuning import KernelConfig
from segjax_kernels.upsample_blend import api as plain


def guided_upsample_blend(
    frame: Any,
    slope: Any,
    offset: Any,
    background: Any,
    *,
    room: Any = None,
    faint: float = 0.0,
    in_place: bool = False,
    implementation: Literal["triton", "c", "xla", "reference"] | None = None,
    config: KernelConfig | None = None,
) -> jax.Array:
    """`upsample_blend` with a mask whose edges follow the frame's own, pixel by pixel.

    Alpha is a line of the frame's brightness, whose slope and offset come from
    `guided_coefficients` and are upsampled bilinearly. It is made firm at both ends:

        x = slope * (0.299 R + 0.587 G + 0.114 B) / 255 + offset
        a = clip((x - 0.25) / 0.5, 0, 1)
        out = a * frame + (1 - a) * background

    A pixel at an edge shows some of the room behind the person. If `room` is given, its share is
    taken out before the new background is laid behind:

        out = clip(frame - (1 - a) * room, 0, 255 * a) + (1 - a) * background

    Where `a` is 0 or 1 the result is exactly the background or the frame. Floats differ from the
    exact result only where that lies halfway between two bytes. The integers used on a CPU take
    slopes up to 16 and brightness to within 0.3 of 255 levels: `a` is off by that, times the
    slope, and the result by 2 more.

    Batches, `vmap` and derivatives are as for `upsample_blend`.

    Args:
      frame: uint8 [H, W, 3] or [N, H, W, 3].
      slope: float32 [h, w] or [N, h, w] with 1 <= h <= H and 1 <= w <= W.
      offset: float32 of slope's shape. Where one of the two is NaN or infinite, alpha is 0.
      background: as for `upsample_blend`: a picture, a colour, a small picture, or None for RGBA.
      room: float32 [b, c, 3] or [N, b, c, 3] in [0, 1] with b <= H and c <= W, clipped: the colours
        of the room without the person, blurred; upsampled in the same pass. None leaves the
        frame's colours as they are.
      faint: as for `upsample_blend`: `a` then runs from 0 at x = 0.25 + faint / 2 to 1, at no cost.
      in_place: as for `upsample_blend`.
      implementation: "triton" (NVIDIA GPUs; needs triton and jax-triton), "c" (CPUs whose
        `segjax_kernels.cpu` is built; not with a room), "xla" (everywhere), "reference" (plain
        jax.numpy, slow), or None for the first of them that can run.
      config: how the Triton kernel is cut into programs: `block` bytes of at most `rows` rows
        each. None takes what `segjax_kernels.autotune` found for this GPU, or an estimate.

    Returns:
      uint8 [H, W, 3]; RGBA [H, W, 4] without a background: straight alpha, and the colour is 0
      where the opacity is. With a leading axis of N if any input has one.

    Raises:
      ValueError: a shape or dtype breaks the rules above, or the implementation is unknown.
      NotImplementedError: the named implementation cannot run here; or a derivative is asked for.
    """
    frame, slope, offset = jnp.asarray(frame), jnp.asarray(slope), jnp.asarray(offset)
    pictures = tuple(jnp.asarray(x) for x in (background, room) if x is not None)
    if slope.shape != offset.shape or slope.dtype != offset.dtype:
        raise ValueError(
            f"got a slope of {slope.dtype}{list(slope.shape)} and an offset of "
            f"{offset.dtype}{list(offset.shape)}; both are float32 and of one shape; take them "
            "from guided_coefficients"
        )
    backs = pictures[:1] if background is not None else ()
    batched = plain._check(in_place, frame, slope, *backs)
    batched = (*batched[:2], batched[1], *batched[2:])
    if room is not None:
        batched += (_check_room(frame, pictures[-1]),)
        # What is known of the others still holds with the room's batch among them.
        counts = {
            x.shape[0]
            for x, has_axis in zip((frame, slope, offset, *pictures), batched, strict=True)
            if has_axis
        }
        if len(counts) > 1:
            raise ValueError(
                f"got batches of {sorted(counts)}; those with a batch axis have the same N"
            )
    options = (
        ("transparent", background is None),
        ("faint", plain.check_faint(faint)),
        ("in_place", in_place),
        ("config", config),
    )
    return _call(implementation, options, batched, frame, slope, offset, *pictures)


def _check_room(frame: jax.Array, room: jax.Array) -> bool:
    """Whether the room has a batch axis."""
    height, width = frame.shape[-3:-1]
    shape = room.shape
    kind_fits = room.dtype == jnp.float32 and room.ndim in (3, 4) and shape[-1] == 3
    if kind_fits and room.size and shape[-3] <= height and shape[-2] <= width:
        return room.ndim == 4
    raise ValueError(
        f"got a room of {room.dtype}{list(shape)} for a frame of {list(frame.shape)}; it is "
        "float32[b, c, 3] or float32[N, b, c, 3], at most as high and as wide; resize or convert it"
    )


def _triton(*arrays: jax.Array, **options: Any) -> jax.Array:
    try:
        from segjax_kernels.guided_upsample_blend import triton_kernel
    except ImportError as error:
        raise NotImplementedError(
            f"implementation='triton' needs triton and jax-triton ({error}); "
            "install segjax[gpu], or use None for the best one here"
        ) from error
    return triton_kernel.guided_upsample_blend(*arrays, **options)


IMPLEMENTATIONS = {
    "triton": Implementation(_triton, platforms=("cuda",)),
    "c": Implementation(native.guided_upsample_blend, platforms=("cpu",)),
    "xla": Implementation(xla.guided_upsample_blend),
    "reference": Implementation(reference.guided_upsample_blend),
}
"""By preference, best first."""

_call = operation(
    IMPLEMENTATIONS,
    "guided_upsample_blend gives bytes, which have no derivative; "
    "stop the gradient before it, or train on a blend of floats",
)


def _problem(shape: tuple[int, int]) -> tuple[Any, tuple[np.ndarray, ...]]:
    mask = (min(144, shape[0]), min(256, shape[1]))
    inputs = cases.inputs(cases.Case("at hand", *shape, *mask))

    def run(config: KernelConfig, *arrays: jax.Array) -> jax.Array:
        return guided_upsample_blend(*arrays, implementation="triton", config=config)

    return run, tuple(inputs.values())


def _heuristic(shape: tuple[int, int], device_kind: str) -> KernelConfig:
    """That of `upsample_blend`, with as many rows as touch three knots of a mask of 144 rows."""
    estimate = plain._heuristic(shape, device_kind)
    rows = max(1, min(estimate.rows, 1 + shape[0] // 144))
    return KernelConfig(estimate.block, estimate.warps, rows)


tuning.register(
    tuning.Tunable(
        name="guided_upsample_blend",
        heuristic=_heuristic,
        space=lambda shape: tuning.grid_of(
            blocks=(512, 1024, 2048, 4096), warps=(1, 2, 4, 8), rows=(2, 4, 6, 8, 12)
        ),
        problem=_problem,
    )
)
