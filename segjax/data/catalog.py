"""Data sets of TensorFlow Datasets by name: how the features of each builder become items.

    tfds:oxford_iiit_pet      pets before their background; their outline, unsure, is ignored
    tfds:cityscapes           the 19 classes that its benchmark measures
    tfds:coco/2017_panoptic   80 kinds of things and 53 of stuff
    tfds:scene_parse150       100 kinds of objects, 0 is anything else

With a model of one class the mask is that of pets, or of people. A part is one split of TFDS:
`train`, `train[:90%]`, `train+validation`.

Reading what is prepared needs no TensorFlow. Preparing, which downloads, does, since all four
builders call it: oxford_iiit_pet mends broken pictures with it, cityscapes and scene_parse150 list
files, coco declares its features. It is the extra `tf`. Cityscapes has to be downloaded by hand.

TFDS's scene_parse150 holds the objects of the challenge's instance task, not the 150 classes of its
parsing task: for those, unpack ADEChallengeData2016 into images/ and labels/, where 0 is ignored.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from segjax.data import IGNORE, Item, NamedSource
from segjax.data.classes import Classes
from segjax.errors import SegjaxError
from segjax.images import decode_image
from segjax.labels import palette

PREFIX = "tfds:"

Read = Callable[[Any], np.ndarray]
"""A record → uint8 [H, W]: the numbers that it holds for its pixels."""


@dataclass(frozen=True)
class Recipe:
    """How the records of one builder become items."""

    image: str
    """The feature that is the picture."""
    truth: str
    """The feature that says what is in it, a PNG."""
    names: tuple[str, ...]
    """Of the labels 0, 1, …"""
    labels: dict[int, int]
    """The label of each number; the others are ignored."""
    mask: dict[int, int]
    """0 … 255 of each number in the mask of one class; the others are 0."""
    read: Read


def _first_channel(feature: str) -> Read:
    def read(record: Any) -> np.ndarray:
        pixels = _decode(record[feature])
        return pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., 2])  # red, of BGR

    return read


def _panoptic(record: Any) -> np.ndarray:
    """The category of the segment that a pixel's colour numbers; 255 where there is none."""
    blue, green, red = cv2.split(_decode(record["panoptic_image"]))
    numbers = red + green.astype(np.int64) * 256 + blue.astype(np.int64) * 65536
    segments = np.append(record["panoptic_objects"]["id"], -1)
    categories = np.append(record["panoptic_objects"]["label"], IGNORE).astype(np.uint8)
    order = np.argsort(segments)
    place = np.searchsorted(segments[order], numbers).clip(max=len(segments) - 1)
    known = segments[order][place] == numbers
    return np.where(known, categories[order][place], IGNORE).astype(np.uint8)


def _decode(data: bytes) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise SegjaxError("a record's labels cannot be decoded; PNG is read; prepare the data anew")
    return pixels


CITYSCAPES = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17,
    "traffic light": 19, "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23,
    "person": 24, "rider": 25, "car": 26, "truck": 27, "bus": 28, "train": 31, "motorcycle": 32,
    "bicycle": 33,
}  # fmt: skip
"""The ids in the files of the classes that the benchmark measures, in its order."""

THINGS = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant,
stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe,
backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball
bat, baseball glove, skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork, knife,
spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair,
couch, potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard, cell phone,
microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear, hair drier,
toothbrush
"""
STUFF = """
banner, blanket, bridge, cardboard, counter, curtain, door-stuff, floor-wood, flower, fruit,
gravel, house, light, mirror-stuff, net, pillow, platform, playingfield, railroad, river, road,
roof, sand, sea, shelf, snow, stairs, tent, towel, wall-brick, wall-stone, wall-tile, wall-wood,
water-other, window-blind, window-other, tree-merged, fence-merged, ceiling-merged,
sky-other-merged, cabinet-merged, table-merged, floor-other-merged, pavement-merged,
mountain-merged, grass-merged, dirt-merged, paper-merged, food-other-merged, building-other-merged,
rock-merged, wall-other-merged, rug-merged
"""
"""Of COCO panoptic, in the order of its annotation files."""

OBJECTS = """
bed, windowpane, cabinet, person, door, table, curtain, chair, car, painting, sofa, shelf, mirror,
armchair, seat, fence, desk, wardrobe, lamp, bathtub, railing, cushion, box, column, signboard,
chest of drawers, counter, sink, fireplace, refrigerator, stairs, case, pool table, pillow, screen
door, bookcase, coffee table, toilet, flower, book, bench, countertop, stove, palm, kitchen island,
computer, swivel chair, boat, arcade machine, bus, towel, light, truck, chandelier, awning,
streetlight, booth, television receiver, airplane, apparel, pole, bannister, ottoman, bottle, van,
ship, fountain, washer, plaything, stool, barrel, basket, bag, minibike, oven, ball, food, step,
trade name, microwave, pot, animal, bicycle, dishwasher, screen, sculpture, hood, sconce, vase,
traffic light, tray, ashcan, fan, plate, monitor, bulletin board, radiator, glass, clock, flag
"""
"""Of the challenge's instance task, whose ids begin at 1."""


def _split(names: str) -> tuple[str, ...]:
    return tuple(" ".join(names.split()).split(", "))


_STREET = Recipe(
    "image_left",
    "segmentation_label",
    tuple(CITYSCAPES),
    {number: label for label, number in enumerate(CITYSCAPES.values())},
    {CITYSCAPES["person"]: 255, CITYSCAPES["rider"]: 255},
    _first_channel("segmentation_label"),
)
_PANOPTIC = _split(THINGS) + _split(STUFF)
_OBJECTS = ("other", *_split(OBJECTS))

RECIPES = {
    "oxford_iiit_pet": Recipe(
        "image",
        "segmentation_mask",
        ("background", "pet"),
        {2: 0, 1: 1},
        {1: 255, 3: 128},
        _first_channel("segmentation_mask"),
    ),
    "cityscapes": _STREET,
    "cityscapes/semantic_segmentation": _STREET,
    "cityscapes/semantic_segmentation_extra": _STREET,
    "coco/2017_panoptic": Recipe(
        "image",
        "panoptic_image",
        _PANOPTIC,
        {label: label for label in range(len(_PANOPTIC))},
        {_PANOPTIC.index("person"): 255},
        _panoptic,
    ),
    "scene_parse150": Recipe(
        "image",
        "annotation",
        _OBJECTS,
        {label: label for label in range(len(_OBJECTS))},
        {_OBJECTS.index("person"): 255},
        _first_channel("annotation"),
    ),
}
"""By the builder's name, and its config where that matters."""


class Records:
    """An indexable data set over the records of a split. Reading is safe from several threads."""

    def __init__(self, split: str, records: Any, recipe: Recipe, table: np.ndarray):
        self.stems = [f"{split}:{index}" for index in range(len(records))]
        self._records, self._recipe, self._table = records, recipe, table

    def __len__(self) -> int:
        return len(self.stems)

    def __getitem__(self, index: int, /) -> Item:
        record = self._records[index]
        return {
            "image": decode_image(record[self._recipe.image], self.stems[index]),
            "mask": cv2.LUT(self._recipe.read(record), self._table),
        }


@dataclass(frozen=True)
class Catalogued:
    """A data set of TFDS; a part is one split. It is prepared where TFDS keeps its data."""

    name: str
    classes: Classes | None
    recipe: Recipe
    table: np.ndarray
    """uint8 [256]: what each number in the files becomes."""
    cache: Path | str | None

    def check(self, train: Sequence[str], val: Sequence[str]) -> None:
        """Whether the splits are there and share no record.

        Raises:
          SegjaxError: one is not, or they do.
        """
        trained = self._ranges(train)
        for file, start, stop in self._ranges(val):
            for other, begin, end in trained:
                if file == other and begin < stop and start < end:
                    raise SegjaxError(
                        f"{train[0]} and {val[0]} of {self.name} share records; pictures that "
                        "measure are never trained on; choose splits such as train[:90%] and "
                        "train[90%:]"
                    )

    def _ranges(self, part: Sequence[str]) -> list[tuple[str, int, int]]:
        """The records of a part: file, the first, and the one behind the last."""
        split = self._split(part)
        pieces = self._prepared().info.splits[split].file_instructions
        return [(piece.filename, piece.skip, piece.skip + piece.take) for piece in pieces]

    def open(self, part: Sequence[str]) -> NamedSource:
        """The pictures of a split."""
        split = self._split(part)
        records = _builders().open_split(
            self._prepared(), split, raw=(self.recipe.image, self.recipe.truth)
        )
        return Records(split, records, self.recipe, self.table)

    def _split(self, part: Sequence[str]) -> str:
        known = self._prepared().info.splits
        try:
            (split,) = part
            _ = known[split]
        except (KeyError, ValueError):
            raise SegjaxError(
                f"{', '.join(part)} is no split of {self.name}; it has {', '.join(known)}, and "
                "parts of them such as train[:90%]; give one"
            ) from None
        return split

    def _prepared(self) -> Any:
        return _builders().find_builder(self.name, self.cache)


def _builders() -> Any:
    """The module that imports TFDS."""
    try:
        return importlib.import_module("segjax.data.builder")
    except ModuleNotFoundError as error:
        raise SegjaxError(
            f"the module {error.name} is missing; training data is read through it; "
            "run: pip install 'segjax[train]'"
        ) from error


def find_catalogued(
    name: str, classes: int, *, ignore: Sequence[int] = (), cache: Path | str | None = None
) -> Catalogued:
    """The data set `name` (NAME, NAME/CONFIG, NAME:VERSION) for a model of so many classes.

    Raises:
      SegjaxError: it is not in the table, or has another number of classes.
    """
    recipe = RECIPES.get(name.partition(":")[0])
    if recipe is None:
        raise SegjaxError(
            f"{PREFIX}{name} is not known; known are {', '.join(RECIPES)}; give one of them, or "
            "write the pictures into a folder"
        )
    if classes not in (1, len(recipe.names)):
        raise SegjaxError(
            f"{PREFIX}{name} has {len(recipe.names)} classes, the model has {classes}; both must "
            "agree, or the model have 1; set model.classes"
        )
    if classes == 1:
        return Catalogued(name, None, recipe, _table(recipe.mask, 0), cache)
    known = Classes(recipe.names, palette(classes), tuple(ignore))
    counted = {number: label for number, label in recipe.labels.items() if label not in ignore}
    return Catalogued(name, known, recipe, _table(counted, IGNORE), cache)


def _table(values: dict[int, int], otherwise: int) -> np.ndarray:
    table = np.full(256, otherwise, np.uint8)
    table[list(values)] = list(values.values())
    return table
