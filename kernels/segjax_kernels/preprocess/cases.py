"""Sizes of `preprocess`, each with a name: the awkward ones, and those of real use."""

from typing import NamedTuple

import numpy as np


class Case(NamedTuple):
    """A frame of [height, width] pixels and a picture of [small_height, small_width]."""

    name: str
    height: int
    width: int
    small_height: int
    small_width: int


AWKWARD = (
    Case("whole factors", 60, 80, 20, 16),
    Case("one whole factor", 60, 81, 20, 16),
    Case("small factors", 48, 64, 16, 22),
    Case("half factors", 45, 80, 6, 10),
    Case("barely smaller", 33, 34, 32, 32),
    Case("the same", 16, 32, 16, 32),
    Case("primes", 131, 197, 13, 29),
    Case("one pixel", 1, 1, 1, 1),
    Case("one pixel left", 37, 41, 1, 1),
    Case("very large factors", 700, 16, 2, 16),
    Case("very wide cells", 3, 1500, 2, 2),
    Case("odd", 107, 191, 18, 32),
    Case("several blocks in a row", 9, 1000, 2, 130),
)

GROWING = (
    Case("both sides grow", 16, 17, 40, 48),
    Case("one side grows", 16, 17, 16, 48),
    Case("one side grows, one shrinks", 16, 48, 32, 20),
    Case("barely larger", 16, 17, 31, 18),
)
"""A tiny frame is interpolated."""

REAL = (
    Case("480p", 480, 640, 160, 208),
    Case("720p", 720, 1280, 144, 256),
    Case("720p upright", 1280, 720, 256, 144),
    Case("1080p", 1080, 1920, 144, 256),
    Case("4K", 2160, 3840, 144, 256),
)


def inputs(case: Case, *, seed: int = 0) -> np.ndarray:
    """A noisy frame, uint8 [H, W, 3], with a white right half."""
    random = np.random.default_rng(seed)
    frame = random.integers(0, 256, (case.height, case.width, 3), np.uint8)
    frame[:, case.width // 2 :] |= 128
    return frame
