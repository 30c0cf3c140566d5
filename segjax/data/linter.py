"""Finds what is wrong with a data folder before hours of training do.

A problem stops a run: a missing or broken file, a label of no class, a stem in two lists. A doubt
is told and may be right: a class that a part has not, or two parts that share a picture.
"""

import functools
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from segjax.data.classes import Classes, read_labels
from segjax.data.folders import find_files, select
from segjax.errors import SegjaxError
from segjax.images import is_image, read_image, read_mask

SHOWN = 5
"""Kinds of problems that one error names; the rest it counts."""

HASH_BITS = 10
"""Near-identical pictures have difference hashes (8x8, 64 bits) that differ in at most so many …"""

THUMBNAIL_LEVELS = 12
"""… and grey thumbnails of 32x32 pixels that differ by at most so many of 255 levels on average.

Of 3.3 million pairs of photographs the first rule alone lets pass some 700, which are much alike in
their darks and lights only, and both together two, which are the same photograph edited.
"""

Finding = tuple[str, str]
"""A file, stem or list, and what is wrong with it; the rule; the remedy."""


class Findings(NamedTuple):
    """What is wrong with a folder."""

    problems: list[Finding]
    doubts: list[Finding]


class Seen(NamedTuple):
    """What is remembered of a pair of files."""

    problems: list[Finding]
    pixels: np.ndarray
    """int64 [256]: by label."""
    thumbnail: np.ndarray
    """uint8 [32, 32], grey."""


def check(
    root: Path | str,
    train: Sequence[str] = ("train.txt",),
    val: Sequence[str] = ("val.txt",),
    *,
    classes: Classes | None = None,
) -> None:
    """Checks the lists, that every picture has its mask, and every listed pair by decoding it.

    With `classes` it is labels/ that is looked at, else masks/. Several lists mean their
    intersection, none at all that this part is not used. Doubts are printed to stderr.

    Raises:
      SegjaxError: all problems, by kind, with the first file's name and the count of files.
    """
    root = Path(root)
    problems, doubts = inspect(root, train, val, classes)
    for line in _by_kind(doubts):
        print(f"warning: {line}", file=sys.stderr)
    if problems:
        lines = _by_kind(problems)
        plural = "s" if len(problems) > 1 else ""
        rest = len(lines) - SHOWN
        more = f" | and {rest} more kind{'s' if rest > 1 else ''}" if rest > 0 else ""
        shown = " | ".join(lines[:SHOWN])
        raise SegjaxError(f"{root} has {len(problems):,} problem{plural}: {shown}{more}")


def _by_kind(findings: list[Finding]) -> list[str]:
    """A line a kind, with the first file's name and the count of files."""
    kinds: dict[str, list[str]] = {}
    for where, what in findings:
        kinds.setdefault(what, []).append(where)
    return [
        names[0] + (f" (and {len(names) - 1:,} more)" if len(names) > 1 else "") + f" {what}"
        for what, names in kinds.items()
    ]


def inspect(
    root: Path, train: Sequence[str], val: Sequence[str], classes: Classes | None = None
) -> Findings:
    """All that is wrong with the folder; see `check`."""
    truths, truth = ("labels", "label file") if classes else ("masks", "mask")
    try:
        images, masks = find_files(root / "images"), find_files(root / truths)
    except SegjaxError as error:
        return Findings([(str(root), f"lacks a folder: {error}")], [])
    problems = [*_twins(root / "images"), *_twins(root / truths)]
    problems += _unpaired(images, masks, truths, truth)
    parts: list[list[str]] = []
    for lists in (train, val):
        try:
            parts.append(select(root, lists) if lists else [])
        except SegjaxError as error:
            parts.append([])
            problems.append((", ".join(lists), f"cannot be used: {error}"))
    shared = set(parts[0]).intersection(parts[1])
    for stem in sorted(shared):
        what = (
            f"stands in {' and '.join(train)} as well as in {' and '.join(val)}; pictures that "
            "measure are never trained on; remove it from one list"
        )
        problems.append((stem, what))
    listed = dict.fromkeys([*parts[0], *parts[1]])
    for stem in listed:
        if stem not in images and stem not in masks:
            what = (
                f"is listed but has neither picture nor {truth}; a list names stems of images/ "
                f"and {truths}/; remove it or add the files"
            )
            problems.append((stem, what))
    whole = [stem for stem in listed if stem in images and stem in masks]
    seen = _look(root, [(images[stem], masks[stem]) for stem in whole], classes)
    problems += [problem for one in seen for problem in one.problems]
    by_stem = dict(zip(whole, seen, strict=True))
    trained, measured = ({s: by_stem[s] for s in part if s in by_stem} for part in parts)
    doubts = [
        *_missing_classes(train, trained, classes),
        *_missing_classes(val, measured, classes),
        *_leaks(trained, {stem: one for stem, one in measured.items() if stem not in shared}),
    ]
    return Findings(problems, doubts)


def _unpaired(
    images: dict[str, Path], masks: dict[str, Path], truths: str, truth: str
) -> Iterator[Finding]:
    for stem in sorted(images.keys() - masks.keys()):
        yield (
            f"images/{images[stem].name}",
            f"has no {truth}; each picture needs one in {truths}/ with the same stem; add it or "
            "remove the file",
        )
    for stem in sorted(masks.keys() - images.keys()):
        yield (
            f"{truths}/{masks[stem].name}",
            f"has no picture; each {truth} needs one in images/ with the same stem; add it or "
            "remove the file",
        )


def _look(root: Path, pairs: Sequence[tuple[Path, Path]], classes: Classes | None) -> list[Seen]:
    """Decodes all pairs, in threads: OpenCV leaves Python's lock to the others meanwhile."""
    with ThreadPoolExecutor() as threads:
        found = threads.map(functools.partial(_check_pair, root, classes), pairs)
        console = Console(stderr=True)
        return list(track(found, "checking the data", len(pairs), console=console, transient=True))


def _missing_classes(
    lists: Sequence[str], seen: dict[str, Seen], classes: Classes | None
) -> Iterator[Finding]:
    if not classes or not seen:
        return
    pixels = np.sum([one.pixels for one in seen.values()], axis=0)
    for number, name in enumerate(classes.names):
        if pixels[number] == 0 and number not in classes.ignore:
            yield (
                " and ".join(lists),
                f"holds no pixel of class {number} ({name}); what never occurs is neither learnt "
                "nor measured; add pictures of it, or leave the class out",
            )


def _leaks(train: dict[str, Seen], val: dict[str, Seen]) -> Iterator[Finding]:
    """Pictures of `val` that are in `train` too, mirrored or not, under another name."""
    if not train or not val:
        return
    names = list(train)
    hashes = np.array([_hash(one.thumbnail) for one in train.values()])
    thumbnails = np.array([one.thumbnail for one in train.values()])
    for stem, one in val.items():
        for thumbnail in (one.thumbnail, one.thumbnail[:, ::-1]):
            alike = np.flatnonzero(np.bitwise_count(hashes ^ _hash(thumbnail)) <= HASH_BITS)
            near = [
                index
                for index in alike
                if cv2.absdiff(thumbnails[index], thumbnail).mean() <= THUMBNAIL_LEVELS
            ]
            if near:
                yield (
                    f"{stem} and {names[near[0]]}",
                    "are nearly the same picture, one to measure and one to train on; what was "
                    "learnt by heart measures nothing; leave one out",
                )
                break


def _twins(folder: Path) -> Iterator[Finding]:
    """Files of one stem, of which only one would be read."""
    seen: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if is_image(path) and path.stem in seen:
            yield (
                f"{folder.name}/{path.name}",
                f"has the stem of {seen[path.stem]}; one file a stem is read; remove one",
            )
        seen[path.stem] = path.name


def _check_pair(root: Path, classes: Classes | None, pair: tuple[Path, Path]) -> Seen:
    image_path, mask_path = pair
    image_name, name = (path.relative_to(root).as_posix() for path in pair)
    problems: list[Finding] = []
    seen = Seen(problems, np.zeros(256, np.int64), np.zeros((32, 32), np.uint8))
    try:
        image = read_image(image_path)
    except SegjaxError as error:
        problems.append(_without_path(image_name, image_path, error))
        return seen
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    seen = seen._replace(thumbnail=cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA))
    try:
        if classes:
            mask = read_labels(mask_path, classes)
        elif _has_palette(mask_path):
            problems.append(
                (
                    name,
                    "is a palette picture; a mask is one grey channel, 0 room and 255 person; "
                    "save it as grey PNG",
                )
            )
            return seen
        else:
            mask = read_mask(mask_path)
    except SegjaxError as error:
        problems.append(_without_path(name, mask_path, error))
        return seen
    if mask.shape != image.shape[:2]:
        problems.append(
            (
                name,
                f"is {mask.shape[1]}x{mask.shape[0]} pixels but {image_name} is "
                f"{image.shape[1]}x{image.shape[0]}; both must agree; resize it",
            )
        )
    if not classes and mask.max() == 1:
        problems.append(
            (
                name,
                "holds only the values 0 and 1; a person is 255, in between is the soft edge; "
                "multiply the masks by 255",
            )
        )
    return seen._replace(pixels=np.bincount(mask.ravel(), minlength=256))


def _without_path(name: str, path: Path, error: SegjaxError) -> Finding:
    """What readers say of a file, so that all files that are wrong alike are one kind."""
    return name, str(error).removeprefix(f"{path} ")


def _hash(thumbnail: np.ndarray) -> np.uint64:
    """64 bits: where the picture, at 9x8, gets brighter to the right."""
    few = cv2.resize(thumbnail, (9, 8), interpolation=cv2.INTER_AREA)
    return np.packbits(few[:, 1:] > few[:, :-1]).view(np.uint64)[0]


def _has_palette(path: Path) -> bool:
    """Whether a PNG stores colours by number, which decoding would turn into their colours."""
    with path.open("rb") as file:
        header = file.read(26)
    return header.startswith(b"\x89PNG") and len(header) == 26 and header[25] == 3
