"""What a live picture is told by, cheaply: black, frozen, or hardly different from the last."""

import cv2
import numpy as np

BLACK_BELOW = 16
"""A picture whose pixels all lie below this is black: no room is that dark everywhere."""

FROZEN_AFTER_S = 1.0
"""A camera's noise changes some byte from frame to frame; one that repeats itself to the byte for
so long has stopped."""

THUMB = (45, 80)
"""(height, width) of the copy that pictures are compared by. Each of its pixels is the mean of 256
of a 720p frame's, which leaves little of the noise, and all of a moving mouth."""

SAME_WITHIN = 2
"""Levels that no pixel of that copy differs by, where a picture hardly differs."""


def is_picture(pixels: np.ndarray) -> bool:
    """Whether these are uint8 [H, W, 3]."""
    return (
        pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size > 0
    )


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """uint8 [h, w, 3] of [H, W, 3]: small means."""
    height, width = (min(side, most) for side, most in zip(pixels.shape, THUMB, strict=False))
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def hardly_differs(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two thumbnails are of much the same picture."""
    return one.shape == other.shape and int(cv2.absdiff(one, other).max()) <= SAME_WITHIN


class Watch:
    """Tells pictures that a working camera does not give, in the order in which they come.

    unusable: whether the last one was one.
    """

    def __init__(self) -> None:
        self.unusable = False
        self._last: np.ndarray | None = None
        self._changed_s = 0.0

    def __call__(self, pixels: np.ndarray, now: float) -> tuple[str, np.ndarray | None]:
        """ "black", "frozen" or "" for a picture that came `now`, and its thumbnail.

        `pixels` is kept, and is not to be written to. What is no picture has no thumbnail, and is
        not judged.
        """
        if not is_picture(pixels):
            return "", None
        last, self._last = self._last, pixels
        # The first comparison is enough for most.
        if (
            last is None
            or last.shape != pixels.shape
            or not np.array_equal(last[::8, ::8], pixels[::8, ::8])
            or not np.array_equal(last, pixels)
        ):
            self._changed_s = now
        thumb = thumbnail(pixels)
        problem = ""
        if thumb.max() < BLACK_BELOW:
            problem = "black"
        elif now - self._changed_s >= FROZEN_AFTER_S:
            problem = "frozen"
        self.unusable = bool(problem)
        return problem, thumb
