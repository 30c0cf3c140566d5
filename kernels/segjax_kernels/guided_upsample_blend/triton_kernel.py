"""`guided_upsample_blend` as one Triton kernel for NVIDIA GPUs, called from JAX through jax-triton.

Where a row of the frame is a multiple of 16 bytes, a lane owns 16 bytes of it and every access to a
picture is 16 bytes wide. Its bytes are parts of 6 pixels, whose brightness needs up to two bytes of
either neighbour: those come from the cache, a word each, and the words are shifted until they begin
with a pixel. Lanes have one pixel each where rows are of another length, or the result is RGBA.

The lines from brightness to alpha vary slowly. Neither the pixels of a lane nor the rows of a
program span more than a few rows and columns of them, the *knots*, which are loaded once: a value
is the first knot and a clamped share of each step to the next one. So are small pictures.

Bytes become floats as in `upsample_blend`: 0x4B000000 + b is the float 2**23 + b.
"""

# What is compiled by Triton iterates and assigns by its own rules.
# pyright: reportGeneralTypeIssues=false, reportAssignmentType=false

import math
from typing import Any

import jax
import jax_triton
import triton
import triton.language as tl

from segjax_kernels import tuning
from segjax_kernels.guided_upsample_blend.coefficients import LUMA
from segjax_kernels.guided_upsample_blend.reference import ends
from segjax_kernels.tuning import KernelConfig
from segjax_kernels.upsample_blend.triton_kernel import (
    CAPABILITY_WITHOUT_GPU,
    MOST_PROGRAMS,
)

BIAS = tl.constexpr(8388608.0)

RED, GREEN, BLUE = (tl.constexpr(share / 255) for share in LUMA)
"""Brightness in 0..1."""


@triton.jit
def guided_upsample_blend_kernel(
    frame_ptr,
    slope_ptr,
    offset_ptr,
    background_ptr,
    room_ptr,
    out_ptr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    MASK_HEIGHT: tl.constexpr,
    MASK_WIDTH: tl.constexpr,
    SMALL_HEIGHT: tl.constexpr,
    SMALL_WIDTH: tl.constexpr,
    ROOM_HEIGHT: tl.constexpr,
    ROOM_WIDTH: tl.constexpr,
    FRAME_STEP: tl.constexpr,
    SLOPE_STEP: tl.constexpr,
    OFFSET_STEP: tl.constexpr,
    BACKGROUND_STEP: tl.constexpr,
    ROOM_STEP: tl.constexpr,
    LOW: tl.constexpr,
    SCALE: tl.constexpr,
    BACKGROUND: tl.constexpr,
    ROOM: tl.constexpr,
    IN_PLACE: tl.constexpr,
    WIDE: tl.constexpr,
    ROWS: tl.constexpr,
    PART: tl.constexpr,
    LANES: tl.constexpr,
):
    """The lanes of a block (axis 0) in ROWS rows (axis 1) of a frame (axis 2).

    BACKGROUND is "frame", "colour", "small" or "none"; ROOM is whether there is one. The STEPs lead
    to the next frame's inputs, and are 0 where all share them.
    """
    picture = tl.program_id(2).to(tl.int64)
    frame_ptr += picture * FRAME_STEP
    slope_ptr += picture * SLOPE_STEP
    offset_ptr += picture * OFFSET_STEP
    background_ptr += picture * BACKGROUND_STEP
    room_ptr += picture * ROOM_STEP
    out_ptr += picture * ((4 if BACKGROUND == "none" else 3) * HEIGHT * WIDTH)

    first = tl.program_id(1) * ROWS
    PIXELS: tl.constexpr = 6 if WIDE else 1
    if WIDE:
        # Of the lanes a multiple of three is in use, so that blocks begin and end with a pixel.
        start = tl.program_id(0) * (LANES // 3 * 3)
        stop = tl.minimum(start + LANES // 3 * 3, 3 * WIDTH // 16)
        lane = start + tl.arange(0, LANES)
        x = 16 * lane // 3
        bits = ((16 * lane - 3 * x) * 8).to(tl.uint32)
    else:
        start = tl.program_id(0) * LANES
        stop = tl.minimum(start + LANES, WIDTH)
        lane = start + tl.arange(0, LANES)
        x = lane
        bits = lane.to(tl.uint32)  # has no meaning

    slopes, offsets = _lines(
        slope_ptr,
        offset_ptr,
        x,
        first,
        HEIGHT,
        WIDTH,
        MASK_HEIGHT,
        MASK_WIDTH,
        LOW,
        SCALE,
        PIXELS,
        ROWS,
    )
    if ROOM:
        rooms = _colours(room_ptr, x, first, HEIGHT, WIDTH, ROOM_HEIGHT, ROOM_WIDTH, PIXELS, ROWS)
    if BACKGROUND == "small":
        smalls = _colours(
            background_ptr, x, first, HEIGHT, WIDTH, SMALL_HEIGHT, SMALL_WIDTH, PIXELS, ROWS
        )
    if BACKGROUND == "colour":
        colour = (
            tl.load(background_ptr).to(tl.float32) + BIAS,
            tl.load(background_ptr + 1).to(tl.float32) + BIAS,
            tl.load(background_ptr + 2).to(tl.float32) + BIAS,
        )

    # Of the rows two are in flight: more would take registers, fewer leave the memory idle.
    for pair in range(0, ROWS, PART):
        for part in tl.static_range(PART):
            y = first + pair + part
            end = tl.where(y < HEIGHT, stop, 0)
            front = _read(frame_ptr, y, lane, start, end, bits, WIDTH, WIDE, True)
            if IN_PLACE and WIDE:
                # No lane may write before its neighbours have read.
                tl.debug_barrier()
            if BACKGROUND == "frame":
                back = _read(background_ptr, y, lane, start, end, bits, WIDTH, WIDE, False)
            shares = _shares(y, first, ROWS, HEIGHT, MASK_HEIGHT)
            if ROOM:
                room_shares = _shares(y, first, ROWS, HEIGHT, ROOM_HEIGHT)
            if BACKGROUND == "small":
                small_shares = _shares(y, first, ROWS, HEIGHT, SMALL_HEIGHT)
            mixed = ()
            for i in tl.static_range(PIXELS):
                colours = (
                    _biased(front, 3 * i, WIDE),
                    _biased(front, 3 * i + 1, WIDE),
                    _biased(front, 3 * i + 2, WIDE),
                )
                luma = (RED * SCALE) * (colours[0] - BIAS)
                luma = tl.fma(colours[1] - BIAS, GREEN * SCALE, luma)
                luma = tl.fma(colours[2] - BIAS, BLUE * SCALE, luma)
                alpha = tl.fma(_down(slopes, i, shares), luma, _down(offsets, i, shares))
                # Of NaN and 0 the maximum is 0.
                alpha = tl.minimum(tl.maximum(alpha, 0.0), 1.0)
                if BACKGROUND == "none":
                    opacity = tl.fma(alpha, 255.0, BIAS)
                    per_alpha = 1 / tl.maximum(alpha, 1e-6)
                for c in tl.static_range(3):
                    if BACKGROUND == "frame":
                        behind = _biased(back, 3 * i + c, WIDE)
                    if BACKGROUND == "colour":
                        behind = colour[c]
                    if BACKGROUND == "small":
                        behind = _down(smalls[c], i, small_shares) + BIAS
                    if ROOM:
                        seen = (colours[c] - BIAS) - (1 - alpha) * _down(rooms[c], i, room_shares)
                        seen = tl.minimum(tl.maximum(seen, 0.0), 255 * alpha)
                    if BACKGROUND == "none":
                        shown = colours[c]
                        if ROOM:
                            shown = tl.fma(seen, per_alpha, BIAS)
                        mixed += (
                            tl.where(opacity > BIAS, shown, BIAS).to(tl.uint32, bitcast=True),
                        )
                    elif ROOM:
                        blend = tl.fma(1 - alpha, behind - BIAS, seen) + BIAS
                        mixed += (blend.to(tl.uint32, bitcast=True),)
                    else:
                        blend = tl.fma(alpha, colours[c] - behind, behind)
                        mixed += (blend.to(tl.uint32, bitcast=True),)
            live = (lane >= start) & (lane < end)
            if BACKGROUND == "none":
                mixed += (opacity.to(tl.uint32, bitcast=True),)
                word = _word(mixed[0], mixed[1], mixed[2], mixed[3])
                words_ptr = out_ptr.to(tl.pointer_type(tl.uint32))
                tl.store(words_ptr + y * WIDTH + lane, word, mask=live)
            elif WIDE:
                _write(out_ptr, y, lane, live, mixed, bits, WIDTH)
            else:
                for c in tl.static_range(3):
                    byte = y * (3 * WIDTH) + 3 * lane + c
                    tl.store(out_ptr + byte, mixed[c].to(tl.uint8), mask=live)


@triton.jit
def _knot(at, SIZE: tl.constexpr, SOURCE: tl.constexpr):
    """The row or column of the source, from -1 on, that lies at or before one of the frame."""
    # Exact: `at` lies at ((2 at + 1) SOURCE - SIZE) / (2 SIZE). One is added before the division,
    # since division truncates towards zero.
    return ((2 * at + 1) * SOURCE + SIZE) // (2 * SIZE) - 1


@triton.jit
def _share(at, knot, SIZE: tl.constexpr, SOURCE: tl.constexpr):
    """How much of the step from a knot to the next one is done at `at`, in 0..1."""
    part = (2 * at + 1) * SOURCE - SIZE - 2 * SIZE * knot
    return tl.minimum(tl.maximum(part.to(tl.float32) * (1.0 / (2 * SIZE)), 0.0), 1.0)


@triton.jit
def _shares(y, first, ROWS: tl.constexpr, HEIGHT: tl.constexpr, SOURCE: tl.constexpr):
    """The shares of row y in the steps between the knots of a program's rows."""
    shares = ()
    for step in tl.static_range(_knots(ROWS, HEIGHT, SOURCE) - 1):
        shares += (_share(y, _knot(first, HEIGHT, SOURCE) + step, HEIGHT, SOURCE),)
    return shares


@triton.constexpr_function
def _knots(count, size, source):
    """How many knots so many rows or columns of the frame lie between at most."""
    return ((count - 1) * source + size - 1) // size + 2


@triton.jit
def _columns(x, WIDTH: tl.constexpr, SOURCE: tl.constexpr, PIXELS: tl.constexpr):
    """The columns of a lane's knots, and the shares of its pixels in the steps between them."""
    before = _knot(x, WIDTH, SOURCE)
    columns = ()
    for k in tl.static_range(_knots(PIXELS, WIDTH, SOURCE)):
        columns += (tl.minimum(tl.maximum(before + k, 0), SOURCE - 1),)
    pixels = ()
    for i in tl.static_range(PIXELS):
        shares = ()
        for step in tl.static_range(len(columns) - 1):
            shares += (_share(x + i, before + step, WIDTH, SOURCE),)
        pixels += (shares,)
    return columns, pixels


@triton.jit
def _across(knots, shares, PIXELS: tl.constexpr):
    """A row's values at a lane's pixels, from its knots."""
    pixels = ()
    for i in tl.static_range(PIXELS):
        value = knots[0]
        for step in tl.static_range(len(knots) - 1):
            value = tl.fma(shares[i][step], knots[step + 1] - knots[step], value)
        pixels += (value,)
    return pixels


@triton.jit
def _steps(rows, PIXELS: tl.constexpr):
    """The first row of values, and the steps from each row to the next one."""
    surface = (rows[0],)
    for step in tl.static_range(len(rows) - 1):
        pixels = ()
        for i in tl.static_range(PIXELS):
            pixels += (rows[step + 1][i] - rows[step][i],)
        surface += (pixels,)
    return surface


@triton.jit
def _down(surface, PIXEL: tl.constexpr, shares):
    """The value of a pixel in the row of these shares."""
    value = surface[0][PIXEL]
    for step in tl.static_range(len(shares)):
        value = tl.fma(surface[step + 1][PIXEL], shares[step], value)
    return value


@triton.jit
def _lines(
    slope_ptr,
    offset_ptr,
    x,
    y,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    MASK_HEIGHT: tl.constexpr,
    MASK_WIDTH: tl.constexpr,
    LOW: tl.constexpr,
    SCALE: tl.constexpr,
    PIXELS: tl.constexpr,
    ROWS: tl.constexpr,
):
    """The surfaces of slopes and offsets, folded as in `reference.fold`."""
    columns, shares = _columns(x, WIDTH, MASK_WIDTH, PIXELS)
    slopes = ()
    offsets = ()
    for j in tl.static_range(_knots(ROWS, HEIGHT, MASK_HEIGHT)):
        row = tl.minimum(tl.maximum(_knot(y, HEIGHT, MASK_HEIGHT) + j, 0), MASK_HEIGHT - 1)
        row_slopes = ()
        row_offsets = ()
        for k in tl.static_range(len(columns)):
            slope = tl.load(slope_ptr + row * MASK_WIDTH + columns[k])
            offset = tl.load(offset_ptr + row * MASK_WIDTH + columns[k])
            finite = tl.abs(slope) + tl.abs(offset) < float("inf")
            row_slopes += (tl.where(finite, slope, 0.0),)
            row_offsets += (tl.where(finite, offset - LOW, -LOW) * SCALE,)
        slopes += (_across(row_slopes, shares, PIXELS),)
        offsets += (_across(row_offsets, shares, PIXELS),)
    return _steps(slopes, PIXELS), _steps(offsets, PIXELS)


@triton.jit
def _colours(
    picture_ptr,
    x,
    y,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    SMALL_HEIGHT: tl.constexpr,
    SMALL_WIDTH: tl.constexpr,
    PIXELS: tl.constexpr,
    ROWS: tl.constexpr,
):
    """The surfaces of a small picture's three colours, in 0..255."""
    columns, shares = _columns(x, WIDTH, SMALL_WIDTH, PIXELS)
    colours = ()
    for c in tl.static_range(3):
        rows = ()
        for j in tl.static_range(_knots(ROWS, HEIGHT, SMALL_HEIGHT)):
            row = tl.minimum(tl.maximum(_knot(y, HEIGHT, SMALL_HEIGHT) + j, 0), SMALL_HEIGHT - 1)
            knots = ()
            for k in tl.static_range(len(columns)):
                value = tl.load(picture_ptr + 3 * (row * SMALL_WIDTH + columns[k]) + c)
                knots += (255 * tl.minimum(tl.maximum(value, 0.0), 1.0),)
            rows += (_across(knots, shares, PIXELS),)
        colours += (_steps(rows, PIXELS),)
    return colours


@triton.jit
def _read(
    picture_ptr,
    y,
    lane,
    start,
    end,
    bits,
    WIDTH: tl.constexpr,
    WIDE: tl.constexpr,
    WHOLE: tl.constexpr,
):
    """A lane's pixels in row y: 5 words that begin with a pixel, or the 3 bytes of one.

    Bytes that belong to a neighbour are read only where WHOLE, and else have no meaning.
    """
    live = lane < end
    if WIDE:
        words_ptr = picture_ptr.to(tl.pointer_type(tl.uint32)) + y * (3 * WIDTH // 4)
        at = 4 * lane[:, None] + tl.arange(0, 4)[None, :]
        four = tl.load(words_ptr + at, mask=live[:, None], other=0)
        even, odd = tl.split(tl.reshape(four, [four.shape[0], 2, 2]))
        first, third = tl.split(even)
        second, fourth = tl.split(odd)
        before = tl.zeros_like(first)
        after = before
        if WHOLE:
            before = tl.load(words_ptr + 4 * lane - 1, mask=live & (lane > start), other=0)
            after = tl.load(words_ptr + 4 * lane + 4, mask=lane + 1 < end, other=0)
        words = (
            _later(before, first, bits),
            _later(first, second, bits),
            _later(second, third, bits),
            _later(third, fourth, bits),
            _later(fourth, after, bits),
        )
    else:
        byte_ptr = picture_ptr + y * (3 * WIDTH) + 3 * lane
        words = (
            tl.load(byte_ptr, mask=live, other=0).to(tl.uint32),
            tl.load(byte_ptr + 1, mask=live, other=0).to(tl.uint32),
            tl.load(byte_ptr + 2, mask=live, other=0).to(tl.uint32),
        )
    return words


@triton.jit
def _write(out_ptr, y, lane, live, mixed, bits, WIDTH: tl.constexpr):
    """Stores those 16 of the 18 bytes of 6 pixels that the lane owns."""
    words = (
        _word(mixed[0], mixed[1], mixed[2], mixed[3]),
        _word(mixed[4], mixed[5], mixed[6], mixed[7]),
        _word(mixed[8], mixed[9], mixed[10], mixed[11]),
        _word(mixed[12], mixed[13], mixed[14], mixed[15]),
        _word(mixed[16], mixed[17], mixed[17], mixed[17]),
    )
    first = _earlier(words[0], words[1], bits)
    second = _earlier(words[1], words[2], bits)
    third = _earlier(words[2], words[3], bits)
    fourth = _earlier(words[3], words[4], bits)
    four = tl.join(tl.join(first, third), tl.join(second, fourth))
    words_ptr = out_ptr.to(tl.pointer_type(tl.uint32)) + y * (3 * WIDTH // 4)
    at = 4 * lane[:, None] + tl.arange(0, 4)[None, :]
    tl.store(words_ptr + at, tl.reshape(four, [lane.shape[0], 4]), mask=live[:, None])


@triton.jit
def _later(low, high, bits):
    """The upper word of two that were moved up by some bits."""
    return ((((high.to(tl.uint64) << 32) | low) << bits) >> 32).to(tl.uint32)


@triton.jit
def _earlier(low, high, bits):
    """The lower word of two that were moved down by some bits."""
    return (((high.to(tl.uint64) << 32) | low) >> bits).to(tl.uint32)


@triton.jit
def _biased(words, AT: tl.constexpr, WIDE: tl.constexpr):
    """2**23 + byte AT."""
    byte = words[AT // 4 if WIDE else AT]
    if WIDE:
        byte = (byte >> (8 * (AT % 4))) & 255
    return (byte | 0x4B000000).to(tl.float32, bitcast=True)


@triton.jit
def _word(first, second, third, fourth):
    """Four bytes as one word, each given as the bits of 2**23 + byte."""
    # What overflows is the 0x4B of all but the first.
    return (((fourth << 8) + third) << 16) + ((second << 8) + first) - 0x4B000000


def launch(
    config: KernelConfig,
    frame: Any,
    slope: Any,
    offset: Any,
    *pictures: Any,
    transparent: bool,
    faint: float = 0.0,
    in_place: bool = False,
) -> tuple[tuple[int, int, int], dict[str, Any], tuple[Any, Any]]:
    """The kernel's grid, its compile-time arguments, and what to give as background and room.

    All arrays have a leading axis of N or 1; `pictures` as in `reference.guided_upsample_blend`.

    Raises:
      NotImplementedError: positions in a frame need more than 32 bits, or the grid is too large.
    """
    (height, width), mask = frame.shape[1:3], slope.shape[1:]
    rooms = pictures if transparent else pictures[1:]
    # What is not there is never read.
    back, room = slope if transparent else pictures[0], rooms[0] if rooms else slope
    kind, small = "frame", (1, 1)
    if transparent:
        kind = "none"
    elif back.ndim == 2:
        kind = "colour"
    elif back.dtype == "float32":
        kind, small = "small", back.shape[1:3]
    room_size = room.shape[1:3] if rooms else (1, 1)
    lowest, scale = ends(faint)

    wide = not transparent and 3 * width % 16 == 0
    lanes = config.block // 16
    blocks = math.ceil(3 * width / 16 / (lanes // 3 * 3)) if wide else math.ceil(width / lanes)
    rows = min(config.rows, height)
    count = max(array.shape[0] for array in (frame, slope, offset, *pictures))
    grid = (blocks, math.ceil(height / rows), count)
    tallest, widest = (max(sizes) + 1 for sizes in zip(mask, small, room_size, strict=True))
    if 4 * max(
        height * width, (height + rows) * tallest, (width + 16 * lanes) * widest
    ) >= 2**31 or (max(grid[1:]) > MOST_PROGRAMS):
        raise NotImplementedError(
            f"implementation='triton' counts in 32 bits, too few for {count} frames of "
            f"{height}x{width} with a mask of {mask[0]}x{mask[1]}; use None for the best one here"
        )

    def step(array: Any) -> int:
        return math.prod(array.shape[1:]) if array.shape[0] > 1 else 0

    return (
        grid,
        {
            "HEIGHT": height,
            "WIDTH": width,
            "MASK_HEIGHT": mask[0],
            "MASK_WIDTH": mask[1],
            "SMALL_HEIGHT": small[0],
            "SMALL_WIDTH": small[1],
            "ROOM_HEIGHT": room_size[0],
            "ROOM_WIDTH": room_size[1],
            "FRAME_STEP": step(frame),
            "SLOPE_STEP": step(slope),
            "OFFSET_STEP": step(offset),
            "BACKGROUND_STEP": step(back),
            "ROOM_STEP": step(room),
            "LOW": lowest,
            "SCALE": scale,
            "BACKGROUND": kind,
            "ROOM": bool(rooms),
            "IN_PLACE": in_place,
            "WIDE": wide,
            "ROWS": rows,
            "PART": 2 - rows % 2,
            "LANES": lanes,
        },
        (back, room),
    )


def guided_upsample_blend(
    frame: jax.Array,
    slope: jax.Array,
    offset: jax.Array,
    *pictures: jax.Array,
    transparent: bool,
    faint: float = 0.0,
    in_place: bool = False,
    config: KernelConfig | None = None,
) -> jax.Array:
    """See `reference.guided_upsample_blend`.

    Raises:
      NotImplementedError: as `launch` says.
    """
    height, width = frame.shape[1:3]
    config = tuning.choose("guided_upsample_blend", (height, width), config)
    options = {"transparent": transparent, "faint": faint, "in_place": in_place}
    grid, constants, others = launch(config, frame, slope, offset, *pictures, **options)
    shape = (grid[2], height, width, 4 if transparent else 3)
    return jax_triton.triton_call(
        frame,
        slope,
        offset,
        *others,
        kernel=guided_upsample_blend_kernel,
        out_shape=jax.ShapeDtypeStruct(shape, frame.dtype),
        grid=grid,
        num_warps=config.warps,
        compute_capability=None if tuning.gpu_kind() else CAPABILITY_WITHOUT_GPU,
        input_output_aliases={0: 0} if in_place and shape == frame.shape else None,
        name="guided_upsample_blend",
        **constants,
    )
