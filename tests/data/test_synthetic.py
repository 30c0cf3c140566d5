"""Drawn people are reproducible and their masks are exact."""

from pathlib import Path

import numpy as np
import pytest

from segjax.data.folders import read_list
from segjax.data.synthetic import SyntheticPeople, draw_person, write_folder
from segjax.errors import SegjaxError
from segjax.images import read_mask


def test_items_depend_on_seed_and_index_only():
    one, longer = SyntheticPeople(3, size=(48, 64)), SyntheticPeople(9, size=(48, 64))
    for key in ("image", "mask"):
        np.testing.assert_array_equal(one[2][key], longer[2][key])
    assert (one[2]["image"] != one[1]["image"]).any()
    assert (one[2]["image"] != SyntheticPeople(3, size=(48, 64), seed=1)[2]["image"]).any()


@pytest.mark.parametrize("size", [(48, 64), (71, 37), (16, 16)])
def test_items_keep_the_contract_at_any_size(size):
    item = SyntheticPeople(1, size=size)[0]
    assert item["image"].shape == (*size, 3) and item["image"].dtype == np.uint8
    assert item["mask"].shape == size and item["mask"].dtype == np.uint8


def test_the_mask_is_exactly_what_the_person_covers():
    for seed in range(8):
        black, white = np.zeros((144, 192, 3), np.uint8), np.full((144, 192, 3), 255, np.uint8)
        masks = np.zeros((2, 144, 192), np.uint8)
        for layer, mask in zip((black, white), masks, strict=True):
            draw_person(np.random.default_rng(seed), layer, mask)
        covered = (black == white).all(axis=-1)
        np.testing.assert_array_equal(covered, masks[0] == 255)
        np.testing.assert_array_equal(masks[0], masks[1])


def test_people_look_as_a_webcam_sees_them():
    masks = [item["mask"] for item in (SyntheticPeople(40, size=(36, 48))[i] for i in range(40))]
    shown = [mask for mask in masks if mask.any()]
    assert 30 <= len(shown) < 40, "some rooms are empty"
    for mask in shown:
        assert mask[-1].max() == 255, "the bottom edge cuts them"
        assert 0.08 < (mask > 127).mean() < 0.75
        assert ((mask > 0) & (mask < 255)).any(), "their edge is soft"


@pytest.mark.parametrize("index", [-1, 3])
def test_there_is_nothing_beyond_the_end(index):
    with pytest.raises(IndexError, match=f"got item {index} of 3"):
        SyntheticPeople(3)[index]


@pytest.mark.parametrize(("count", "size"), [(0, (48, 64)), (1, (15, 64))])
def test_too_few_or_too_small_is_an_error(count, size):
    with pytest.raises(ValueError, match="at least 1 of at least 16x16"):
        SyntheticPeople(count, size=size)


def test_a_written_folder_holds_pictures_masks_and_lists(tmp_path: Path):
    write_folder(tmp_path / "people", train=13, val=12, size=(32, 48), seed=0)
    people = SyntheticPeople(25, size=(32, 48), seed=0)
    train, val, webcam = (
        read_list(tmp_path / "people" / f"{name}.txt") for name in ("train", "val", "webcam")
    )
    assert (len(train), len(val)) == (13, 12)
    for index, stem in enumerate(train + val):
        mask = read_mask(tmp_path / "people" / "masks" / f"{stem}.png")
        np.testing.assert_array_equal(mask, people[index]["mask"])
        assert (stem in webcam) == mask.any()
    assert 0 < len(webcam) < 25


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SegjaxError, match="cannot write"):
        write_folder(tmp_path / "file" / "people", train=1, val=1)
