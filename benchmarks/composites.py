"""What a choice of one person, and a picture of the empty room, do for the mask.

    python benchmarks/composites.py --data ../shared/data/person \\
        --list val.txt --list webcam.txt --rooms ../shared/data/camvid/images \\
        --report out/composites.json

People cut out of the pictures that all lists name stand before drawn rooms, and a few of `--rooms`,
so the truth is known of every pixel. *Plate*: single frames; the plate shows the room without the
person, with noise of its own, and the frame the room as it was, in another exposure, half as
bright, with a shadow, or from a camera that has moved. *Passer-by*: clips in which somebody smaller
walks through behind, smoothed as live, by how far apart the two truly are. The person choice sees
no more than one frame's mask and what it remembers, so `largest` and `central` alike.
"""

import argparse
import functools
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np
from flax import nnx
from rich.console import Console

from segjax import scenery, weights
from segjax.data.folders import find_pairs, select
from segjax.errors import SegjaxError
from segjax.files import write_json
from segjax.images import find_images, read_image, read_mask
from segjax.live.backgrounds import fit
from segjax.matting import Effect, Matting
from segjax.matting.smoothing import empty_state
from segjax.matting.step import make_step, mask_size, shrink
from segjax.prediction import sight_of

HEIGHT, WIDTH = 360, 640

CLIPS, FRAMES = 16, 60

ROOMS = 10
"""Of the folder, at equal distances in it."""

Cut = tuple[np.ndarray, np.ndarray]
"""A person before nothing: colours float32 [H, W, 3] in 0..255, alpha float32 [H, W, 1]."""

Pairs = Sequence[tuple[Path, Path]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of images and masks")
    parser.add_argument("--list", action="append", required=True, help="of stems; repeatable")
    parser.add_argument("--rooms", type=Path, help="folder of pictures that may stand for rooms")
    parser.add_argument("--noise", type=float, default=4.0, help="of a camera, in levels")
    parser.add_argument("--model", default="portrait", help="name or path of weights")
    parser.add_argument("--report", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args()
    try:
        pairs = find_pairs(options.data, select(options.data, options.list))
        released = weights.load(options.model)
        report = {
            "plate": measure_plate(released, pairs, _rooms(options.rooms), options.noise),
            "passer_by": measure_passer_by(released, pairs, options.noise),
        }
        write_json(options.report, report)
    except SegjaxError as error:
        parser.exit(2, f"error: {error}\n")
    Console().print(report)


CHANGES: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]] = {
    "as it was": lambda room, alpha, random: room,
    "another exposure": lambda room, alpha, random: (
        room * random.uniform(0.8, 1.2) * random.uniform(0.95, 1.05, 3)
    ),
    "with a shadow": lambda room, alpha, random: (
        room * (1 - 0.35 * cv2.GaussianBlur(np.roll(alpha, 40, 1), (0, 0), 20)[..., None])
    ),
    "camera moved": lambda room, alpha, random: np.roll(room, random.integers(6, 20), 1),
    "half as bright": lambda room, alpha, random: room,
}
"""What became of the room since the plate was taken."""


def measure_plate(
    released: weights.Released, pairs: Pairs, rooms: list[np.ndarray], noise: float
) -> dict[str, dict[str, float]]:
    """Leak, cut and IoU by what became of the room, without a plate and with one."""
    sight = sight_of(released.config)
    step: Any = make_step(released.model, Effect("color"), smoothing=False, sight=sight)
    params = jax.tree.leaves(nnx.split(released.model)[1])
    small = functools.partial(jax.jit(shrink, static_argnames="sight"), sight=sight)
    found = defaultdict(list)
    for number, pair in enumerate(pairs):
        random = np.random.default_rng(number)
        room, person = rooms[number % len(rooms)], _cut(pair, 1.0, random.uniform(0.4, 0.6))
        change = tuple(CHANGES)[number % len(CHANGES)]
        exposure = 0.5 if change == "half as bright" else 1.0
        frame = exposure * _over(person, CHANGES[change](room, person[1][..., 0], random))
        frame, plate = _noisy(frame, noise, random), small(_noisy(room, noise, random))
        for name, given in (("without", None), ("with", plate)):
            state = empty_state(*mask_size(HEIGHT, WIDTH, sight))
            alpha = np.asarray(step(params, state, frame, None, np.float32(0.5), given)[2])
            truth = cv2.resize(person[1], alpha.shape[::-1], interpolation=cv2.INTER_AREA)
            found[change, name].append(_errors(alpha, truth))
            found["all", name].append(found[change, name][-1])
    return {
        f"{change}, {name}": {
            key: round(float(np.mean([e[key] for e in each])), 4) for key in each[0]
        }
        for (change, name), each in sorted(found.items())
    }


def measure_passer_by(
    released: weights.Released, pairs: Pairs, noise: float
) -> dict[str, dict[str, float]]:
    """How much of the passer-by is removed, and of who stays is lost, by their distance."""
    random = np.random.default_rng(0)
    alone = [pair for pair in pairs if _stands_alone(read_mask(pair[1]))]
    everyone = Matting(released, Effect("color"))
    largest = Matting(released, Effect("color"), person="largest")
    rooms = _rooms(None)
    sums = defaultdict(lambda: np.zeros(5))
    for clip in range(CLIPS):
        stays, passes = (alone[int(at)] for at in random.choice(len(alone), 2, replace=False))
        place, way, size = (
            random.uniform(0.38, 0.62),
            random.choice([-1, 1]),
            random.uniform(0.45, 0.65),
        )
        everyone.reset()
        largest.reset()
        for time in range(FRAMES):
            behind = _cut(passes, size, 0.5 + way * (1.4 * time / FRAMES - 0.7))
            before = _cut(stays, 0.95, place + 0.01 * np.sin(time / 9))
            frame = _noisy(_over(before, _over(behind, rooms[clip % len(rooms)])), noise, random)
            them = (behind[1][..., 0] > 0.95) & (before[1][..., 0] < 0.02)
            me = before[1][..., 0] > 0.95
            masks = [
                cv2.resize(matting(frame, None, time).alpha, (WIDTH, HEIGHT))
                for matting in (everyone, largest)
            ]
            sums[_distance(before, behind)] += [
                1, *(mask[who].sum() for who in (them, me) for mask in masks)
            ]  # fmt: skip
    return {
        distance: {
            "frames": int(frames),
            "removed": round(float(1 - theirs_left / max(theirs, 1)), 3),
            "lost": round(float(1 - mine_left / max(mine, 1)), 4),
        }
        for distance, (frames, theirs, theirs_left, mine, mine_left) in sorted(sums.items())
    }


def _distance(one: Cut, other: Cut) -> str:
    """In words; by shares of the width."""
    away = cv2.distanceTransform((one[1][..., 0] < 0.3).astype(np.uint8), cv2.DIST_L2, 5)
    nearest = away[other[1][..., 0] > 0.3].min(initial=WIDTH) / WIDTH
    return "touching" if nearest < 0.015 else "near" if nearest < 0.03 else "apart"


def _rooms(folder: Path | None) -> list[np.ndarray]:
    drawn = [scenery.draw(name, HEIGHT, WIDTH) for name in scenery.SCENES]
    files = find_images(folder) if folder else []
    some = files[:: max(1, len(files) // ROOMS)][:ROOMS]
    taken = [fit(read_image(path), HEIGHT, WIDTH) for path in some]
    return [room.astype(np.float32) for room in (*drawn, *taken)]


def _cut(pair: tuple[Path, Path], size: float, place: float) -> Cut:
    """At a share of the height, standing on the lower edge at a share of the width."""
    image, mask = read_image(pair[0]).astype(np.float32), read_mask(pair[1]) / np.float32(255)
    scale = size * HEIGHT / image.shape[0]
    matrix = np.array(
        [
            [scale, 0, place * WIDTH - scale * image.shape[1] / 2],
            [0, scale, HEIGHT - scale * image.shape[0]],
        ]
    )
    colours = cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
    return colours, cv2.warpAffine(mask, matrix, (WIDTH, HEIGHT))[..., None]


def _over(person: Cut, room: np.ndarray) -> np.ndarray:
    colours, alpha = person
    return alpha * colours + (1 - alpha) * room


def _noisy(picture: np.ndarray, noise: float, random: np.random.Generator) -> np.ndarray:
    return np.clip(picture + random.normal(0, noise, picture.shape), 0, 255).astype(np.uint8)


def _stands_alone(mask: np.ndarray) -> bool:
    """Whether it is one person, whole at both sides."""
    count = cv2.connectedComponents((mask > 127).astype(np.uint8))[0]
    share = (mask > 127).mean()
    return count == 2 and 0.15 < share < 0.45 and not mask[:, :2].any() and not mask[:, -2:].any()


def _errors(alpha: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    room, person = truth < 0.05, truth > 0.95
    either = ((alpha > 0.5) | (truth > 0.5)).sum()
    return {
        "leak": float(alpha[room].mean()),
        "leak_share": float((alpha[room] > 0.1).mean()),
        "cut": float((1 - alpha[person]).mean()),
        "cut_share": float((alpha[person] < 0.9).mean()),
        "iou": float(((alpha > 0.5) & (truth > 0.5)).sum() / max(either, 1)),
    }


if __name__ == "__main__":
    main()
