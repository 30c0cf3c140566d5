"""Augmentation made for webcams: small pure functions on uint8 pictures and their soft masks.

Each is `(rng, image, mask, …) -> (image, mask)` with image uint8 [H, W, 3] RGB and mask uint8
[H, W], changes no input, and draws only from `rng`. `augment` composes them:

    view (crop, scale, flip, rotation at once) → other room → light and camera
"""

import dataclasses
import math
from collections.abc import Callable

import cv2
import numpy as np

from segjax.data import Item
from segjax.data.camera import CameraChanges, Pair, change_camera, change_colour, change_light
from segjax.data.views import View, largest_view, resize_to, view_inside, view_matrix

Draw = Callable[[], Item]
"""Gives another picture of the data set at each call, for its room."""

NEARLY_EMPTY = 0.02
"""A room of this share of person or less is taken at once; the rest of them is painted over."""


@dataclasses.dataclass(frozen=True)
class Augmentation(CameraChanges):
    """How strongly pictures of one person before a camera are changed; 0 switches a change off."""

    whole: float = 0.6
    """Probability of seeing the whole picture, as far as its shape is the batch's: falls with the
    difference of the aspect ratios."""
    portrait: float = 0.55
    """Of the other views, how many are cropped to a person who touches the bottom edge."""
    scale: float = 0.4
    """Smallest random crop, as a share of the largest one."""
    aspect: float = 0.08
    """Largest stretch of a side."""
    flip: float = 0.5
    """Probability of a mirrored picture."""
    rotation: float = 7.0
    """Largest rotation, degrees."""
    swap: float = 0.3
    """Probability of another room behind the person."""
    empty: float = 0.03
    """Probability of a room with nobody in it."""


def augment(
    rng: np.random.Generator,
    image: np.ndarray,
    mask: np.ndarray,
    size: tuple[int, int],
    strengths: Augmentation,
    draw: Draw,
) -> Pair:
    """A new picture of `size` (height, width) and its mask, changed in all ways at random."""
    if rng.random() < strengths.empty:
        image = find_room(rng, draw, size)
        mask = np.zeros(size, np.uint8)
    else:
        view = choose_view(rng, mask, size, strengths)
        image, mask = warp(rng, image, mask, view, size, strengths)
        if rng.random() < strengths.swap and mask.any():
            image, mask = swap_room(rng, image, mask, find_room(rng, draw, size), strengths)
    return change_camera(rng, image, mask, strengths)


# Views


def choose_view(
    rng: np.random.Generator, mask: np.ndarray, size: tuple[int, int], strengths: Augmentation
) -> View:
    """The whole picture, a person from the head down to the bottom edge, or any part of it.

    The window has the aspect ratio of `size`, but for `strengths.aspect`, and lies inside the
    picture.
    """
    height, width = size
    aspect = width / height * math.exp(rng.uniform(-1, 1) * strengths.aspect)
    view = largest_view(mask.shape, aspect)
    # How much of the picture the largest window shows: 1 where the shapes agree.
    shown = view.width * view.height / mask.size
    if rng.random() < strengths.whole * shown:
        scale = rng.uniform(0.92, 1)
    elif rng.random() < strengths.portrait:
        portrait = choose_portrait(rng, mask, aspect, size)
        if portrait is not None:
            return portrait
        scale = rng.uniform(0.7, 1)
    else:
        scale = rng.uniform(strengths.scale, 1)
    return view_inside(mask.shape, rng.random(), rng.random(), aspect, view.height * scale)


def choose_portrait(
    rng: np.random.Generator, mask: np.ndarray, aspect: float, size: tuple[int, int]
) -> View | None:
    """A window as a webcam has it: headroom above, the largest person cut by the bottom edge.

    None where nobody is large enough to be shown so.
    """
    count, labels, boxes, _ = cv2.connectedComponentsWithStats((mask > 127).view(np.uint8))
    if count < 2:
        return None
    person = 1 + int(np.argmax(boxes[1:, cv2.CC_STAT_AREA]))
    left, top, person_width, person_height, _ = boxes[person].tolist()
    # Who is tall and thin stands: show head and shoulders, or down to the hips.
    stands = person_height > 1.8 * person_width
    visible = person_height * (rng.uniform(0.22, 0.6) if stands else rng.uniform(0.55, 0.98))
    height = visible / rng.uniform(0.7, 1.02)
    largest = largest_view(mask.shape, aspect).height
    # Neither wider than the picture nor enlarged until nothing is sharp.
    height = min(max(height, size[0] / 2.5), largest)
    width = height * aspect
    rows = labels[top : top + max(int(visible), 1), left : left + person_width] == person
    columns = np.flatnonzero(rows.any(axis=0))
    if columns.size == 0:
        return None
    middle = left + (columns[0] + columns[-1]) / 2 + width * rng.uniform(-0.2, 0.2)
    y = top + min(visible, height) - height / 2
    if y + height / 2 > top + person_height:
        return None
    return View(
        float(np.clip(middle, width / 2, max(mask.shape[1] - width / 2, width / 2))),
        float(np.clip(y, height / 2, mask.shape[0] - height / 2)),
        width,
        height,
    )


def warp(
    rng: np.random.Generator,
    image: np.ndarray,
    mask: np.ndarray,
    view: View,
    size: tuple[int, int],
    strengths: Augmentation,
) -> Pair:
    """The window of picture and mask at `size`, turned and mirrored at random, sampled once.

    What a turned window shows beyond the picture is the picture mirrored, mask and all.
    """
    height, width = size
    angle = math.radians(rng.uniform(-1, 1) * strengths.rotation)
    mirror = -1 if rng.random() < strengths.flip else 1
    shrink = max(view.height / height, view.width / width)
    if shrink > 1.5:
        # A linear sample of a much larger picture skips pixels: average them first.
        small = (max(1, round(image.shape[0] / shrink)), max(1, round(image.shape[1] / shrink)))
        down, right = small[0] / image.shape[0], small[1] / image.shape[1]
        image, mask = resize_to(image, mask, small)
        view = View(view.x * right, view.y * down, view.width * right, view.height * down)
    inverse = view_matrix(view, size, angle, (mirror, 1))
    image, mask = (
        cv2.warpAffine(
            picture,
            inverse,
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        for picture in (image, mask)
    )
    return image, mask


# Rooms


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


def own_colours(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture, where its soft edge has the colour of the person next to it: no old room."""
    sure = _above(mask, 249)
    reach = {"ddepth": cv2.CV_32F, "ksize": (11, 11), "normalize": False}
    near = cv2.boxFilter(sure, **reach)
    colour = cv2.boxFilter(cv2.bitwise_and(image, image, mask=sure), **reach)
    spread = colour * (255 / np.maximum(near, 255))[..., None]
    # Far wisps of hair have no sure neighbour: they keep what colour they have.
    edge = (mask > 0) & (mask < 250) & (near > 0)
    return cv2.copyTo(spread.astype(np.uint8), edge.view(np.uint8), image.copy())


def swap_room(
    rng: np.random.Generator,
    image: np.ndarray,
    mask: np.ndarray,
    room: np.ndarray,
    strengths: Augmentation,
) -> Pair:
    """The person over another room of the same size.

    Pixels that are wholly person keep their bytes. The soft edge takes its colour from the person
    next to it, since there the picture shows the old room shining through, and in half of the
    pictures the outline is drawn one pixel in, since masks are often that much too large.
    """
    room, _ = change_light(rng, room, mask, strengths)
    room, _ = change_colour(rng, room, mask, strengths)
    if rng.random() < 0.5:
        mask = cv2.erode(mask, np.ones((3, 3), np.uint8))
    person = own_colours(image, mask)
    alpha = mask.astype(np.float32) * (1 / 255)
    return cv2.blendLinear(person, room, alpha, 1 - alpha), mask
