"""Sizes of `upsample_blend`, each with a name: the awkward ones, and those of real use."""

from typing import NamedTuple

import numpy as np


class Case(NamedTuple):
    """A frame of [height, width] pixels and a mask of [mask_height, mask_width]."""

    name: str
    height: int
    width: int
    mask_height: int
    mask_width: int


AWKWARD = (
    Case("one pixel", 1, 1, 1, 1),
    Case("one pixel wide", 37, 1, 5, 1),
    Case("one pixel high", 1, 53, 1, 7),
    Case("odd", 45, 75, 9, 15),
    Case("prime", 53, 97, 7, 13),
    Case("mask of one pixel", 40, 64, 1, 1),
    Case("mask as large as the frame", 10, 48, 10, 48),
    Case("mask nearly as large", 13, 48, 12, 47),
    Case("rows of no multiple of 16 bytes", 21, 70, 5, 10),
    Case("rows of two blocks and a bit", 6, 704, 2, 44),
    Case("upright", 64, 32, 12, 6),
)

REAL = (
    Case("480p", 480, 640, 160, 208),
    Case("720p", 720, 1280, 144, 256),
    Case("720p upright", 1280, 720, 256, 144),
    Case("1080p", 1080, 1920, 144, 256),
    Case("4K", 2160, 3840, 144, 256),
)


def inputs(
    case: Case, *, colour: bool = False, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A noisy frame, a mask and a background for a case.

    The mask is 0 in its left third, 1 in its right third and anything in between, so that the
    exact values and the rounded ones are both met wherever there is room.

    Returns:
      frame uint8 [H, W, 3], alpha float32 [h, w], background uint8 [H, W, 3], or [3] if `colour`.
    """
    random = np.random.default_rng(seed)
    shape = (case.height, case.width, 3)
    frame = random.integers(0, 256, shape, np.uint8)
    background = random.integers(0, 256, 3 if colour else shape, np.uint8)
    alpha = random.random((case.mask_height, case.mask_width), np.float32)
    third = case.mask_width // 3
    alpha[:, :third] = 0
    alpha[:, case.mask_width - third :] = 1
    return frame, alpha, background


def out_of_range() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A frame of 200, a background of 0 and a mask of its size: NaN, inf, -inf, 2, -1."""
    frame = np.full((1, 5, 3), 200, np.uint8)
    alpha = np.array([[np.nan, np.inf, -np.inf, 2, -1]], np.float32)
    return frame, alpha, np.zeros_like(frame)
