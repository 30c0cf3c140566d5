"""Rooms to put behind people: other pictures without theirs, drawn ones, and things in them."""

from collections.abc import Callable

import cv2
import numpy as np

from segjax.data import Item
from segjax.data.views import largest_view, resize_to, view_inside, view_matrix
from segjax.scenery import SCENES
from segjax.scenery import draw as draw_scene

Draw = Callable[[], Item]
"""Gives another picture of the data set at each call, for its room or its people."""

NEARLY_EMPTY = 0.02
"""A room of this share of person or less is taken at once; the rest of them is painted over."""


def find_room(rng: np.random.Generator, draw: Draw, size: tuple[int, int]) -> np.ndarray:
    """A part of another picture with hardly anybody in it, at `size`: uint8 [h, w, 3].

    Whoever is in it is painted over with what surrounds them.
    """
    found = []
    for _ in range(3):
        found.append(emptiest_window(rng, draw(), size[1] / size[0]))
        if found[-1][0] < NEARLY_EMPTY:
            break
    _, image, mask = min(found, key=lambda window: window[0])
    room, people = resize_to(image, mask, size)
    if rng.random() < 0.5:
        room, people = room[:, ::-1], people[:, ::-1]
    return paint_over(room, people)


def emptiest_window(
    rng: np.random.Generator, item: Item, aspect: float
) -> tuple[float, np.ndarray, np.ndarray]:
    """Of ten windows of a picture the first that is nearly empty, or else the emptiest.

    Gives the share of it that is person, and its image and mask.
    """
    image, mask = item["image"], item["mask"]
    sums = cv2.integral(_above(mask, 8))
    largest = largest_view(mask.shape, aspect).height
    windows = []
    for attempt in range(10):
        height = largest * (rng.uniform(0.9, 1) if attempt == 0 else rng.uniform(0.3, 0.9))
        view = view_inside(mask.shape, rng.random(), rng.random(), aspect, height)
        left, top = int(view.x - view.width / 2), int(view.y - view.height / 2)
        right, bottom = left + max(1, int(view.width)), top + max(1, int(view.height))
        inside = sums[bottom, right] - sums[bottom, left] - sums[top, right] + sums[top, left]
        share = float(inside) / 255 / ((right - left) * (bottom - top))
        windows.append((share, np.s_[top:bottom, left:right]))
        if share < NEARLY_EMPTY:
            break
    share, window = min(windows, key=lambda window: window[0])
    return share, image[window], mask[window]


def _above(mask: np.ndarray, level: int) -> np.ndarray:
    """255 where the mask is larger than `level`, else 0."""
    return cv2.threshold(np.ascontiguousarray(mask), level, 255, cv2.THRESH_BINARY)[1]


def paint_over(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture with its people replaced by a blur of what is around them."""
    if not mask.any():
        return np.ascontiguousarray(image)
    hidden = cv2.dilate(_above(mask, 0), np.ones((5, 5), np.uint8))
    height, width = mask.shape
    small = (max(1, width // 4), max(1, height // 4))
    shown = 1 - cv2.resize(hidden, small, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    seen = cv2.bitwise_and(image, image, mask=255 - hidden)
    seen = cv2.resize(seen, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    filled = np.zeros_like(seen)
    # From near to far: the nearest surroundings that exist give the colour.
    missing = np.ones((*shown.shape, 1), np.float32)
    for sigma in (1.5, 5.0, 20.0):
        weight = cv2.GaussianBlur(shown, (0, 0), sigma)[..., None]
        colour = cv2.GaussianBlur(seen, (0, 0), sigma) / np.maximum(weight, 1e-4)
        known = missing * np.clip(weight * 4, 0, 1)
        filled += known * colour
        missing -= known
    if shown.any():
        mean = seen.sum((0, 1)) / max(float(shown.sum()), 1e-4)
    else:
        mean = np.full(3, 128, np.float32)
    filled += missing * mean
    fill = cv2.resize(np.clip(filled, 0, 255).astype(np.uint8), (width, height))
    return cv2.copyTo(fill, hidden, np.ascontiguousarray(image).copy())


def draw_room(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A part of a scene drawn by arithmetic, at `size`: uint8 [h, w, 3]."""
    height, width = size
    name = list(SCENES)[rng.integers(len(SCENES))]
    paint = tuple(rng.integers(0, 256, 3).tolist()) if name == "brand" else None
    scene = draw_scene(name, height, width, seed=int(rng.integers(2**31)), color=paint)
    right, down, share = rng.random(), rng.random(), rng.uniform(0.5, 1)
    view = view_inside(scene.shape, right, down, width / height, height * share)
    matrix = view_matrix(view, size, 0, (1 if rng.random() < 0.5 else -1, 1))
    return cv2.warpAffine(
        scene, matrix, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )


def put_things(rng: np.random.Generator, room: np.ndarray, draw: Draw) -> np.ndarray:
    """The room with up to three flat shapes in it, of another room's pixels or of paint."""
    height, width = room.shape[:2]
    other = find_room(rng, draw, (height, width))
    for _ in range(int(rng.integers(1, 4))):
        shape = _shape(rng, (height, width))
        inside = other
        if rng.random() < 0.4:
            ends = rng.integers(0, 256, (2, 2, 3)).astype(np.uint8)
            inside = cv2.resize(ends, (width, height), interpolation=cv2.INTER_LINEAR)
        room = cv2.blendLinear(inside, room, shape, 1 - shape)
    return room


def _shape(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A polygon, or an ellipse, with an edge of about a pixel: float32 [h, w] in [0, 1]."""
    height, width = size
    centre = rng.uniform(0, 1, 2) * (width, height)
    radii = height * np.exp(rng.uniform(np.log(0.06), np.log(0.6), 2))
    corners = int(rng.choice([3, 4, 4, 5, 7, 60]))
    # Even steps make regular figures, which most made things are.
    angles = np.arange(corners) + rng.uniform(0, rng.choice([0.0, 0.7]), corners)
    angles = 2 * np.pi * (angles / corners + rng.random())
    turn = rng.uniform(0, np.pi)
    along = np.stack([np.cos(angles), np.sin(angles)], 1) * radii
    points = along @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    shape = np.zeros(size, np.uint8)
    cv2.fillPoly(shape, [np.rint((points + centre) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    if rng.random() < 0.3:
        shape = cv2.GaussianBlur(shape, (0, 0), rng.uniform(0.5, 4))
    return shape.astype(np.float32) * (1 / 255)
