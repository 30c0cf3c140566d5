"""Where pictures and masks come from, and how they become batches.

A data set is anything with a length that gives, for an index, an `Item`.
"""

from typing import Protocol, TypedDict

import numpy as np

IGNORE = 255
"""In a map of labels: nothing counts here, neither in a loss nor in a metric."""


class Item(TypedDict):
    """A picture and what is in it."""

    image: np.ndarray
    """uint8 [H, W, 3], RGB."""
    mask: np.ndarray
    """uint8 [H, W]. Of one class: 255 is a person, 0 is not, between is the soft edge. Of several:
    labels 0 … classes - 1, and `IGNORE` where nothing counts."""


class Source(Protocol):
    """What every data set here is."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Item: ...


class NamedSource(Source, Protocol):
    """A data set that knows what its items are called."""

    stems: list[str]
    """One name an item: a file's without its suffix."""
