"""Batches for training: grain shuffles, augments in threads or processes, and prefetches."""

import dataclasses
import signal
from collections.abc import Generator, Sequence
from typing import Any

import cv2
import grain
import numpy as np
from absl import flags

from segjax.data import Source
from segjax.data.scene import SceneAugmentation, augment_scene
from segjax.data.views import resize_to
from segjax.data.webcam import Augmentation, augment

Bucket = tuple[tuple[int, int], float]
"""A batch's size (height, width) and how often it is used, relative to the other buckets."""

Strengths = Augmentation | SceneAugmentation | None
"""How items are changed: as those of a webcam, as any scene, or only resized."""


@dataclasses.dataclass(frozen=True)
class _Augment:
    """Item `position` of the endless sequence: a function of the seed and the position alone."""

    source: Source
    buckets: Sequence[Bucket]
    batch_size: int
    seed: int
    strengths: Strengths
    labels: bool

    def size(self, batch: int) -> tuple[int, int]:
        weights = np.array([weight for _, weight in self.buckets], float)
        rng = np.random.default_rng((self.seed, 0, batch))
        return self.buckets[rng.choice(len(weights), p=weights / weights.sum())][0]

    def __call__(self, position: int, index: int) -> dict[str, np.ndarray]:
        size = self.size(position // self.batch_size)
        item = self.source[int(index)]
        rng = np.random.default_rng((self.seed, 1, position))
        match self.strengths:
            case None:
                image, mask = resize_to(item["image"], item["mask"], size, labels=self.labels)
            case SceneAugmentation() as strengths:
                image, mask = augment_scene(
                    rng, item["image"], item["mask"], size, strengths, labels=self.labels
                )
            case strengths:
                image, mask = augment(
                    rng,
                    item["image"],
                    item["mask"],
                    size,
                    strengths,
                    lambda: self.source[int(rng.integers(len(self.source)))],
                )
        return {"image": image, "mask": mask}


def train_batches(
    source: Source,
    *,
    batch_size: int,
    buckets: Sequence[Bucket],
    seed: int,
    augmentation: Strengths,
    classes: int = 1,
    weights: Sequence[float] | None = None,
    start_step: int = 0,
    threads: int = 2,
    workers: int = 0,
    prefetch: int = 4,
    process_index: int = 0,
    process_count: int = 1,
) -> Generator[dict[str, np.ndarray]]:
    """Endless batches `{"image": uint8 [B, h, w, 3], "mask": uint8 [B, h, w]}`.

    Every batch has one of the buckets' sizes. Each epoch is shuffled anew. Batch n depends on
    `seed`, n and the other arguments only, whatever the threads and workers do and wherever it
    starts: a run that resumes with `start_step=n` sees batch n first.

    Of several processes that train together each gets its rows of the same batches: together, in
    their order, they hold what one process alone would get.

    Closing the generator ends the threads and workers.

    Args:
      source: the pictures; also where other rooms for the background swap come from.
      batch_size: items in a batch, over all processes. B is that divided by `process_count`.
      buckets: sizes and their weights.
      seed: of the order, the sizes and the augmentation.
      augmentation: its strengths; None resizes only.
      classes: 1 where masks are soft; more where they hold labels.
      weights: how often an item is drawn relative to the others, one a picture, at least 0.
        Items of equal weight are shuffled together, so that each is seen once before any is seen
        again.
      start_step: the first batch given.
      threads: that read and augment, in this process or in each of the workers.
      workers: processes that make batches; 0 makes them in this one. They share no memory with it
        and start anew, so `source` must be picklable, and a script that is not
        `if __name__ == "__main__"` would run again in each.
      prefetch: batches kept ready.
      process_index: which of the processes that train together this one is.
      process_count: how many they are.

    Raises:
      ValueError: no picture, no bucket, weights that do not fit, labels that would be changed like
        soft masks, or a batch that does not divide among the processes.
    """
    if len(source) == 0 or not buckets or batch_size < 1:
        raise ValueError(
            f"got {len(source)} pictures, {len(buckets)} buckets, batches of {batch_size}; "
            "each must be at least 1"
        )
    if classes > 1 and isinstance(augmentation, Augmentation):
        raise ValueError(
            f"got {classes} classes with the augmentation for webcams, which is for a soft mask; "
            "give SceneAugmentation"
        )
    if batch_size % process_count or not 0 <= process_index < process_count:
        raise ValueError(
            f"got batches of {batch_size} for process {process_index} of {process_count}; they "
            "must divide among the processes, which count from 0"
        )
    _prepare_threads()
    make = _Augment(source, tuple(buckets), batch_size, seed, augmentation, classes > 1)
    dataset = (
        _order(len(source), weights, seed)
        .map_with_index(make)
        .batch(batch_size // process_count, drop_remainder=True)
        .slice(slice(start_step * process_count + process_index, None, process_count))
    )
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch)
    batches = dataset.to_iter_dataset(options)
    if workers:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # grain's workers ask flags that only its own main parses
        kept = grain.MultiprocessingOptions(
            num_workers=workers, per_worker_buffer_size=-(-prefetch // workers)
        )
        batches = batches.mp_prefetch(kept, worker_init_fn=_prepare_worker)
    return _until_closed(batches)


def _until_closed(batches: grain.IterDataset[Any]) -> Generator[dict[str, np.ndarray]]:
    iterator = iter(batches)
    try:
        yield from iterator
    finally:
        iterator.close()


def _prepare_threads() -> None:
    cv2.setNumThreads(0)  # the threads are grain's: OpenCV's own would fight them


def _prepare_worker(index: int, count: int) -> None:
    del index, count
    _prepare_threads()
    # Ctrl-C reaches every process of a terminal; the one that trains decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


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
