"""Pictures and their masks or labels, read from the files themselves when they are asked for.

What measures looks at each picture once: no copy is prepared for that, as `folders` has it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segjax.data import Item
from segjax.data.classes import Classes, read_labels
from segjax.errors import SegjaxError
from segjax.images import read_image, read_mask


class FileSource:
    """An indexable data set of picture files and, with `classes`, label files, else mask files."""

    def __init__(self, pairs: Sequence[tuple[Path, Path]], classes: Classes | None = None):
        self.stems = [image.stem for image, _ in pairs]
        self._pairs, self._classes = pairs, classes

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int, /) -> Item:
        pixels, true = read_pair(*self._pairs[index], self._classes)
        return {"image": pixels, "mask": true}


def read_pair(
    image: Path, truth: Path, classes: Classes | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The picture, uint8 [H, W, 3], and its true mask, uint8 [H, W], or labels by `read_labels`.

    Raises:
      SegjaxError: a file cannot be read, the sizes differ, a label is no class, or a mask holds 0
        and 1.
    """
    pixels = read_image(image)
    true = read_labels(truth, classes) if classes else read_mask(truth)
    if true.shape != pixels.shape[:2]:
        sizes = [f"{a.shape[1]}x{a.shape[0]}" for a in (true, pixels)]
        raise SegjaxError(
            f"{truth} is {sizes[0]}, its picture {sizes[1]}; both need one size; make it anew"
        )
    if classes is None and true.max() == 1:
        raise SegjaxError(
            f"{truth} holds only 0 and 1; the person is 255 in a mask; multiply it by 255"
        )
    return pixels, true
