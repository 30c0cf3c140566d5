"""Clips whose true masks are known: folders of frames and masks, and cut-outs that move in rooms.

A cut-out comes from a picture with a mask, its room from another picture of the same data, with
whoever is in it painted over. It goes to and fro at an even speed, over a still room, under a
sensor's noise: what it hides and shows again is known to a fraction of a pixel.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from segjax.data import Item, Source
from segjax.data.cutouts import cut_out, shrunk, stands_free
from segjax.data.files import read_pair
from segjax.data.rooms import find_room
from segjax.errors import SegjaxError
from segjax.images import find_images
from segjax.scenery import SCENES
from segjax.scenery import draw as draw_scene

NOISE = 3.0
"""Standard deviation of the sensor's noise, in levels."""

TALL = 0.85
"""Height of a cut-out in the frame's."""

VIDEO, NOBODY = "video", "nobody"
"""Kinds of clips: without a truth, and of an empty room."""

Frames = Iterator[tuple[np.ndarray, np.ndarray | None]]
"""Pixels uint8 RGB [H, W, 3] and the true mask uint8 [H, W] in 0..255, or None."""


class Clip(NamedTuple):
    """A clip that may be read again and again.

    Attributes:
      name: for people.
      kind: of the clips whose figures are given together: a folder's own name, "moving 5 px",
        "nobody", or "video", which has no truth.
      frames: gives its frames from the first on.
    """

    name: str
    kind: str
    frames: Callable[[], Frames]


def folder_clip(folder: Path, limit: int | None = None) -> Clip:
    """The frames images/*.jpg of a folder with their masks/*.png, in the order of their names.

    Raises:
      SegjaxError: a folder is missing or empty, or a frame has no mask.
    """
    for name in ("images", "masks"):
        if not (folder / name).is_dir():
            raise SegjaxError(
                f"{folder} has no {name}/; a clip with a truth holds images/ and masks/; add it"
            )
    masks = {path.stem: path for path in find_images(folder / "masks")}
    images = find_images(folder / "images")[:limit]
    for path in images:
        if path.stem not in masks:
            raise SegjaxError(
                f"{folder / 'masks'} has no mask {path.stem}.png; every frame needs one; add it"
            )
    return Clip(
        folder.name, folder.name, lambda: (read_pair(path, masks[path.stem]) for path in images)
    )


def moving_clips(
    source: Source,
    size: tuple[int, int],
    speeds: Sequence[float],
    *,
    people: int,
    frames: int,
    seed: int = 0,
) -> list[Clip]:
    """`people` cut-outs at each of the `speeds`, the same ones in the same rooms at all of them.

    Frames are of `size` (height, width), speeds in pixels a frame.

    Raises:
      SegjaxError: too few people stand free of their picture's left, right and upper edge.
    """
    order = np.random.default_rng(seed).permutation(len(source)).tolist()
    free = itertools.islice((i for i in order if _fits(source[i]["mask"])), people)
    clips = []
    for number, index in enumerate(free):
        rng = np.random.default_rng((seed, index))
        room = find_room(rng, lambda rng=rng: source[int(rng.integers(len(source)))], size)
        for speed in speeds:
            draw = functools.partial(
                _moving, source[index], room, speed, frames, int(rng.integers(99))
            )
            clips.append(Clip(f"person {number + 1}, {speed:g} px", f"moving {speed:g} px", draw))
    if len(clips) < people * len(speeds):
        raise SegjaxError(
            f"got {len(clips) // len(speeds)} people who stand free of their picture's left, right "
            f"and upper edge; {people} are needed; give a list of more pictures"
        )
    return clips


def empty_clips(
    source: Source,
    size: tuple[int, int],
    *,
    rooms: int,
    frames: int = 8,
    seed: int = 0,
) -> list[Clip]:
    """Still rooms with nobody in them: half of them painted-over pictures, half drawn ones."""
    rng = np.random.default_rng((seed, 1))
    clips = []
    for number in range(rooms):
        if number % 2:
            name = list(SCENES)[number // 2 % len(SCENES)]
            room = draw_scene(name, *size, seed=seed + number)
        else:
            name = f"room {number // 2 + 1}"
            room = find_room(rng, lambda: source[int(rng.integers(len(source)))], size)
        clips.append(
            Clip(f"nobody, {name}", NOBODY, functools.partial(_still, room, frames, number))
        )
    return clips


def _fits(mask: np.ndarray) -> bool:
    """Whether a cut-out may move to and fro: it leaves its picture at the bottom and only there."""
    return bool((mask[-1] > 127).any()) and stands_free(mask)


def _moving(item: Item, room: np.ndarray, speed: float, frames: int, seed: int) -> Frames:
    rng = np.random.default_rng(seed)
    height, width = room.shape[:2]
    layer = cut_out(item)
    layer, scale = shrunk(layer, TALL * height / layer.shape[0])
    columns = np.flatnonzero((layer[..., 3] > 0.5).any(0))
    middle = scale * (columns[0] + columns[-1]) / 2
    # To and fro over half of the width, from the middle.
    reach = width / 4
    for t in range(frames):
        way = speed * t + reach
        away = abs((way % (4 * reach)) - 2 * reach) - reach
        shift = np.array(
            [[scale, 0, width / 2 - middle - away], [0, scale, height - scale * layer.shape[0]]]
        )
        placed = cv2.warpAffine(layer, shift, (width, height), flags=cv2.INTER_LINEAR)
        true = placed[..., 3:]
        frame = placed[..., :3] + (1 - true) * room
        yield _noisy(rng, frame), np.rint(true[..., 0] * 255).astype(np.uint8)


def _still(room: np.ndarray, frames: int, seed: int) -> Frames:
    rng = np.random.default_rng(seed)
    for _ in range(frames):
        yield _noisy(rng, room), np.zeros(room.shape[:2], np.uint8)


def _noisy(rng: np.random.Generator, frame: np.ndarray) -> np.ndarray:
    noise = rng.standard_normal(frame.shape, np.float32)
    return np.clip(frame + NOISE * noise, 0, 255).astype(np.uint8)
