"""Augmentation keeps picture and mask together, and other pictures' people out."""

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segjax.data import Item, camera, cutouts, rooms, views, webcam
from segjax.data.synthetic import SyntheticPeople
from segjax.data.webcam import Augmentation

OFF = Augmentation(
    whole=0,
    portrait=0,
    scale=1,
    aspect=0,
    flip=0,
    rotation=0,
    swap=0,
    empty=0,
    group=0,
    drawn=0,
    things=0,
    exposure=0,
    white_balance=0,
    saturation=0,
    hue=0,
    grey=0,
    blur=0,
    noise=0,
    jpeg=0,
)
GEOMETRY = dataclasses.replace(
    OFF, whole=0.4, portrait=0.5, scale=0.4, aspect=0.08, flip=0.5, rotation=7.0
)
ALWAYS = Augmentation(swap=1, drawn=0.5, things=1, blur=1, noise=1, jpeg=1, empty=0, group=0.3)
PEOPLE = SyntheticPeople(6, size=(48, 64))

odd_sizes = st.tuples(st.integers(1, 53), st.integers(1, 53))
picture_sizes = st.tuples(st.integers(16, 181), st.integers(16, 181))
seeds = st.integers(0, 2**32)


def blob(size: tuple[int, int]) -> np.ndarray:
    """A soft person-like mask of any size, touching the bottom edge."""
    height, width = size
    mask = np.zeros(size, np.uint8)
    cv2.circle(mask, (width // 3, height // 2), max(1, min(size) // 4), 255, -1)
    cv2.rectangle(mask, (width // 4, height // 2), (width // 2, height), 255, -1)
    return cv2.GaussianBlur(mask, (3, 3), 0)


def grey(mask: np.ndarray) -> np.ndarray:
    return np.repeat(mask[..., None], 3, axis=2)


def draw_nothing():
    raise AssertionError("no other picture is needed here")


@settings(max_examples=60, deadline=None)
@given(picture_sizes, odd_sizes, seeds)
def test_a_mask_painted_as_the_picture_stays_the_mask(picture, size, seed):
    mask = blob(picture)
    image, moved = webcam.augment(
        np.random.default_rng(seed), grey(mask), mask, size, GEOMETRY, draw_nothing
    )
    assert image.shape == (*size, 3) and moved.shape == size
    assert image.dtype == moved.dtype == np.uint8
    assert np.abs(image.astype(int) - moved[..., None]).max() <= 1


@settings(max_examples=40, deadline=None)
@given(odd_sizes.filter(lambda size: min(size) > 4), seeds)
def test_a_swapped_person_stays_under_their_mask(size, seed):
    mask = blob(size)
    room = np.full((*size, 3), 60, np.uint8)
    image, moved = webcam.swap_room(np.random.default_rng(seed), grey(mask), mask, room, OFF)
    assert (image[moved == 255] == 255).all()
    assert (image[moved == 0] == 60).all()
    assert (moved <= mask).all()


@pytest.mark.parametrize("size", [(48, 64), (31, 17), (16, 16)])
@pytest.mark.parametrize("seed", range(5))
def test_everything_at_once_is_a_function_of_the_generator(size, seed):
    item = PEOPLE[seed]
    before = item["image"].copy(), item["mask"].copy()
    results = []
    for _ in range(2):
        rng = np.random.default_rng(seed)
        draw = lambda rng=rng: PEOPLE[int(rng.integers(len(PEOPLE)))]  # noqa: E731
        results.append(webcam.augment(rng, item["image"], item["mask"], size, ALWAYS, draw))
    (image, mask), (again, mask_again) = results
    assert image.shape == (*size, 3) and image.dtype == np.uint8
    assert mask.shape == size and mask.dtype == np.uint8
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(mask, mask_again)
    np.testing.assert_array_equal(item["image"], before[0])
    np.testing.assert_array_equal(item["mask"], before[1])


@pytest.mark.parametrize(
    "change",
    [
        lambda rng, image, mask: camera.change_light(rng, image, mask, Augmentation()),
        lambda rng, image, mask: camera.change_colour(rng, image, mask, Augmentation()),
        camera.blur,
        camera.add_noise,
        camera.compress,
    ],
    ids=["light", "colour", "blur", "noise", "jpeg"],
)
@pytest.mark.parametrize("size", [(48, 64), (33, 7), (1, 1)])
def test_the_camera_changes_the_picture_alone(change, size):
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (*size, 3), np.uint8)
    mask = rng.integers(0, 256, size, np.uint8)
    before = image.copy(), mask.copy()
    changed = []
    for _ in range(8):
        result, same = change(rng, image, mask)
        assert result.shape == image.shape and result.dtype == np.uint8
        np.testing.assert_array_equal(same, before[1])
        np.testing.assert_array_equal(image, before[0])
        changed.append((result != image).any())
    assert any(changed) or size == (1, 1)


def test_strengths_of_zero_change_nothing():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = np.stack([levels, levels.T, levels[::-1]], axis=-1)
    result, mask = webcam.augment(
        np.random.default_rng(0), image, levels, (16, 16), OFF, draw_nothing
    )
    np.testing.assert_array_equal(result, image)
    np.testing.assert_array_equal(mask, levels)


def test_mirrored_is_exactly_mirrored():
    image = PEOPLE[0]["image"]
    mask = PEOPLE[0]["mask"]
    strengths = dataclasses.replace(OFF, flip=1)
    result, moved = webcam.augment(
        np.random.default_rng(0), image, mask, mask.shape, strengths, draw_nothing
    )
    np.testing.assert_array_equal(result, image[:, ::-1])
    np.testing.assert_array_equal(moved, mask[:, ::-1])


def test_grey_stays_grey_whatever_the_hue():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    strengths = dataclasses.replace(OFF, saturation=0.5, hue=30)
    for seed in range(5):
        result, _ = camera.change_colour(
            np.random.default_rng(seed), image, image[..., 0], strengths
        )
        assert np.abs(result.astype(int) - image).max() <= 1


@settings(max_examples=60, deadline=None)
@given(picture_sizes, odd_sizes, seeds)
def test_views_lie_in_the_picture_and_do_not_squash(picture, size, seed):
    view = webcam.choose_view(np.random.default_rng(seed), blob(picture), size, GEOMETRY)
    height, width = picture
    assert view.x - view.width / 2 >= -1e-6 and view.x + view.width / 2 <= width + 1e-6
    assert view.y - view.height / 2 >= -1e-6 and view.y + view.height / 2 <= height + 1e-6
    assert abs(np.log(view.width / view.height * size[0] / size[1])) <= 0.08 + 1e-6


def test_a_standing_person_becomes_a_webcam_view():
    mask = np.zeros((272, 182), np.uint8)
    cv2.circle(mask, (90, 40), 14, 255, -1)
    cv2.rectangle(mask, (65, 54), (115, 260), 255, -1)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        view = webcam.choose_portrait(rng, mask, 16 / 9, (144, 256))
        assert view is not None
        _, shown = webcam.warp(rng, grey(mask), mask, view, (144, 256), OFF)
        assert shown[-1].any(), "the person leaves through the bottom edge"
        assert view.y - view.height / 2 < 40, "the head is in the picture"
        assert (mask[int(view.y + view.height / 2) :] == 255).any(), "the legs are not"


def test_nobody_has_no_portrait():
    rng = np.random.default_rng(0)
    assert webcam.choose_portrait(rng, np.zeros((40, 60), np.uint8), 1.5, (40, 60)) is None


def other_room(rng: np.random.Generator) -> Item:
    """A picture whose person is pure red and whose room has no red at all."""
    item = PEOPLE[int(rng.integers(len(PEOPLE)))]
    alpha = item["mask"][..., None] / 255
    image = np.rint(alpha * [255, 0, 0] + (1 - alpha) * [0, 90, 200]).astype(np.uint8)
    return {"image": image, "mask": item["mask"]}


@pytest.mark.parametrize("size", [(48, 64), (80, 45), (33, 33)])
def test_other_rooms_show_none_of_their_own_people(size):
    rng = np.random.default_rng(1)
    for _ in range(20):
        room = rooms.find_room(rng, lambda: other_room(rng), size)
        assert room.shape == (*size, 3)
        assert room[..., 0].max() == 0
        assert room[..., 2].min() > 150, "painted over with the room around"


def test_a_picture_full_of_people_is_painted_over():
    everyone: Item = {
        "image": np.full((20, 20, 3), (255, 0, 0), np.uint8),
        "mask": np.full((20, 20), 255, np.uint8),
    }
    room = rooms.find_room(np.random.default_rng(0), lambda: everyone, (16, 16))
    assert (room != (255, 0, 0)).any(axis=-1).all()


def test_a_swapped_person_keeps_their_pixels():
    rng = np.random.default_rng(4)
    for item in (PEOPLE[index] for index in range(len(PEOPLE))):
        room = rooms.find_room(rng, lambda: other_room(rng), item["mask"].shape)
        image, mask = webcam.swap_room(rng, item["image"], item["mask"], room, Augmentation())
        np.testing.assert_array_equal(image[mask == 255], item["image"][mask == 255])


def test_a_swapped_person_brings_no_halo():
    mask = cv2.GaussianBlur(blob((64, 64)), (7, 7), 0)
    alpha = mask[..., None] / 255
    red_on_white = np.rint(alpha * [200, 0, 0] + (1 - alpha) * 255).astype(np.uint8)
    black = np.zeros((64, 64, 3), np.uint8)
    edge = (mask > 0) & (mask < 250)
    # Green comes from the old, white room alone.
    pasted = (red_on_white * alpha)[edge, 1]
    assert pasted.mean() > 20, "the old room shines through when the edge is pasted as it is"
    for seed in range(6):
        image, _ = webcam.swap_room(np.random.default_rng(seed), red_on_white, mask, black, OFF)
        assert image[edge, 1].mean() < pasted.mean() / 20
        assert image[..., 1].max() < pasted.max() / 3


def test_empty_rooms_have_an_empty_mask():
    rng = np.random.default_rng(0)
    item = PEOPLE[0]
    strengths = dataclasses.replace(OFF, empty=1)
    image, mask = webcam.augment(
        rng, item["image"], item["mask"], (32, 48), strengths, lambda: other_room(rng)
    )
    assert not mask.any()
    assert image[..., 0].max() == 0


@pytest.mark.parametrize("size", [(48, 64), (31, 17), (1, 1)])
def test_drawn_rooms_are_a_function_of_the_generator(size):
    found = [rooms.draw_room(np.random.default_rng(seed), size) for seed in (1, 1, 2, 3)]
    assert all(room.shape == (*size, 3) and room.dtype == np.uint8 for room in found)
    np.testing.assert_array_equal(found[0], found[1])
    assert size == (1, 1) or (found[2] != found[3]).any()


def test_things_change_a_part_of_the_room_and_bring_nobody_in():
    room = np.full((60, 80, 3), (0, 90, 120), np.uint8)
    before, shares = room.copy(), []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        filled = rooms.put_things(rng, room, lambda rng=rng: other_room(rng))
        np.testing.assert_array_equal(room, before)
        shares.append(float((filled != room).any(axis=-1).mean()))
        reds = (filled[..., 0] > 200) & (filled[..., 1:].max(axis=-1) < 20)
        assert not reds.any(), "a person of the other picture"
    assert 0.02 < np.mean(shares) < 0.6


def test_a_group_is_under_its_mask_and_the_room_beside_it():
    room = np.full((60, 80, 3), (0, 90, 250), np.uint8)
    counts = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        image, mask = webcam.gather(rng, room, lambda rng=rng: other_room(rng))
        assert image.dtype == mask.dtype == np.uint8 and mask.shape == (60, 80)
        np.testing.assert_array_equal(
            image[mask == 0], np.tile(room[0, :1], ((mask == 0).sum(), 1))
        )
        assert (np.abs(image[mask == 255].astype(int) - (255, 0, 0)) <= 2).all()
        counts.append(bool(mask.any()))
    assert sum(counts) > 6


def test_who_is_cut_off_at_a_side_or_the_head_does_not_stand_free():
    person = np.zeros((40, 60), np.uint8)
    person[10:, 20:40] = 255
    assert cutouts.stands_free(person)
    assert not cutouts.stands_free(np.zeros_like(person))
    for side in (np.s_[:, 0], np.s_[:, -1], np.s_[0]):
        cut = person.copy()
        cut[side] = 255
        assert not cutouts.stands_free(cut)


def test_a_cut_out_is_pasted_where_it_is_said_to_be():
    mask = np.zeros((8, 6), np.uint8)
    mask[3:, 2:4] = 255
    layer = cutouts.cut_out({"image": np.full((8, 6, 3), (200, 100, 0), np.uint8), "mask": mask})
    assert layer.shape == (8 - 3 + cutouts.HAIR, 6, 4)
    room, nobody = np.full((10, 12, 3), 50, np.uint8), np.zeros((10, 12), np.uint8)
    image, found = cutouts.paste(room, nobody, layer, 1.0, 4, 5 - cutouts.HAIR)
    expected = np.zeros((10, 12), np.uint8)
    expected[5:10, 6:8] = 255
    np.testing.assert_array_equal(found, expected)
    assert (image[expected == 255] == (200, 100, 0)).all() and (image[expected == 0] == 50).all()
    half, _ = cutouts.paste(room, nobody, layer, 0.5, 0, 0)
    assert half.shape == room.shape and (half != 50).any()
    beyond, nothing = cutouts.paste(room, nobody, layer, 2.0, 40, 40)
    assert (beyond == 50).all() and not nothing.any()


@pytest.mark.parametrize("size", [(48, 64), (13, 7), (1, 1), (97, 101)])
def test_resize_to_gives_the_whole_picture(size):
    mask = blob((48, 64))
    image, small = views.resize_to(grey(mask), mask, size)
    assert image.shape == (*size, 3) and small.shape == size
    assert np.abs(image.astype(int) - small[..., None]).max() <= 1
    assert abs(small.mean() - mask.mean()) < 6


def test_shrinking_averages_rather_than_skips():
    stripes = np.zeros((240, 320), np.uint8)
    stripes[:, ::2] = 255
    view = views.largest_view(stripes.shape, 4 / 3)
    _, small = webcam.warp(np.random.default_rng(0), grey(stripes), stripes, view, (60, 80), OFF)
    assert small.min() > 120 and small.max() < 135
