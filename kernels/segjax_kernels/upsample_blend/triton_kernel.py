"""`upsample_blend` as one Triton kernel for NVIDIA GPUs, called from JAX through jax-triton.

A row of the frame is a run of 3 * width bytes; where that is a multiple of 16, every access is 16
bytes wide. A *band* is the rows between the same two rows of the mask. A program takes a block of
bytes in some rows of one band, interpolates the mask along the block once, and pays for each byte
one multiply-add of alpha and one of the blend.
"""

import math
from typing import Any

import jax
import jax_triton
import triton
import triton.language as tl
from jax.custom_batching import sequential_vmap

BLOCK = 1024
"""Bytes of a row that a program takes: 16 for each thread."""

WARPS = BLOCK // 16 // 32

MOST_ROWS = 8
"""Rows that a program takes at most; its loop over them is unrolled."""

CAPABILITY_WITHOUT_GPU = 90
"""What is compiled for where this machine has no GPU and lowers for another one."""


@triton.jit
def upsample_blend_kernel(
    frame_ptr,
    alpha_ptr,
    background_ptr,
    out_ptr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    MASK_HEIGHT: tl.constexpr,
    MASK_WIDTH: tl.constexpr,
    COLOUR: tl.constexpr,
    SPLITS: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One block of bytes (axis 0) in at most ROWS rows of a split band (axis 1)."""
    # Positions are exact: pixel x lies at ((2 x + 1) MASK_WIDTH - WIDTH) / (2 WIDTH) in the mask.
    # One mask pixel is added before each division, since division truncates towards zero.
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    position = (2 * (at // 3) + 1) * MASK_WIDTH + WIDTH
    after = position // (2 * WIDTH)
    weight = _fraction(position - after * (2 * WIDTH), 2 * WIDTH)
    left = tl.maximum(after - 1, 0)
    right = tl.minimum(after, MASK_WIDTH - 1)

    # Band k holds the rows y from the first with ((2 y + 1) MASK_HEIGHT - HEIGHT) / (2 HEIGHT) >= k
    # to before that of band k + 1, for k from -1: above the first mask row only the edge counts.
    band = tl.program_id(1) // SPLITS - 1
    first = tl.maximum(HEIGHT * (2 * band + 1) + MASK_HEIGHT - 1, 0) // (2 * MASK_HEIGHT)
    end = tl.minimum((HEIGHT * (2 * band + 3) + MASK_HEIGHT - 1) // (2 * MASK_HEIGHT), HEIGHT)
    above = tl.maximum(band, 0) * MASK_WIDTH
    below = tl.minimum(band + 1, MASK_HEIGHT - 1) * MASK_WIDTH

    top = _along(alpha_ptr + above, left, right, weight, at < 3 * WIDTH)
    change = _along(alpha_ptr + below, left, right, weight, at < 3 * WIDTH) - top
    if COLOUR:
        back = tl.load(background_ptr + at % 3).to(tl.float32)

    for row in tl.static_range(ROWS):
        y = first + (tl.program_id(1) % SPLITS) * ROWS + row
        live = at < tl.where(y < end, 3 * WIDTH, 0)
        down = (2 * y + 1) * MASK_HEIGHT - HEIGHT * (2 * band + 1)
        alpha = top + _fraction(down, 2 * HEIGHT) * change
        byte = y * (3 * WIDTH) + at
        front = tl.load(frame_ptr + byte, mask=live, other=0).to(tl.float32)
        if not COLOUR:
            back = tl.load(background_ptr + byte, mask=live, other=0).to(tl.float32)
        # Adding 2**23 rounds to the nearest integer and leaves it in the lowest bits, for less than
        # a conversion costs.
        blend = back + alpha * (front - back) + 8388608.0
        tl.store(out_ptr + byte, blend.to(tl.int32, bitcast=True).to(tl.uint8), mask=live)


@triton.jit
def _fraction(part, whole: tl.constexpr):
    """part / whole, rounded as a division would, for a few instructions instead of dozens."""
    part = part.to(tl.float32)
    quotient = part * (1.0 / whole)
    return quotient + tl.fma(quotient, -1.0 * whole, part) * (1.0 / whole)


@triton.jit
def _along(row_ptr, left, right, weight, inside):
    """A mask row, clipped (NaN to 0), between its pixels `left` and `right`."""
    first = tl.load(row_ptr + left, mask=inside, other=0.0)
    second = tl.load(row_ptr + right, mask=inside, other=0.0)
    first = tl.where(first > 0, tl.minimum(first, 1.0), 0.0)
    second = tl.where(second > 0, tl.minimum(second, 1.0), 0.0)
    return first + weight * (second - first)


def launch(
    height: int, width: int, mask_height: int, mask_width: int, colour: bool
) -> tuple[tuple[int, int], dict[str, Any]]:
    """The kernel's grid and its compile-time arguments."""
    longest = math.ceil(height / mask_height)
    splits = math.ceil(longest / MOST_ROWS)
    grid = (math.ceil(3 * width / BLOCK), (mask_height + 1) * splits)
    return grid, {
        "HEIGHT": height,
        "WIDTH": width,
        "MASK_HEIGHT": mask_height,
        "MASK_WIDTH": mask_width,
        "COLOUR": colour,
        "SPLITS": splits,
        "ROWS": math.ceil(longest / splits),
        "BLOCK": BLOCK,
    }


@sequential_vmap
def upsample_blend(frame: jax.Array, alpha: jax.Array, background: jax.Array) -> jax.Array:
    """See `api.upsample_blend`.

    Raises:
      NotImplementedError: the frame's bytes or the positions in it need more than 32 bits.
    """
    (height, width), (mask_height, mask_width) = frame.shape[:2], alpha.shape
    largest = max(frame.size, 4 * height * (mask_height + 1), 4 * width * (mask_width + 1))
    if largest >= 2**31:
        raise NotImplementedError(
            f"implementation='triton' counts in 32 bits, too few for a frame of {height}x{width} "
            f"with a mask of {mask_height}x{mask_width}; use None for the best one here"
        )
    grid, constants = launch(height, width, mask_height, mask_width, background.ndim == 1)
    return jax_triton.triton_call(
        frame,
        alpha,
        background,
        kernel=upsample_blend_kernel,
        out_shape=jax.ShapeDtypeStruct(frame.shape, frame.dtype),
        grid=grid,
        num_warps=WARPS,
        compute_capability=None if _has_gpu() else CAPABILITY_WITHOUT_GPU,
        name="upsample_blend",
        **constants,
    )


def _has_gpu() -> bool:
    try:
        return bool(jax.devices("cuda"))
    except RuntimeError:
        return False
