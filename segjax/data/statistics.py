"""How often each class occurs, and the weights that make up for it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from segjax.data import Source


def count_pixels(source: Source, classes: int) -> np.ndarray:
    """int64 [C]: the pixels of each class; what is ignored counts nowhere."""
    return _histograms(source, classes).sum(axis=0)


def median_frequency_weights(source: Source, classes: int) -> np.ndarray:
    """float32 [C]: the median of the classes' frequencies, divided by each class's own.

    A class's frequency is its share of the pixels of those pictures that it occurs in (Eigen &
    Fergus, 2015). A class that never occurs gets 0 and does not count for the median.
    """
    counts = _histograms(source, classes)
    pixels = counts.sum(axis=0)
    around = ((counts > 0) * counts.sum(axis=1, keepdims=True)).sum(axis=0)
    seen = pixels > 0
    frequency = pixels[seen] / around[seen]
    weights = np.zeros(classes, np.float32)
    weights[seen] = np.median(frequency) / frequency if seen.any() else 0
    return weights


def _histograms(source: Source, classes: int) -> np.ndarray:
    """int64 [N, C]: the pixels of each class in each picture."""

    def count(index: int) -> np.ndarray:
        return np.bincount(source[index]["mask"].ravel(), minlength=256)[:classes]

    with ThreadPoolExecutor() as threads:
        return np.array(list(threads.map(count, range(len(source))))).reshape(-1, classes)
