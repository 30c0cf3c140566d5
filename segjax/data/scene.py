"""Augmentation for scenes of any kind: pictures with labels, or with the mask of one class."""

import dataclasses
import math

import cv2
import numpy as np

from segjax.data import IGNORE
from segjax.data.camera import CameraChanges, Pair, change_camera
from segjax.data.views import View, largest_view, view_inside, view_matrix

OUTSIDE = (124, 116, 104)
"""The colour beyond a picture's edge: the mean of photographs, about 0 once normalised."""

GRID = 4
"""Points a side that an elastic deformation moves; in between it is cubic."""


@dataclasses.dataclass(frozen=True)
class SceneAugmentation(CameraChanges):
    """How strongly pictures of scenes are changed. 0 switches a change off, but for the scales."""

    smallest: float = 0.5
    """Smallest scale of a picture. At 1 it fills the batch's size, cropped to its shape; below,
    there is nothing around it, which is ignored; above, a part of it is seen."""
    largest: float = 2.0
    """Largest scale; small and large ones are equally frequent."""
    aspect: float = 0.1
    """Largest stretch of a side, natural logarithm."""
    flip: float = 0.5
    """Probability of a mirrored picture."""
    upside_down: float = 0.0
    """Probability of a picture mirrored top to bottom."""
    rotation: float = 0.0
    """Largest rotation, degrees."""
    elastic: float = 0.0
    """How far the points of a 4x4 grid are moved, standard deviation as a share of the shorter
    side (Ronneberger et al., 2015: about 0.02)."""
    blur: float = 0.15
    """Probability of a picture out of focus, shaken or enlarged by the camera."""
    noise: float = 0.15
    """Probability of sensor noise."""
    jpeg: float = 0.1
    """Probability of JPEG artefacts."""


def augment_scene(
    rng: np.random.Generator,
    image: np.ndarray,
    mask: np.ndarray,
    size: tuple[int, int],
    strengths: SceneAugmentation,
    *,
    labels: bool,
) -> Pair:
    """A new picture of `size` (height, width) and its mask, changed in all ways at random.

    Args:
      rng: where all chance comes from.
      image: uint8 [H, W, 3].
      mask: uint8 [H, W].
      size: of the result.
      strengths: of the changes.
      labels: whether the mask holds labels, which are sampled by nearest and are `IGNORE` beyond
        the picture. If not, it is soft, and beyond the picture both are mirrored.
    """
    view = choose_view(rng, image.shape, size, strengths)
    image, mask = sample(rng, image, mask, view, size, strengths, labels=labels)
    return change_camera(rng, image, mask, strengths)


def choose_view(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    size: tuple[int, int],
    strengths: SceneAugmentation,
) -> View:
    """A window of a random scale and place, of the aspect ratio of `size` but for a stretch."""
    aspect = size[1] / size[0] * math.exp(rng.uniform(-1, 1) * strengths.aspect)
    scale = math.exp(rng.uniform(math.log(strengths.smallest), math.log(strengths.largest)))
    height = largest_view(shape, aspect).height / scale
    return view_inside(shape, rng.random(), rng.random(), aspect, height)


def sample(
    rng: np.random.Generator,
    image: np.ndarray,
    mask: np.ndarray,
    view: View,
    size: tuple[int, int],
    strengths: SceneAugmentation,
    *,
    labels: bool,
) -> Pair:
    """The window of picture and mask at `size`, turned, mirrored and bent, each sampled once."""
    angle = math.radians(rng.uniform(-1, 1) * strengths.rotation)
    mirror = (
        -1 if rng.random() < strengths.flip else 1,
        -1 if rng.random() < strengths.upside_down else 1,
    )
    bend = draw_bend(rng, size, strengths.elastic) if strengths.elastic > 0 else None
    soft = image, view
    shrink = max(view.height / size[0], view.width / size[1])
    if shrink > 1.5:
        # A linear sample of a much larger picture skips pixels: average them first.
        height, width = image.shape[:2]
        small = max(1, round(height / shrink)), max(1, round(width / shrink))
        down, right = small[0] / height, small[1] / width
        averaged = cv2.resize(image, small[::-1], interpolation=cv2.INTER_AREA)
        soft = averaged, View(view.x * right, view.y * down, view.width * right, view.height * down)
    border = cv2.BORDER_CONSTANT if labels else cv2.BORDER_REFLECT_101
    picture, window = soft
    matrix = view_matrix(window, size, angle, mirror)
    image = _warp(picture, matrix, size, bend, cv2.INTER_LINEAR, border, OUTSIDE)
    if labels:
        matrix = view_matrix(view, size, angle, mirror)
        return image, _warp(mask, matrix, size, bend, cv2.INTER_NEAREST, border, (IGNORE,))
    if picture.shape[:2] != mask.shape:
        mask = cv2.resize(mask, picture.shape[1::-1], interpolation=cv2.INTER_AREA)
    return image, _warp(mask, matrix, size, bend, cv2.INTER_LINEAR, border, (0,))


def draw_bend(rng: np.random.Generator, size: tuple[int, int], strength: float) -> np.ndarray:
    """float32 [h, w, 2]: how far (x, y) each pixel is moved."""
    grid = rng.normal(0, strength * min(size), (GRID, GRID, 2)).astype(np.float32)
    return cv2.resize(grid, size[::-1], interpolation=cv2.INTER_CUBIC)


def _warp(
    picture: np.ndarray,
    matrix: np.ndarray,
    size: tuple[int, int],
    bend: np.ndarray | None,
    method: int,
    border: int,
    value: tuple[int, ...],
) -> np.ndarray:
    height, width = size
    if bend is None:
        flags = method | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(
            picture, matrix, (width, height), flags=flags, borderMode=border, borderValue=value
        )
    places = bend + np.dstack(np.meshgrid(np.arange(width), np.arange(height)))
    x, y = np.moveaxis((places @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32), -1, 0)
    return cv2.remap(picture, x, y, method, borderMode=border, borderValue=value)
