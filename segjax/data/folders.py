"""Folders of pictures and masks or labels, prepared once by TensorFlow Datasets, then read fast.

    root/images/NAME.jpg    (or .png, .jpeg, .webp …)
    root/masks/NAME.png     of one class: one grey channel, 0 room … 255 person
    root/labels/NAME.png    of several: see `segjax.data.classes`
    root/train.txt          a list: one stem (NAME) a line

TensorFlow itself is not needed: files are handed to TFDS by path, the copy is in ArrayRecord
format, and reading decodes with OpenCV.
"""

import functools
import hashlib
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from segjax.data import Item
from segjax.data.classes import Classes, read_labels
from segjax.errors import SegjaxError
from segjax.images import decode_image, is_image

LAYOUT = "a data folder holds images/, masks/ or labels/, and lists of stems such as train.txt"


def default_cache() -> Path:
    """Where prepared copies go unless told otherwise."""
    return Path.home() / ".cache" / "segjax" / "data"


def read_list(path: Path | str) -> list[str]:
    """The stems in a list, in its order; blank lines are passed over.

    Raises:
      SegjaxError: the list is missing, unreadable or without any stem.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise SegjaxError(f"{path} does not exist; {LAYOUT}; give the name of a list") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SegjaxError(f"cannot read {path}: {error}; a list is text, one stem a line") from None
    stems = [line.strip() for line in lines if line.strip()]
    if not stems:
        raise SegjaxError(f"{path} is empty; a list holds one stem a line; write the stems into it")
    return stems


def select(root: Path | str, lists: Sequence[str]) -> list[str]:
    """The stems that stand in every one of `lists` (file names in `root`), in the first's order.

    Raises:
      SegjaxError: a list is missing or empty, or no stem stands in all of them.
    """
    first, *others = [read_list(Path(root) / name) for name in lists]
    chosen = set(first).intersection(*others)
    stems = [stem for stem in dict.fromkeys(first) if stem in chosen]
    if not stems:
        raise SegjaxError(
            f"no stem stands in all of {', '.join(lists)} of {root}; "
            "several lists mean their intersection; give lists that overlap"
        )
    return stems


def draw_weights(
    root: Path | str, stems: Sequence[str], favoured: str, favour: float
) -> list[float] | None:
    """How often each stem is drawn: `favour` times as often if it stands in the list `favoured`.

    None, which means alike, if `favoured` is empty.

    Raises:
      SegjaxError: the list is missing or empty, or none of the stems stands in it.
    """
    if not favoured:
        return None
    chosen = set(read_list(Path(root) / favoured))
    if not chosen.intersection(stems):
        raise SegjaxError(
            f"none of the {len(stems)} pictures to train on stands in {favoured}; data.favoured is "
            "a list of some of them; correct it or leave it out"
        )
    return [favour if stem in chosen else 1.0 for stem in stems]


def find_files(folder: Path) -> dict[str, Path]:
    """The pictures in `folder` by their stem.

    Raises:
      SegjaxError: the folder is missing.
    """
    if not folder.is_dir():
        raise SegjaxError(f"{folder} is no folder; {LAYOUT}; give the folder above it")
    return {path.stem: path for path in sorted(folder.iterdir()) if is_image(path)}


def find_pairs(
    root: Path | str, stems: Sequence[str], truths: str = "masks"
) -> list[tuple[Path, Path]]:
    """The picture and mask files of every stem, or label files with `truths="labels"`.

    Raises:
      SegjaxError: a folder or a file is missing.
    """
    images, masks = (find_files(Path(root) / name) for name in ("images", truths))
    for stem in stems:
        for files, name in ((images, "images"), (masks, truths)):
            if stem not in files:
                raise SegjaxError(
                    f"{Path(root) / name} has no file for the stem {stem!r}; every listed stem "
                    f"needs a file in images and in {truths}; add it or unlist it"
                )
    return [(images[stem], masks[stem]) for stem in stems]


class FolderSource:
    """An indexable data set over a folder: `source[i]` is the item of `source.stems[i]`.

    Reading is safe from several threads.
    """

    def __init__(self, stems: Sequence[str], records: Any):
        self.stems = list(stems)
        self._records = records

    def __len__(self) -> int:
        return len(self.stems)

    def __getitem__(self, index: int, /) -> Item:
        record = self._records[index]
        mask = cv2.imdecode(np.frombuffer(record["mask"], np.uint8), cv2.IMREAD_GRAYSCALE)
        if mask is None:
            raise SegjaxError(
                f"the mask of {self.stems[index]!r} cannot be decoded; PNG is read; run the linter "
                "on the folder and replace what it names"
            )
        return {"image": decode_image(record["image"], repr(self.stems[index])), "mask": mask}


def open_folder(
    root: Path | str,
    lists: Sequence[str] = ("train.txt",),
    *,
    classes: Classes | None = None,
    cache: Path | str | None = None,
) -> FolderSource:
    """Opens the pictures whose stems stand in all of `lists`, in the first list's order.

    With `classes` their masks are the labels of labels/, else those of masks/. The first call
    writes a copy under `cache` (default `~/.cache/segjax/data`), with a progress bar. The copy is
    named by a digest of the stems, of the files' sizes and times and of the classes, so that
    changed data is prepared anew.

    Raises:
      SegjaxError: a list or file is missing, a label is no class, or TensorFlow Datasets is not
        installed.
    """
    stems = select(root, lists)
    pairs = find_pairs(root, stems, "labels" if classes else "masks")
    try:
        builders = importlib.import_module("segjax.data.builder")
    except ModuleNotFoundError as error:
        raise SegjaxError(
            f"the module {error.name} is missing; training data is read through it; "
            "run: pip install 'segjax[train]'"
        ) from error
    read = functools.partial(read_labels, classes=classes) if classes else None
    digest = _digest(pairs, classes)
    return FolderSource(stems, builders.prepare(pairs, digest, cache or default_cache(), read))


def _digest(pairs: Sequence[tuple[Path, Path]], classes: Classes | None) -> str:
    digest = hashlib.sha256()
    if classes:
        digest.update(f"{len(classes)}\0{classes.ignore}\0{classes.code}\n".encode())
    for path in (path.resolve() for pair in pairs for path in pair):
        status = path.stat()
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
