"""Augmentation made for webcams: small pure functions on uint8 pictures and their soft masks.

Each is `(rng, image, mask, …) -> (image, mask)` with image uint8 [H, W, 3] RGB and mask uint8
[H, W], changes no input, and draws only from `rng`. `augment` composes them:

    view (crop, scale, flip, rotation at once) → other room → light and camera

or a room with nobody in it, or with several people cut out of other pictures.
"""

import dataclasses
import math

import cv2
import numpy as np

from segjax.data.camera import CameraChanges, Pair, change_camera, change_colour, change_light
from segjax.data.cutouts import cut_out, own_colours, paste, stands_free
from segjax.data.rooms import Draw, draw_room, find_room, put_things
from segjax.data.views import View, largest_view, resize_to, view_inside, view_matrix


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
    empty: float = 0.1
    """Probability of a room with nobody in it."""
    group: float = 0.06
    """Probability of a room with up to four people cut out of other pictures, near and far."""
    drawn: float = 0.2
    """Of other and empty rooms, how many are drawn; the others are other pictures' own."""
    things: float = 0.3
    """Of other and empty rooms, how many get pieces of other rooms and of paint put into them:
    what has a sharp edge need not be a person."""


def augment(
    rng: np.random.Generator,
    image: np.ndarray,
    mask: np.ndarray,
    size: tuple[int, int],
    strengths: Augmentation,
    draw: Draw,
) -> Pair:
    """A new picture of `size` (height, width) and its mask, changed in all ways at random."""
    kind = rng.random()
    if kind < strengths.empty:
        image, mask = choose_room(rng, draw, size, strengths), np.zeros(size, np.uint8)
    elif kind < strengths.empty + strengths.group:
        image, mask = gather(rng, choose_room(rng, draw, size, strengths), draw)
    else:
        view = choose_view(rng, mask, size, strengths)
        image, mask = warp(rng, image, mask, view, size, strengths)
        if rng.random() < strengths.swap and mask.any():
            room = choose_room(rng, draw, size, strengths)
            image, mask = swap_room(rng, image, mask, room, strengths)
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


# People in other rooms


def choose_room(
    rng: np.random.Generator, draw: Draw, size: tuple[int, int], strengths: Augmentation
) -> np.ndarray:
    """A room with nobody in it, as often drawn and as often filled as `strengths` say."""
    drawn = rng.random() < strengths.drawn
    room = draw_room(rng, size) if drawn else find_room(rng, draw, size)
    return put_things(rng, room, draw) if rng.random() < strengths.things else room


def gather(rng: np.random.Generator, room: np.ndarray, draw: Draw) -> Pair:
    """Up to four people of other pictures in a room, the far ones behind, and their mask.

    Nobody is taken whose picture cuts them off at a side or at the head.
    """
    height, width = room.shape[:2]
    others = [draw() for _ in range(int(rng.integers(2, 8)))]
    people = [cut_out(other) for other in others if stands_free(other["mask"])][:4]
    image, mask = room, np.zeros((height, width), np.uint8)
    for tall, person in zip(np.sort(rng.uniform(0.25, 1.0, len(people))), people, strict=True):
        scale = tall * height / person.shape[0]
        # Who is large stands lower, down to who is cut off at the waist by the picture's edge.
        foot = height * rng.uniform(0.55 + 0.4 * tall, 0.75 + 0.8 * tall)
        left = rng.uniform(-0.2, 1.2) * width - scale * person.shape[1] / 2
        image, mask = paste(image, mask, person, scale, left, foot - scale * person.shape[0])
    return image, mask


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
