"""Finds the data that a config names."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from segjax.data import NamedSource
from segjax.data.catalog import PREFIX, find_catalogued
from segjax.data.classes import Classes, read_classes
from segjax.data.folders import open_folder
from segjax.data.linter import check
from segjax.errors import SegjaxError


class Data(Protocol):
    """Pictures with the mask of one class or the labels of several, in parts."""

    @property
    def classes(self) -> Classes | None:
        """What the labels mean; None where masks are soft."""
        ...

    def check(self, train: Sequence[str], val: Sequence[str]) -> None:
        """Raises a SegjaxError that names what is wrong with the parts."""
        ...

    def open(self, part: Sequence[str]) -> NamedSource:
        """The pictures of a part; SegjaxError where something is missing."""
        ...


@dataclass(frozen=True)
class Folder:
    """A data folder; a part is the intersection of lists. See `segjax.data.folders`."""

    root: str
    classes: Classes | None
    cache: Path | str | None

    def check(self, train: Sequence[str], val: Sequence[str]) -> None:
        """See `segjax.data.linter`."""
        check(self.root, train, val, classes=self.classes)

    def open(self, part: Sequence[str]) -> NamedSource:
        """See `segjax.data.folders.open_folder`."""
        return open_folder(self.root, part, classes=self.classes, cache=self.cache)


def find_data(
    root: str,
    *,
    classes: int = 1,
    ignore: Sequence[int] = (),
    names: Sequence[str] = (),
    cache: Path | str | None = None,
) -> Data:
    """The data at `root`: the fields of a config's data, and the classes of its model.

    Args:
      root: a data folder, or tfds:NAME; see `segjax.data.folders` and `segjax.data.catalog`.
      classes: how many the model tells apart; with 1, masks are soft.
      ignore: ids in label files that do not count.
      names: of the classes, where a folder has no `classes.txt`.
      cache: where prepared copies go (default `~/.cache/segjax/data`, and TFDS's own folder).

    Raises:
      SegjaxError: no such data set, `classes.txt` is malformed, or what there is does not fit
        `classes`.
    """
    if root.startswith(PREFIX):
        if names:
            raise SegjaxError(
                f"data.names is {', '.join(names)} and {root} names its own classes; leave it out"
            )
        return find_catalogued(root.removeprefix(PREFIX), classes, ignore=ignore, cache=cache)
    known = read_classes(root, classes, ignore=ignore, names=names) if classes > 1 else None
    return Folder(root, known, cache)
