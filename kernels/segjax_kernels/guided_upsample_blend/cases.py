"""Inputs of `guided_upsample_blend` for the sizes of `upsample_blend`."""

from typing import Any

import numpy as np

from segjax_kernels.upsample_blend import cases
from segjax_kernels.upsample_blend.cases import AWKWARD, BACKGROUNDS, REAL, Case

__all__ = ["AWKWARD", "BACKGROUNDS", "REAL", "Case", "inputs"]

QUICK = tuple(case for case in AWKWARD if case.height < 40)
"""The flat ones: Triton's interpreter takes a quarter of a second for four rows."""

WIDE_AND_NARROW = ("rows of two blocks and a bit", "rows of no multiple of 16 bytes")
"""Two that take the two ways through the Triton kernel."""


def inputs(
    case: Case,
    background: str = "frame",
    *,
    room: bool = False,
    count: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """A noisy frame and lines whose alpha is 0 on the left, 1 on the right and anything between.

    Returns:
      The operation's arguments by name. The room has a third of the mask's rows and columns.
    """
    frame, alpha, back = cases.inputs(case, background, count=count, seed=seed)
    random = np.random.default_rng(seed + 1)
    third = case.mask_width // 3
    slope = random.normal(0, 1, alpha.shape).astype(np.float32)
    slope[..., :third] = slope[..., case.mask_width - third :] = 0
    offset = alpha - slope * np.float32(0.5)
    rooms = random.random(
        (*alpha.shape[:-2], -(-case.mask_height // 3), -(-case.mask_width // 3), 3), np.float32
    )
    found = {"frame": frame, "slope": slope, "offset": offset, "background": back}
    return found | ({"room": rooms} if room else {})


def broken() -> dict[str, Any]:
    """A frame of 200 and of 0 behind; alpha is 1 in the last pixel of six, where all is finite."""
    frame = np.full((1, 6, 3), 200, np.uint8)
    slope = np.array([[np.nan, 1, np.inf, 1, -np.inf, 0]], np.float32)
    offset = np.array([[1, np.nan, -np.inf, np.inf, 1, 1]], np.float32)
    return {"frame": frame, "slope": slope, "offset": offset, "background": np.zeros_like(frame)}


def oracle(
    frame: Any,
    slope: Any,
    offset: Any,
    background: Any,
    room: Any = None,
    *,
    faint: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """The exact result for one frame, not yet rounded, and the alpha of every pixel, in float64.

    That alpha goes on below 0 and above 1.
    """
    size = frame.shape[:2]

    def enlarge(picture: Any) -> np.ndarray:
        return 255 * np.stack([cases._upsample(x, size) for x in np.moveaxis(picture, -1, 0)], -1)

    luma = frame @ np.array([0.299, 0.587, 0.114]) / 255
    alpha = cases._upsample(slope, size) * luma + cases._upsample(offset, size)
    line = ((alpha - 0.25) / 0.5)[..., None]
    line = (line - faint) / (1 - faint)
    alpha = np.clip(line, 0, 1)
    seen = alpha * frame
    if room is not None:
        seen = np.clip(frame - (1 - alpha) * enlarge(room), 0, 255 * alpha)
    if background is None:
        opacity = 255 * alpha
        colours = seen / np.maximum(alpha, 1e-9)
        return np.concatenate([np.where(np.rint(opacity) > 0, colours, 0), opacity], -1), line
    if background.dtype == np.float32:
        background = np.rint(enlarge(background))
    return seen + (1 - alpha) * background, line
