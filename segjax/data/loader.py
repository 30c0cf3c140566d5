"""Batches for training: grain shuffles, augments in threads and prefetches."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import grain
import numpy as np

from segjax.data import Source
from segjax.data.transforms import Augmentation, augment, resize_to

Bucket = tuple[tuple[int, int], float]
"""A batch's size (height, width) and how often it is used, relative to the other buckets."""


@dataclasses.dataclass(frozen=True)
class _Augment:
    """Item `position` of the endless sequence: a function of the seed and the position alone."""

    source: Source
    buckets: Sequence[Bucket]
    batch_size: int
    seed: int
    strengths: Augmentation | None

    def size(self, batch: int) -> tuple[int, int]:
        weights = np.array([weight for _, weight in self.buckets], float)
        rng = np.random.default_rng((self.seed, 0, batch))
        return self.buckets[rng.choice(len(weights), p=weights / weights.sum())][0]

    def __call__(self, position: int, index: int) -> dict[str, np.ndarray]:
        size = self.size(position // self.batch_size)
        item = self.source[int(index)]
        if self.strengths is None:
            image, mask = resize_to(item["image"], item["mask"], size)
        else:
            rng = np.random.default_rng((self.seed, 1, position))
            image, mask = augment(
                rng,
                item["image"],
                item["mask"],
                size,
                self.strengths,
                lambda: self.source[int(rng.integers(len(self.source)))],
            )
        return {"image": image, "mask": mask}


def train_batches(
    source: Source,
    *,
    batch_size: int,
    buckets: Sequence[Bucket],
    seed: int,
    augmentation: Augmentation | None,
    weights: Sequence[float] | None = None,
    start_step: int = 0,
    threads: int = 2,
    prefetch: int = 4,
) -> Iterator[dict[str, np.ndarray]]:
    """Endless batches `{"image": uint8 [B, h, w, 3], "mask": uint8 [B, h, w]}`.

    Every batch has one of the buckets' sizes. Each epoch is shuffled anew. Batch n depends on
    `seed`, n and the other arguments only, whatever the threads do and wherever it starts: a run
    that resumes with `start_step=n` sees batch n first.

    Args:
      source: the pictures; also where other rooms for the background swap come from.
      batch_size: B, items in a batch.
      buckets: sizes and their weights.
      seed: of the order, the sizes and the augmentation.
      augmentation: its strengths; None resizes only.
      weights: how often an item is drawn relative to the others, one a picture, at least 0.
        Items of equal weight are shuffled together, so that each is seen once before any is seen
        again.
      start_step: the first batch given.
      threads: that make batches.
      prefetch: batches kept ready.

    Raises:
      ValueError: no picture, no bucket, or weights that do not fit.
    """
    if len(source) == 0 or not buckets or batch_size < 1:
        raise ValueError(
            f"got {len(source)} pictures, {len(buckets)} buckets, batches of {batch_size}; "
            "each must be at least 1"
        )
    cv2.setNumThreads(0)  # the threads are grain's: OpenCV's own would fight them
    make = _Augment(source, tuple(buckets), batch_size, seed, augmentation)
    dataset = (
        _order(len(source), weights, seed)
        .map_with_index(make)
        .batch(batch_size, drop_remainder=True)
        .slice(slice(start_step, None))
    )
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch)
    return iter(dataset.to_iter_dataset(options))


def _order(count: int, weights: Sequence[float] | None, seed: int) -> grain.MapDataset[Any]:
    """The endless sequence of the items' indices."""
    values = np.ones(count) if weights is None else np.asarray(weights, float)
    if values.shape != (count,) or values.min() < 0 or values.max() <= 0:
        raise ValueError(f"got weights {values.shape}; one each for {count} pictures, some above 0")
    distinct = [value for value in np.unique(values) if value > 0]
    groups = [np.flatnonzero(values == value) for value in distinct]
    streams = [
        grain.MapDataset.source(group.tolist()).shuffle(seed=seed + number).repeat()
        for number, group in enumerate(groups)
    ]
    if len(streams) == 1:
        return streams[0]
    shares = [value * len(group) for value, group in zip(distinct, groups, strict=True)]
    return grain.MapDataset.mix(streams, weights=(np.array(shares) / sum(shares)).tolist())
