"""Sizes of `upsample_blend`, each with a name: the awkward ones, and those of real use."""

from typing import Any, NamedTuple

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
    Case("768p", 768, 1366, 144, 256),
    Case("1080p", 1080, 1920, 144, 256),
    Case("4K", 2160, 3840, 144, 256),
)


BACKGROUNDS = ("frame", "colour", "small", "none")
"""The kinds that `inputs` makes."""


def inputs(
    case: Case, background: str = "frame", *, count: int | None = None, seed: int = 0
) -> tuple[Any, Any, Any]:
    """A noisy frame, a mask and a background for a case.

    The mask is 0 in its left third, 1 in its right third and anything in between, so that the
    exact values and the rounded ones are both met wherever there is room. A small background has
    half of the mask's rows and columns, at least one.

    Returns:
      frame uint8 [H, W, 3], alpha float32 [h, w], and by the kind of background uint8 [H, W, 3],
      uint8 [3], float32 [b, c, 3] in [0, 1] or None; each with a leading axis of `count` if given.
    """
    random = np.random.default_rng(seed)
    batch = () if count is None else (count,)
    size = (case.height, case.width)
    frame = random.integers(0, 256, (*batch, *size, 3), np.uint8)
    alpha = random.random((*batch, case.mask_height, case.mask_width), np.float32)
    third = case.mask_width // 3
    alpha[..., :third] = 0
    alpha[..., case.mask_width - third :] = 1
    small = ((case.mask_height + 1) // 2, (case.mask_width + 1) // 2)
    back = {
        "frame": lambda: random.integers(0, 256, (*batch, *size, 3), np.uint8),
        "colour": lambda: random.integers(0, 256, (*batch, 3), np.uint8),
        "small": lambda: random.random((*batch, *small, 3), np.float32),
        "none": lambda: None,
    }[background]()
    return frame, alpha, back


def oracle(
    frame: Any, alpha: Any, background: Any, *, faint: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """The exact result for one frame, not yet rounded, and the alpha of every pixel, in float64.

    A small background is rounded to bytes, as the operation says; without one, the result is the
    frame's colours, 0 where the opacity is, and 255 * alpha.
    """
    shape = frame.shape[:2]
    alpha = np.maximum(_upsample(alpha, shape)[..., None] - faint, 0) / (1 - faint)
    if background is None:
        opacity = 255 * alpha
        return np.concatenate([np.where(np.rint(opacity) > 0, frame, 0), opacity], -1), alpha
    if background.dtype == np.float32:
        background = np.moveaxis(background, -1, 0)
        background = np.rint(255 * np.stack([_upsample(plane, shape) for plane in background], -1))
    return alpha * frame + (1 - alpha) * background, alpha


def _upsample(plane: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    def along(rows: np.ndarray, size: int) -> np.ndarray:
        source = rows.shape[-1]
        position = (np.arange(size) + 0.5) * source / size - 0.5
        return np.stack([np.interp(position, np.arange(source), row) for row in rows])

    return along(along(np.asarray(plane, np.float64), shape[1]).T, shape[0]).T


def out_of_range() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A frame of 200, a background of 0 and a mask of its size: NaN, inf, -inf, 2, -1."""
    frame = np.full((1, 5, 3), 200, np.uint8)
    alpha = np.array([[np.nan, np.inf, -np.inf, 2, -1]], np.float32)
    return frame, alpha, np.zeros_like(frame)
