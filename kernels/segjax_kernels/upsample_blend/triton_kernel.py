"""`upsample_blend` as one Triton kernel for NVIDIA GPUs, called from JAX through jax-triton.

A row of the frame is a run of 3 * width bytes; where that is a multiple of 16, every access is 16
bytes wide, and of 8, 4 or 2 where it is a multiple of those. A *band* is the rows between the same
two rows of the mask. A program takes a block of bytes in some rows of one band, interpolates the
mask along the block once, and pays for each byte one multiply-add of alpha and one of the blend.

Bytes become floats by a trick: 0x4B000000 + b is the float 2**23 + b. Differences of two lose the
2**23, and a sum on top of it is rounded to the nearest integer and lies in the lowest bits.
"""

import math
from typing import Any

import jax
import jax_triton
import numpy as np
import triton
import triton.language as tl

from segjax_kernels import tuning
from segjax_kernels.tuning import KernelConfig
from segjax_kernels.upsample_blend import reference

CAPABILITY_WITHOUT_GPU = 90
"""What is compiled for where this machine has no GPU and lowers for another one."""

MOST_PROGRAMS = 65535
"""Along the second and the third axis of a grid."""


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
    SMALL_HEIGHT: tl.constexpr,
    SMALL_WIDTH: tl.constexpr,
    SPANS: tl.constexpr,
    FRAME_STEP: tl.constexpr,
    ALPHA_STEP: tl.constexpr,
    BACKGROUND_STEP: tl.constexpr,
    BACKGROUND: tl.constexpr,
    LOWERED: tl.constexpr,
    SPLITS: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One block of bytes (axis 0) in at most ROWS rows of a split band (axis 1) of a frame (2).

    BACKGROUND is "frame", "colour" or "small"; a block of a small one touches SPANS intervals
    between its rows. The STEPs lead to the next frame's inputs, and are 0 where all share them. A
    mask that is LOWERED was clipped already, and is shown where it is above 0.
    """
    frame_ptr += tl.program_id(2).to(tl.int64) * FRAME_STEP
    alpha_ptr += tl.program_id(2).to(tl.int64) * ALPHA_STEP
    background_ptr += tl.program_id(2).to(tl.int64) * BACKGROUND_STEP
    out_ptr += tl.program_id(2).to(tl.int64) * (3 * HEIGHT * WIDTH)

    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    # Bytes behind the row take its last pixel's mask: cheaper than not to load.
    pixel = tl.minimum(at // 3, WIDTH - 1)
    columns = _between(pixel, 0, WIDTH, MASK_WIDTH, 1)
    band = tl.program_id(1) // SPLITS - 1
    first = _first_row(band, HEIGHT, MASK_HEIGHT) + (tl.program_id(1) % SPLITS) * ROWS
    end = _first_row(band + 1, HEIGHT, MASK_HEIGHT)
    top = _along(alpha_ptr, band, columns, MASK_HEIGHT, MASK_WIDTH, not LOWERED)
    change = _along(alpha_ptr, band + 1, columns, MASK_HEIGHT, MASK_WIDTH, not LOWERED) - top

    if BACKGROUND == "colour":
        back = _biased(tl.load(background_ptr + at % 3))
    if BACKGROUND == "small":
        columns = _between(pixel, at % 3, WIDTH, SMALL_WIDTH, 3)
        start = ((2 * first + 1) * SMALL_HEIGHT + HEIGHT) // (2 * HEIGHT) - 1
        base = _along(background_ptr, start, columns, SMALL_HEIGHT, 3 * SMALL_WIDTH, True)
        before = base
        steps = ()
        for span in tl.static_range(SPANS):
            row = start + 1 + span
            after = _along(background_ptr, row, columns, SMALL_HEIGHT, 3 * SMALL_WIDTH, True)
            steps += (after - before,)
            before = after
        base = base * 255

    for row in tl.static_range(ROWS):
        y = first + row
        live = at < tl.where(y < end, 3 * WIDTH, 0)
        alpha = top + _down(y, band, HEIGHT, MASK_HEIGHT) * change
        if LOWERED:
            alpha = tl.maximum(alpha, 0.0)
        byte = y * (3 * WIDTH) + at
        front = _biased(tl.load(frame_ptr + byte, mask=live, other=0))
        if BACKGROUND == "frame":
            back = _biased(tl.load(background_ptr + byte, mask=live, other=0))
        if BACKGROUND == "small":
            down = _down(y, start, HEIGHT, SMALL_HEIGHT)
            back = base
            for span in tl.static_range(SPANS):
                back += (255 * tl.minimum(tl.maximum(down - span, 0.0), 1.0)) * steps[span]
            back += 8388608.0
        blend = tl.fma(alpha, front - back, back)
        tl.store(out_ptr + byte, _byte(blend), mask=live)


@triton.jit
def cut_out_kernel(
    frame_ptr,
    alpha_ptr,
    out_ptr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    MASK_HEIGHT: tl.constexpr,
    MASK_WIDTH: tl.constexpr,
    FRAME_STEP: tl.constexpr,
    ALPHA_STEP: tl.constexpr,
    LOWERED: tl.constexpr,
    SPLITS: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """RGBA, 4 bytes a lane: BLOCK // 4 pixels in rows cut as in `upsample_blend_kernel`."""
    frame_ptr += tl.program_id(2).to(tl.int64) * FRAME_STEP
    alpha_ptr += tl.program_id(2).to(tl.int64) * ALPHA_STEP
    words_ptr = out_ptr.to(tl.pointer_type(tl.int32))
    words_ptr += tl.program_id(2).to(tl.int64) * (HEIGHT * WIDTH)

    at = tl.program_id(0) * (BLOCK // 4) + tl.arange(0, BLOCK // 4)
    columns = _between(tl.minimum(at, WIDTH - 1), 0, WIDTH, MASK_WIDTH, 1)
    band = tl.program_id(1) // SPLITS - 1
    first = _first_row(band, HEIGHT, MASK_HEIGHT) + (tl.program_id(1) % SPLITS) * ROWS
    end = _first_row(band + 1, HEIGHT, MASK_HEIGHT)
    top = _along(alpha_ptr, band, columns, MASK_HEIGHT, MASK_WIDTH, not LOWERED)
    change = _along(alpha_ptr, band + 1, columns, MASK_HEIGHT, MASK_WIDTH, not LOWERED) - top

    for row in tl.static_range(ROWS):
        y = first + row
        live = at < tl.where(y < end, WIDTH, 0)
        alpha = top + _down(y, band, HEIGHT, MASK_HEIGHT) * change
        if LOWERED:
            alpha = tl.maximum(alpha, 0.0)
        opacity = _byte(tl.fma(alpha, 255.0, 8388608.0)).to(tl.int32)
        byte = y * (3 * WIDTH) + 3 * at
        red = tl.load(frame_ptr + byte, mask=live, other=0).to(tl.int32)
        green = tl.load(frame_ptr + byte + 1, mask=live, other=0).to(tl.int32)
        blue = tl.load(frame_ptr + byte + 2, mask=live, other=0).to(tl.int32)
        word = red | (green << 8) | (blue << 16) | (opacity << 24)
        tl.store(words_ptr + y * WIDTH + at, tl.where(opacity > 0, word, 0), mask=live)


@triton.jit
def _first_row(band, HEIGHT: tl.constexpr, SOURCE: tl.constexpr):
    """Of the frame, in a band: the first y with ((2 y + 1) SOURCE - HEIGHT) / (2 HEIGHT) >= band.

    Bands count from -1: above the first mask row only the edge counts.
    """
    numerator = tl.maximum(HEIGHT * (2 * band + 1) + SOURCE - 1, 0)
    return tl.minimum(numerator // (2 * SOURCE), HEIGHT)


@triton.jit
def _between(pixel, channel, SIZE: tl.constexpr, SOURCE: tl.constexpr, CHANNELS: tl.constexpr):
    """Where in a row of the source the two values lie that a pixel lies between, and its share."""
    # Positions are exact: pixel x lies at ((2 x + 1) SOURCE - SIZE) / (2 SIZE). One column is added
    # before the division, since division truncates towards zero.
    position = (2 * pixel + 1) * SOURCE + SIZE
    after = position // (2 * SIZE)
    weight = (position - after * (2 * SIZE)).to(tl.float32) * (1.0 / (2 * SIZE))
    left, right = tl.maximum(after - 1, 0), tl.minimum(after, SOURCE - 1)
    return left * CHANNELS + channel, right * CHANNELS + channel, weight


@triton.jit
def _down(y, row, HEIGHT: tl.constexpr, SOURCE: tl.constexpr):
    """How far below row `row` of the source the row y of the frame lies, in rows of the source."""
    down = (2 * y + 1) * SOURCE - HEIGHT * (2 * row + 1)
    return down.to(tl.float32) * (1.0 / (2 * HEIGHT))


@triton.jit
def _along(source_ptr, row, columns, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, CLIP: tl.constexpr):
    """A row of the source between its values at `columns`; clipped before, of which NaN gives 0."""
    left, right, weight = columns
    source_ptr += tl.minimum(tl.maximum(row, 0), HEIGHT - 1) * WIDTH
    first, second = tl.load(source_ptr + left), tl.load(source_ptr + right)
    if CLIP:
        first = tl.minimum(tl.maximum(first, 0.0), 1.0)
        second = tl.minimum(tl.maximum(second, 0.0), 1.0)
    return first + weight * (second - first)


@triton.jit
def _biased(byte):
    """2**23 + byte."""
    return (byte.to(tl.int32) | 0x4B000000).to(tl.float32, bitcast=True)


@triton.jit
def _byte(biased):
    """The byte of 2**23 + byte."""
    return biased.to(tl.int32, bitcast=True).to(tl.uint8)


def launch(
    config: KernelConfig, frame: Any, alpha: Any, background: Any = None, *, lowered: bool = False
) -> tuple[Any, tuple[int, int, int], dict[str, Any]]:
    """The kernel, its grid and its compile-time arguments for arrays with a leading axis of N or 1.

    Raises:
      NotImplementedError: positions in a frame need more than 32 bits, or the grid is too large.
    """
    (height, width), (mask_height, mask_width) = frame.shape[1:3], alpha.shape[1:]
    count = _count(frame, alpha, background)
    splits = math.ceil(math.ceil(height / mask_height) / config.rows)
    rows = math.ceil(math.ceil(height / mask_height) / splits)
    columns = (4 if background is None else 3) * width
    grid = (math.ceil(columns / config.block), (mask_height + 1) * splits, count)
    constants: dict[str, Any] = {
        "HEIGHT": height,
        "WIDTH": width,
        "MASK_HEIGHT": mask_height,
        "MASK_WIDTH": mask_width,
        "FRAME_STEP": _step(frame),
        "ALPHA_STEP": _step(alpha),
        "LOWERED": lowered,
        "SPLITS": splits,
        "ROWS": rows,
        "BLOCK": config.block,
    }
    small = (1, 1)
    kernel = cut_out_kernel
    if background is not None:
        kernel, kind, spans = upsample_blend_kernel, "frame", 1
        if background.ndim == 2:
            kind = "colour"
        elif background.dtype == "float32":
            kind, small = "small", background.shape[1:3]
            spans = _spans(height, mask_height, small[0], rows)
        constants |= {"BACKGROUND": kind, "BACKGROUND_STEP": _step(background), "SPANS": spans}
        constants |= {"SMALL_HEIGHT": small[0], "SMALL_WIDTH": small[1]}
    tallest, widest = max(mask_height, small[0]) + 1, max(mask_width, small[1]) + 1
    if 4 * max(height * width, height * tallest, width * widest) >= 2**31 or (
        max(grid[1:]) > MOST_PROGRAMS
    ):
        raise NotImplementedError(
            f"implementation='triton' counts in 32 bits, too few for {count} frames of "
            f"{height}x{width} with a mask of {mask_height}x{mask_width}; "
            "use None for the best one here"
        )
    return kernel, grid, constants


def _count(*arrays: Any) -> int:
    return max(array.shape[0] for array in arrays if array is not None)


def _step(array: Any) -> int:
    """Elements from one of the batch to the next."""
    return math.prod(array.shape[1:]) if array.shape[0] > 1 else 0


def _spans(height: int, mask_height: int, small_height: int, rows: int) -> int:
    """How many intervals between rows of the small background a program's rows touch at most."""
    band, row = (reference.taps(height, source)[0] for source in (mask_height, small_height))
    first = np.searchsorted(band, band)
    first += (np.arange(height) - first) // rows * rows
    return int((row - row[first]).max()) + 1


def upsample_blend(
    frame: jax.Array,
    alpha: jax.Array,
    background: jax.Array | None = None,
    *,
    faint: float = 0.0,
    in_place: bool = False,
    config: KernelConfig | None = None,
) -> jax.Array:
    """See `api.upsample_blend`; every array has a leading axis of N, or of 1 for all.

    Raises:
      NotImplementedError: as `launch` says.
    """
    height, width = frame.shape[1:3]
    config = tuning.choose("upsample_blend", (height, width), config)
    if faint:
        alpha = reference.lowered(alpha, faint)
    kernel, grid, constants = launch(config, frame, alpha, background, lowered=faint > 0)
    arrays = (frame, alpha) if background is None else (frame, alpha, background)
    shape = (_count(*arrays), height, width, 4 if background is None else 3)
    return jax_triton.triton_call(
        *arrays,
        kernel=kernel,
        out_shape=jax.ShapeDtypeStruct(shape, frame.dtype),
        grid=grid,
        num_warps=config.warps,
        compute_capability=None if tuning.gpu_kind() else CAPABILITY_WITHOUT_GPU,
        # Each byte is read and written by one program, once, so it may be the same byte.
        input_output_aliases={0: 0} if in_place and shape == frame.shape else None,
        name="upsample_blend",
        **constants,
    )
