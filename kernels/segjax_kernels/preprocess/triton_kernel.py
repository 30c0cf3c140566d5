"""`preprocess` as one Triton kernel for NVIDIA GPUs, called from JAX through jax-triton.

A program makes some numbers of one row of the small picture. It adds up the rows of the frame above
each other, as flat bytes, where every access is 16 bytes wide if a row is a multiple of 16 bytes;
then, once, the bytes of a colour beside each other. A row that lies on the border of two rows of
the small picture is read by both; the second finds it in the cache.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import jax_triton
import triton
import triton.language as tl

from segjax_kernels.tuning import KernelConfig, choose, gpu_kind

CAPABILITY_WITHOUT_GPU = 90
"""What is compiled for where this machine has no GPU and lowers for another one."""


@triton.jit
def preprocess_kernel(
    frames_ptr,
    out_ptr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    SMALL_HEIGHT: tl.constexpr,
    SMALL_WIDTH: tl.constexpr,
    NUMBERS: tl.constexpr,
    LANES: tl.constexpr,
    DOWN: tl.constexpr,
    ACROSS: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """NUMBERS numbers (axis 0) of one row (axis 1) of one picture (axis 2).

    DOWN and ACROSS are the most rows and pixels that one of them is the mean of.
    """
    picture = tl.program_id(2).to(tl.int64)
    frames_ptr += picture * (3 * HEIGHT * WIDTH)
    out_ptr += picture * (3 * SMALL_HEIGHT * SMALL_WIDTH)

    # Number e of a row is colour e % 3 of pixel e // 3. Pixel p is the mean of an interval from
    # p WIDTH to (p + 1) WIDTH, where pixel x of the frame lies from x SMALL_WIDTH to
    # (x + 1) SMALL_WIDTH: all shares are integers. Likewise for rows.
    number = tl.program_id(0) * NUMBERS + tl.arange(0, LANES)
    begin = tl.program_id(0) * NUMBERS // 3 * WIDTH // SMALL_WIDTH * 3 // 16 * 16
    at = begin + tl.arange(0, BLOCK)
    last = (tl.program_id(0) * NUMBERS + NUMBERS - 1) // 3
    end = ((last + 1) * WIDTH + SMALL_WIDTH - 1) // SMALL_WIDTH * 3
    end = tl.minimum((end + 15) // 16 * 16, 3 * WIDTH)

    row = tl.program_id(1)
    top = row * HEIGHT // SMALL_HEIGHT
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, DOWN, ROWS):
        for step in tl.static_range(ROWS):  # pyright: ignore[reportGeneralTypeIssues]
            y = top + start + step
            upper = tl.maximum(y * SMALL_HEIGHT, row * HEIGHT)
            share = tl.minimum((y + 1) * SMALL_HEIGHT, (row + 1) * HEIGHT) - upper
            live = at < tl.where(share > 0, end, 0)
            pixels = tl.load(frames_ptr + y * (3 * WIDTH) + at, mask=live, other=0)
            total += share.to(tl.float32) * pixels.to(tl.float32)

    pixel = (number // 3)[:, None]
    x = pixel * WIDTH // SMALL_WIDTH + tl.arange(0, ACROSS)[None, :]
    left = tl.maximum(x * SMALL_WIDTH, pixel * WIDTH)
    share = tl.minimum((x + 1) * SMALL_WIDTH, (pixel + 1) * WIDTH) - left
    # What has no share may lie outside of the block.
    index = tl.minimum(3 * x + (number % 3)[:, None] - begin, BLOCK - 1)
    sums = tl.gather(total, tl.reshape(index, [LANES * ACROSS]), 0)
    sums = tl.reshape(sums, [LANES, ACROSS]) * tl.maximum(share, 0).to(tl.float32)
    mean = tl.sum(sums, axis=1) * (1.0 / (255.0 * HEIGHT * WIDTH))
    live = (tl.arange(0, LANES) < NUMBERS) & (number < 3 * SMALL_WIDTH)
    tl.store(out_ptr + row * (3 * SMALL_WIDTH) + number, mean, mask=live)


def launch(
    height: int,
    width: int,
    small_height: int,
    small_width: int,
    pictures: int = 1,
    config: KernelConfig | None = None,
) -> tuple[tuple[int, int, int], dict[str, Any], KernelConfig]:
    """The kernel's grid, its compile-time arguments, and the config that they were made by."""
    config = choose("preprocess", (height, width), config)
    # A block holds the bytes of at least one number, however large the frame is.
    block = max(config.block, _power_of_two(_reach(1, width, small_width)))
    numbers = 1
    while numbers < 3 * small_width and _reach(numbers + 1, width, small_width) <= block:
        numbers += 1
    blocks = math.ceil(3 * small_width / numbers)
    numbers = math.ceil(3 * small_width / blocks)
    return (
        (blocks, small_height, pictures),
        {
            "HEIGHT": height,
            "WIDTH": width,
            "SMALL_HEIGHT": small_height,
            "SMALL_WIDTH": small_width,
            "NUMBERS": numbers,
            "LANES": _power_of_two(numbers),
            "DOWN": _most(height, small_height),
            "ACROSS": _power_of_two(_most(width, small_width)),
            "ROWS": min(config.rows, _most(height, small_height)),
            "BLOCK": block,
        },
        config,
    )


def _most(size: int, shrunk: int) -> int:
    """Of how many pixels a mean of size / shrunk pixels has a share at most."""
    return max(-(-(at + 1) * size // shrunk) - at * size // shrunk for at in range(shrunk))


def _reach(numbers: int, width: int, small_width: int) -> int:
    """How many bytes of a row so many numbers need at most, from a multiple of 16 on."""
    pixels = (numbers + 1) // 3 + 1
    return 3 * (math.ceil(pixels * width / small_width) + 1) + 15


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()


def preprocess(
    frames: jax.Array,
    *,
    size: tuple[int, int],
    dtype: jax.typing.DTypeLike,
    config: KernelConfig | None,
) -> jax.Array:
    """See `api.preprocess`; uint8 [N, H, W, 3] → [N, h, w, 3].

    Raises:
      NotImplementedError: a side grows, or the positions need more than 32 bits.
    """
    pictures, height, width, _ = frames.shape
    if size[0] > height or size[1] > width:
        raise NotImplementedError(
            f"implementation='triton' averages, and a frame of {height}x{width} would grow to "
            f"{size[0]}x{size[1]}; use None for the best one here"
        )
    largest = max(3 * height * width, (height + 1) * size[0], (width + 1) * size[1])
    if largest >= 2**31 or max(pictures, size[0]) >= 2**16:
        raise NotImplementedError(
            f"implementation='triton' counts in 32 bits, too few for {pictures} frames of "
            f"{height}x{width}; use None for the best one here"
        )
    grid, constants, config = launch(height, width, *size, pictures, config)
    return jax_triton.triton_call(
        frames,
        kernel=preprocess_kernel,
        out_shape=jax.ShapeDtypeStruct((pictures, *size, 3), jnp.dtype(dtype)),
        grid=grid,
        num_warps=config.warps,
        compute_capability=None if gpu_kind() else CAPABILITY_WITHOUT_GPU,
        name="preprocess",
        **constants,
    )
