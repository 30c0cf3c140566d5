"""Where pictures and masks come from, and how they become batches.

A data set is anything with a length that gives, for an index, an `Item`.
"""

from typing import Protocol, TypedDict

import numpy as np


class Item(TypedDict):
    """A picture and what is a person in it."""

    image: np.ndarray
    """uint8 [H, W, 3], RGB."""
    mask: np.ndarray
    """uint8 [H, W]: 255 is a person, 0 is not, between is the soft edge."""


class Source(Protocol):
    """What every data set here is."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Item: ...
