"""Finds what is wrong with a data folder before hours of training do."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.progress import track

from segjax.data.folders import find_files, select
from segjax.errors import SegjaxError
from segjax.images import is_image, read_image, read_mask

SHOWN = 5
"""Kinds of problems that one error names; the rest it counts."""

Problem = tuple[str, str]
"""A file or stem, and what is wrong with it."""


def check(
    root: Path | str, train: Sequence[str] = ("train.txt",), val: Sequence[str] = ("val.txt",)
) -> None:
    """Checks the lists, that every picture has its mask, and every listed pair by decoding it.

    Several lists mean their intersection, none at all that this part is not used. Takes about
    half a millisecond a pair.

    Raises:
      SegjaxError: all that was found, by kind, with the first file's name and the count of files.
    """
    root = Path(root)
    problems: dict[str, list[str]] = {}
    for where, what in find_problems(root, train, val):
        problems.setdefault(what, []).append(where)
    if not problems:
        return
    lines = [
        names[0] + (f" (and {len(names) - 1:,} more)" if len(names) > 1 else "") + f" {what}"
        for what, names in problems.items()
    ]
    count = sum(len(names) for names in problems.values())
    more = f" | and {len(lines) - SHOWN} more kinds" if len(lines) > SHOWN else ""
    raise SegjaxError(
        f"{root} has {count:,} problem{'s' if count > 1 else ''}: {' | '.join(lines[:SHOWN])}{more}"
    )


def find_problems(root: Path, train: Sequence[str], val: Sequence[str]) -> Iterator[Problem]:
    """Gives each problem of the folder as (file, what is wrong; the rule; the remedy)."""
    try:
        images, masks = find_files(root / "images"), find_files(root / "masks")
    except SegjaxError as error:
        yield str(root), f"lacks a folder: {error}"
        return
    yield from _twins(root / "images")
    yield from _twins(root / "masks")
    for stem in sorted(images.keys() - masks.keys()):
        yield (
            f"images/{images[stem].name}",
            "has no mask; each picture needs masks/ with the same stem; add it or remove the file",
        )
    for stem in sorted(masks.keys() - images.keys()):
        yield (
            f"masks/{masks[stem].name}",
            "has no picture; each mask needs one in images/ with the same stem; add it or remove "
            "the file",
        )
    chosen: list[list[str]] = []
    for lists in (train, val):
        try:
            chosen.append(select(root, lists) if lists else [])
        except SegjaxError as error:
            chosen.append([])
            yield ", ".join(lists), f"cannot be used: {error}"
    for stem in sorted(set(chosen[0]).intersection(chosen[1])):
        yield (
            stem,
            f"stands in {' and '.join(train)} as well as in {' and '.join(val)}; pictures that "
            "measure are never trained on; remove it from one list",
        )
    listed = dict.fromkeys([*chosen[0], *chosen[1]])
    for stem in listed:
        if stem not in images and stem not in masks:
            yield (
                stem,
                "is listed but has neither picture nor mask; a list names stems of images/ and "
                "masks/; remove it or add the files",
            )
    pairs = [(images[stem], masks[stem]) for stem in listed if stem in images and stem in masks]
    with ThreadPoolExecutor() as threads:
        found = threads.map(_check_pair, pairs)
        console = Console(stderr=True)
        progress = track(found, "checking the data", len(pairs), console=console, transient=True)
        for problems in progress:
            yield from problems


def _twins(folder: Path) -> Iterator[Problem]:
    """Files of one stem, of which only one would be read."""
    seen: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if is_image(path) and path.stem in seen:
            yield (
                f"{folder.name}/{path.name}",
                f"has the stem of {seen[path.stem]}; one file a stem is read; remove one",
            )
        seen[path.stem] = path.name


def _check_pair(pair: tuple[Path, Path]) -> list[Problem]:
    image_path, mask_path = pair
    name = f"masks/{mask_path.name}"
    try:
        image = read_image(image_path)
        if _has_palette(mask_path):
            return [
                (
                    name,
                    "is a palette picture; a mask is one grey channel, 0 room and 255 person; "
                    "save it as grey PNG",
                )
            ]
        mask = read_mask(mask_path)
    except SegjaxError as error:
        return [(f"{image_path.stem}:", str(error))]
    problems = []
    if mask.shape != image.shape[:2]:
        problems.append(
            (
                name,
                f"is {mask.shape[1]}x{mask.shape[0]} pixels but images/{image_path.name} is "
                f"{image.shape[1]}x{image.shape[0]}; both must agree; resize the mask",
            )
        )
    if mask.max() == 1:
        problems.append(
            (
                name,
                "holds only the values 0 and 1; a person is 255, in between is the soft edge; "
                "multiply the masks by 255",
            )
        )
    return problems


def _has_palette(path: Path) -> bool:
    """Whether a PNG stores colours by number, which decoding would turn into their colours."""
    with path.open("rb") as file:
        header = file.read(26)
    return header.startswith(b"\x89PNG") and len(header) == 26 and header[25] == 3
