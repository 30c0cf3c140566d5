"""Scenes keep their labels: none is invented, and beyond the picture nothing counts."""

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segjax.data import IGNORE
from segjax.data.scene import OUTSIDE, SceneAugmentation, augment_scene, choose_view
from segjax.data.views import resize_to

OFF = SceneAugmentation(
    **{field.name: 0.0 for field in dataclasses.fields(SceneAugmentation)}
    | {"smallest": 1.0, "largest": 1.0}
)
GEOMETRY = dataclasses.replace(
    OFF, smallest=0.5, largest=2.0, aspect=0.1, flip=0.5, upside_down=0.5, rotation=20, elastic=0.03
)
# Colours that linear sampling cannot confuse: the labels of the picture can be read off again.
COLOURS = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)

sizes = st.tuples(st.integers(16, 83), st.integers(16, 83))
seeds = st.integers(0, 2**32)


def scene(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Four quarters, of a label and a colour each."""
    labels = np.zeros(size, np.uint8)
    labels[size[0] // 2 :] += 1
    labels[:, size[1] // 2 :] += 2
    return COLOURS[labels], labels


def augment(seed, image, mask, size, strengths, labels=True):
    rng = np.random.default_rng(seed)
    return augment_scene(rng, image, mask, size, strengths, labels=labels)


@settings(max_examples=60, deadline=None)
@given(sizes, sizes, seeds)
def test_labels_stay_on_their_pixels(picture, size, seed):
    image, labels = augment(seed, *scene(picture), size, GEOMETRY)
    assert image.shape == (*size, 3) and labels.shape == size
    assert image.dtype == labels.dtype == np.uint8
    assert set(np.unique(labels)) <= {0, 1, 2, 3, IGNORE}
    # Where the picture shows one label's pure colour, that label is it.
    for label, colour in enumerate(COLOURS):
        pure = (image == colour).all(axis=-1) & (labels != IGNORE)
        assert (labels[pure] == label).all()


def test_strengths_of_zero_change_nothing():
    image, labels = scene((24, 32))
    same, kept = augment(0, image, labels, (24, 32), OFF)
    np.testing.assert_array_equal(same, image)
    np.testing.assert_array_equal(kept, labels)


def test_mirrored_both_ways_is_exactly_mirrored():
    image, labels = scene((25, 31))
    strengths = dataclasses.replace(OFF, flip=1, upside_down=1)
    turned, moved = augment(0, image, labels, (25, 31), strengths)
    np.testing.assert_array_equal(turned, image[::-1, ::-1])
    np.testing.assert_array_equal(moved, labels[::-1, ::-1])


def test_a_small_scale_shows_the_whole_picture_and_nothing_around_it():
    image, labels = scene((40, 60))
    strengths = dataclasses.replace(OFF, smallest=0.5, largest=0.5)
    for seed in range(5):
        small, moved = augment(seed, image, labels, (40, 60), strengths)
        inside = moved != IGNORE
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        assert (len(rows), len(columns)) == pytest.approx((20, 30), abs=1)
        assert inside[np.ix_(rows, columns)].all()
        # At the edge itself the picture is half that colour.
        near = cv2.dilate(inside.view(np.uint8), np.ones((3, 3), np.uint8)) > 0
        assert (small[~near] == OUTSIDE).all()
        assert set(np.unique(moved)) == {0, 1, 2, 3, IGNORE}


@settings(max_examples=60, deadline=None)
@given(sizes, sizes, seeds)
def test_a_large_scale_lies_in_the_picture(picture, size, seed):
    strengths = dataclasses.replace(GEOMETRY, smallest=1.0)
    view = choose_view(np.random.default_rng(seed), picture, size, strengths)
    assert view.x - view.width / 2 >= -1e-6 and view.x + view.width / 2 <= picture[1] + 1e-6
    assert view.y - view.height / 2 >= -1e-6 and view.y + view.height / 2 <= picture[0] + 1e-6


def test_a_soft_mask_is_mirrored_at_the_edge_with_its_picture():
    soft = np.linspace(0, 255, 48 * 64).reshape(48, 64).astype(np.uint8)
    picture = np.repeat(soft[..., None], 3, axis=2)
    for seed in range(10):
        image, mask = augment(seed, picture, soft, (40, 40), GEOMETRY, labels=False)
        assert np.abs(image.astype(int) - mask[..., None]).max() <= 1


def test_elastic_deformation_bends_what_was_straight():
    image, labels = scene((64, 64))
    strengths = dataclasses.replace(OFF, elastic=0.03)
    _, bent = augment(1, image, labels, (64, 64), strengths)
    edges = np.argmax(bent[:20, 10:] >= 2, axis=1)
    assert len(np.unique(edges)) > 1
    inside = bent != IGNORE
    assert inside.mean() > 0.8
    assert (bent == labels)[inside].mean() > 0.8


def test_everything_at_once_is_a_function_of_the_generator():
    image, labels = scene((48, 64))
    strengths = SceneAugmentation(rotation=5, elastic=0.02, blur=1, noise=1, jpeg=1)
    before = image.copy(), labels.copy()
    one, other = (augment(3, image, labels, (33, 47), strengths) for _ in range(2))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(labels, before[1])


@pytest.mark.parametrize("size", [(12, 16), (96, 128), (1, 1)])
def test_resizing_invents_no_label(size):
    image, labels = scene((48, 64))
    labels = np.where(labels == 1, IGNORE, labels)
    small, moved = resize_to(image, labels, size, labels=True)
    assert small.shape == (*size, 3) and moved.shape == size
    assert set(np.unique(moved)) <= {0, 2, 3, IGNORE}
