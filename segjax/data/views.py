"""Windows of pictures: which part is seen, and at what size. Positions are in pixels, (x, y)."""

import math
from typing import NamedTuple

import cv2
import numpy as np

from segjax.data.camera import Pair
from segjax.images import resize


class View(NamedTuple):
    """A window of a picture, in its pixels."""

    x: float
    """The centre."""
    y: float
    width: float
    height: float


def largest_view(shape: tuple[int, ...], aspect: float) -> View:
    """The largest centred window of width/height = `aspect` within a picture of `shape`."""
    height, width = shape[:2]
    fitted = min(height, width / aspect)
    return View(width / 2, height / 2, fitted * aspect, fitted)


def view_inside(
    shape: tuple[int, ...], right: float, down: float, aspect: float, height: float
) -> View:
    """A window inside the picture; `right` and `down` in [0, 1] say where it lies in its play.

    A side larger than the picture's shows the whole of it, and what is beyond.
    """
    width = height * aspect
    x = width / 2 + right * (shape[1] - width)
    y = height / 2 + down * (shape[0] - height)
    return View(x, y, width, height)


def view_matrix(
    view: View, size: tuple[int, int], angle: float, mirror: tuple[int, int]
) -> np.ndarray:
    """float64 [2, 3]: from a pixel (x, y) of the result of `size` to its place in the picture.

    The view is turned by `angle` (radians) about its centre; `mirror` is 1 or -1 for x and y.
    """
    height, width = size
    # Measured between pixel corners.
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = turn @ np.diag([mirror[0] * view.width / width, mirror[1] * view.height / height])
    offset = np.array([view.x, view.y]) - matrix @ np.array([width / 2, height / 2])
    # Half a pixel each way, since OpenCV measures between pixel centres.
    offset += matrix @ np.array([0.5, 0.5]) - 0.5
    return np.column_stack([matrix, offset])


def resize_to(
    image: np.ndarray, mask: np.ndarray, size: tuple[int, int], *, labels: bool = False
) -> Pair:
    """The whole picture at `size` (height, width), by area when it shrinks: how models are used.

    So is a soft mask; a map of `labels` takes the nearest.
    """
    if not labels:
        return resize(image, size), resize(mask, size)
    return resize(image, size), cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
