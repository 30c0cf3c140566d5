"""Drawn people in drawn rooms, with exact masks: data for tests, without any download."""

from pathlib import Path

import cv2
import numpy as np

from segjax.data import Item
from segjax.files import replacing_folder
from segjax.images import write_image

SUPERSAMPLING = 3
"""Everything is drawn this much larger; averaging it gives exact soft edges."""

SKIN = ((241, 214, 189), (224, 181, 144), (186, 130, 93), (132, 86, 60), (84, 54, 40))
HAIR = ((28, 22, 20), (66, 43, 30), (122, 82, 46), (206, 168, 104), (150, 150, 150))


class SyntheticPeople:
    """An indexable data set of `count` drawn webcam pictures.

    Item i depends on (`seed`, i) and `size` (height, width) only. One in twelve rooms is empty.
    """

    def __init__(self, count: int, *, size: tuple[int, int] = (144, 192), seed: int = 0):
        if count < 1 or min(size) < 16:
            raise ValueError(f"got {count} pictures of {size}; at least 1 of at least 16x16")
        self.count, self.size, self.seed = count, size, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> Item:
        if not 0 <= index < self.count:
            raise IndexError(f"got item {index} of {self.count}")
        rng = np.random.default_rng((self.seed, index))
        large = (self.size[0] * SUPERSAMPLING, self.size[1] * SUPERSAMPLING)
        image = draw_room(rng, large)
        mask = np.zeros(large, np.uint8)
        if rng.random() > 1 / 12:
            draw_person(rng, image, mask)
        height, width = self.size
        image, mask = (
            cv2.resize(layer, (width, height), interpolation=cv2.INTER_AREA)
            for layer in (image, mask)
        )
        noise = rng.normal(0, rng.uniform(0, 4), image.shape)
        return {"image": np.clip(image + noise, 0, 255).astype(np.uint8), "mask": mask}


def write_folder(
    root: Path | str, *, train: int, val: int, size: tuple[int, int] = (144, 192), seed: int = 0
) -> None:
    """Writes drawn people as a data folder: images/, masks/, train.txt, val.txt, webcam.txt.

    `webcam.txt` lists the pictures that have somebody in them, of either list.

    Raises:
      SegjaxError: the folder cannot be written.
    """
    people = SyntheticPeople(train + val, size=size, seed=seed)
    stems = [f"p{index:05}" for index in range(len(people))]
    shown = []
    with replacing_folder(root) as folder:
        for index, stem in enumerate(stems):
            item = people[index]
            write_image(folder / "images" / f"{stem}.jpg", item["image"])
            write_image(folder / "masks" / f"{stem}.png", item["mask"])
            if item["mask"].any():
                shown.append(stem)
        lists = {"train.txt": stems[:train], "val.txt": stems[train:], "webcam.txt": shown}
        for name, listed in lists.items():
            (folder / name).write_text("".join(f"{stem}\n" for stem in listed))


def draw_room(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A wall with a light from one side, and things before it: uint8 [H, W, 3]."""
    height, width = size
    wall = rng.uniform(40, 225, 3)
    left, right = rng.uniform(0.7, 1.2, 2)
    light = np.linspace(left, right, 32)[None, :, None]
    shade = np.linspace(1, rng.uniform(0.7, 1.1), 32)[:, None, None]
    room = cv2.resize(np.clip(wall * light * shade, 0, 255).astype(np.uint8), (width, height))
    for _ in range(rng.integers(2, 7)):
        left, top = rng.uniform(-0.1, 0.9, 2) * (width, height)
        w, h = rng.uniform(0.08, 0.45, 2) * (width, height)
        start, end = (int(left), int(top)), (int(left + w), int(top + h))
        colour = _colour(rng)
        kind = rng.integers(3)
        if kind == 0:  # a window or a picture in its frame
            cv2.rectangle(room, start, end, colour, -1)
            cv2.rectangle(room, start, end, _colour(rng), max(2, width // 60))
        elif kind == 1:  # a shelf of books
            for x in range(start[0], end[0], max(4, width // 40)):
                book = int(end[1] - rng.uniform(0.5, 1) * h)
                right = x + max(3, width // 45)
                cv2.rectangle(room, (x, book), (right, end[1]), _colour(rng), -1)
        else:  # a lamp or a plant
            cv2.circle(room, start, int(min(w, h) / 2), colour, -1)
    return room


def draw_person(rng: np.random.Generator, image: np.ndarray, mask: np.ndarray) -> None:
    """Draws a person from the bottom edge up into `image`, and as 255 into `mask`."""
    height, width = mask.shape
    unit = height * rng.uniform(0.11, 0.17)  # half a head's width
    x = width * rng.uniform(0.35, 0.65)
    chin = height * rng.uniform(0.5, 0.68)
    skin = np.clip(np.array(SKIN[rng.integers(len(SKIN))]) * rng.uniform(0.85, 1.1), 0, 255)
    skin = tuple(int(value) for value in skin)
    hair = HAIR[rng.integers(len(HAIR))]
    cloth, trim = _colour(rng), _colour(rng)

    # Each shape is drawn alike in the picture and in the mask.
    layers = ((image, lambda colour: colour), (mask, lambda _: 255))

    def ellipse(colour, cx, cy, rx, ry, angle=0.0):
        box = ((float(cx), float(cy)), (float(2 * rx), float(2 * ry)), float(angle))
        for layer, value in layers:
            cv2.ellipse(layer, box, value(colour), -1)

    def line(colour, points, thickness):
        corners = np.rint(points).astype(np.int32)
        for a, b in zip(corners[:-1].tolist(), corners[1:].tolist(), strict=True):
            for layer, value in layers:
                cv2.line(layer, a, b, value(colour), max(1, round(thickness)))

    middle = chin - 1.25 * unit
    long_hair = rng.random() < 0.5
    if long_hair:
        ellipse(hair, x, middle + 0.7 * unit, 1.3 * unit, 2.2 * unit)
    shoulders = chin + 1.0 * unit
    span = unit * rng.uniform(2.2, 2.8)
    ellipse(cloth, x, shoulders + span, span, 1.2 * span)
    for layer, value in layers:
        corners = (round(x - span), round(shoulders + span)), (round(x + span), height)
        cv2.rectangle(layer, *corners, value(cloth), -1)
    if rng.random() < 0.4:  # stripes
        rows = np.arange(height) % max(2, round(0.6 * unit)) < 0.2 * unit
        image[rows[:, None] & (mask > 0) & (image == cloth).all(axis=-1)] = trim
    line(skin, [(x, chin - 0.4 * unit), (x, shoulders + 0.3 * unit)], 0.9 * unit)
    ellipse(skin, x, middle, unit, 1.3 * unit)
    ellipse(hair, x, middle - 0.75 * unit, 1.08 * unit, 0.75 * unit)
    for _ in range(rng.integers(4, 12)):  # wisps
        angle = rng.uniform(np.pi * 0.95, np.pi * 2.05)
        root = np.array([x + unit * np.cos(angle), middle - 0.5 * unit + unit * np.sin(angle)])
        tip = root + unit * rng.uniform(0.1, 0.5) * np.array([np.cos(angle), np.sin(angle)])
        line(hair, [root, tip + rng.normal(0, 0.1 * unit, 2)], 0.05 * unit)
    for side in (-1, 1):
        ellipse((30, 30, 40), x + side * 0.4 * unit, middle, 0.13 * unit, 0.1 * unit)
    ellipse((150, 60, 60), x, middle + 0.65 * unit, 0.3 * unit, 0.1 * unit)
    for side in (-1, 1):
        if rng.random() < 0.35:  # an arm raised into the picture
            shoulder = np.array([x + side * span * 0.85, shoulders + 0.8 * unit])
            elbow = shoulder + unit * np.array([side * rng.uniform(0.5, 1.4), rng.uniform(0.5, 2)])
            hand = elbow + unit * np.array([side * rng.uniform(-0.8, 1), -rng.uniform(1.5, 3.5)])
            line(cloth, [shoulder, elbow, hand * 0.8 + elbow * 0.2], 0.8 * unit)
            ellipse(skin, hand[0], hand[1], 0.45 * unit, 0.55 * unit)
            for finger in (-0.5, -0.15, 0.2, 0.55):
                line(skin, [hand, hand + unit * np.array([finger, -1.0])], 0.18 * unit)


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = rng.integers(20, 235, 3).tolist()
    return red, green, blue
