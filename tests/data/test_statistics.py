"""Class weights by the median frequency, by hand."""

import numpy as np

from segjax.data import IGNORE, Item
from segjax.data.statistics import count_pixels, median_frequency_weights


class Scenes:
    """Two pictures of three classes, of which the last is in neither."""

    masks = np.array([[[0, 0, 0, 1], [0, 0, 0, IGNORE]], [[0, 0, 0, 0], [0, 0, 0, 0]]], np.uint8)

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int, /) -> Item:
        return {"image": np.zeros((2, 4, 3), np.uint8), "mask": self.masks[index]}


def test_ignored_pixels_count_nowhere():
    counts = count_pixels(Scenes(), 3)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, [14, 1, 0])


def test_a_class_counts_in_the_pictures_that_it_is_in():
    # 14 of the 15 pixels of both, 1 of the 7 of the first; the median is their mean.
    frequencies = np.array([14 / 15, 1 / 7])
    weights = median_frequency_weights(Scenes(), 3)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, [*(frequencies.mean() / frequencies), 0], rtol=1e-6)
