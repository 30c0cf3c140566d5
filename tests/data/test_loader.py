"""Batches are a function of the seed and the step alone."""

import itertools
import multiprocessing
from collections import Counter

import numpy as np
import pytest

from segjax.data import IGNORE, Item
from segjax.data.loader import train_batches
from segjax.data.scene import SceneAugmentation
from segjax.data.synthetic import SyntheticPeople
from segjax.data.webcam import Augmentation

BUCKETS = (((32, 48), 0.6), ((48, 32), 0.4))
PEOPLE = SyntheticPeople(10, size=(36, 48))


class Numbered:
    """Pictures that hold their own index."""

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> Item:
        return {
            "image": np.full((16, 16, 3), index, np.uint8),
            "mask": np.full((16, 16), index, np.uint8),
        }


def people(**changes):
    options = {"batch_size": 3, "buckets": BUCKETS, "seed": 5, "augmentation": Augmentation()}
    return train_batches(PEOPLE, **(options | changes))


def drawn(count: int, steps: int, **options) -> np.ndarray:
    """The indices that the first batches hold, [steps, batch]."""
    batches = train_batches(Numbered(count), buckets=(((16, 16), 1),), augmentation=None, **options)
    return np.array([batch["mask"][:, 0, 0] for batch in itertools.islice(batches, steps)])


def assert_same(one, other):
    for key in ("image", "mask"):
        np.testing.assert_array_equal(one[key], other[key])


def test_batches_have_the_promised_shapes_and_types():
    sizes = set()
    for batch in itertools.islice(people(), 12):
        size = batch["image"].shape[1:3]
        assert batch["image"].shape == (3, *size, 3) and batch["mask"].shape == (3, *size)
        assert batch["image"].dtype == batch["mask"].dtype == np.uint8
        sizes.add(size)
    assert sizes == {(32, 48), (48, 32)}


def test_the_same_seed_gives_the_same_batches_whatever_the_threads():
    one = itertools.islice(people(threads=1, prefetch=1), 6)
    other = itertools.islice(people(threads=3, prefetch=5), 6)
    for a, b in zip(one, other, strict=True):
        assert_same(a, b)


def test_another_seed_gives_other_batches():
    one, other = next(people()), next(people(seed=6))
    assert one["image"].shape != other["image"].shape or (one["image"] != other["image"]).any()


@pytest.mark.parametrize("start", [0, 1, 4, 7])
def test_a_resumed_run_goes_on_with_the_same_batches(start):
    weights = [3.0 if index % 3 else 1.0 for index in range(10)]
    straight = list(itertools.islice(people(weights=weights), start + 2))
    resumed = people(weights=weights, start_step=start)
    for batch in straight[start:]:
        assert_same(next(resumed), batch)


def test_an_epoch_sees_each_picture_once_and_the_next_in_another_order():
    epochs = drawn(12, 9, batch_size=4, seed=0).reshape(3, 12)
    for epoch in epochs:
        assert sorted(epoch.tolist()) == list(range(12))
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 3


def test_weights_say_how_often_a_picture_is_drawn():
    weights = [0.0, 1.0, 1.0, 4.0]
    counts = Counter(drawn(4, 60, batch_size=10, seed=1, weights=weights).ravel().tolist())
    assert counts[0] == 0
    assert counts[1] == pytest.approx(100, abs=5) and counts[2] == pytest.approx(100, abs=5)
    assert counts[3] == pytest.approx(400, abs=10)


def test_bucket_weights_say_how_often_a_size_is_used():
    batches = train_batches(
        Numbered(4),
        batch_size=1,
        buckets=(((16, 16), 3.0), ((16, 32), 1.0), ((32, 16), 0.0)),
        seed=0,
        augmentation=None,
    )
    counts = Counter(batch["mask"].shape[1:] for batch in itertools.islice(batches, 200))
    assert counts[(16, 16)] == pytest.approx(150, abs=25)
    assert set(counts) == {(16, 16), (16, 32)}


def test_workers_give_the_batches_of_threads_and_end_when_closed():
    weights = [3.0 if index % 3 else 1.0 for index in range(10)]
    options = {"weights": weights, "start_step": 3, "threads": 1}
    threads, workers = people(**options), people(**options, workers=2, prefetch=2)
    before = set(multiprocessing.active_children())
    for _ in range(4):
        assert_same(next(threads), next(workers))
    started = set(multiprocessing.active_children()) - before
    assert len(started) == 2
    workers.close()
    assert not started & set(multiprocessing.active_children())


@pytest.mark.parametrize("count", [2, 3, 6])
def test_processes_share_the_batches_of_one(count):
    options = {"batch_size": 6, "start_step": 2}
    whole = itertools.islice(people(**options), 3)
    shares = [people(**options, process_index=i, process_count=count) for i in range(count)]
    for batch, *parts in zip(whole, *shares, strict=False):
        joined = {key: np.concatenate([part[key] for part in parts]) for key in batch}
        assert_same(joined, batch)


def test_labels_reach_the_batch_as_they_are():
    class Labelled(Numbered):
        def __getitem__(self, index: int, /) -> Item:
            stripes = np.array([0, 7, IGNORE], np.uint8)[np.arange(20 * 30).reshape(20, 30) % 3]
            return {"image": np.zeros((20, 30, 3), np.uint8), "mask": stripes}

    for augmentation in (None, SceneAugmentation()):
        batches = train_batches(
            Labelled(3),
            batch_size=2,
            buckets=BUCKETS,
            seed=0,
            augmentation=augmentation,
            classes=11,
        )
        for batch in itertools.islice(batches, 3):
            assert set(np.unique(batch["mask"])) == {0, 7, IGNORE}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 0}, "batches of 0; each must be at least 1"),
        ({"buckets": ()}, "0 buckets"),
        ({"weights": [1.0]}, "one each for 10 pictures"),
        ({"weights": [0.0] * 10}, "some above 0"),
        ({"classes": 2}, "2 classes with the augmentation for webcams"),
        ({"process_count": 2}, "batches of 3 for process 0 of 2; they must divide"),
        ({"process_index": 3, "process_count": 3}, "process 3 of 3; .* count from 0"),
    ],
)
def test_what_cannot_make_batches_is_an_error(changes, words):
    with pytest.raises(ValueError, match=words):
        people(**changes)
