"""Palette PNGs hold the labels, and show the colours."""

import struct
from pathlib import Path

import numpy as np
import pytest

from segjax.errors import SegjaxError
from segjax.images import read_image
from segjax.labels import overlay, palette, write_labels


def test_the_palette_is_pascal_vocs():
    expected = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [128, 0, 128]]
    np.testing.assert_array_equal(palette(6), expected)
    np.testing.assert_array_equal(palette(20)[[8, 16, 19]], [[64, 0, 0], [0, 64, 0], [128, 192, 0]])
    assert len({tuple(colour) for colour in palette(256)}) == 256
    for count in (0, 257):
        with pytest.raises(ValueError, match="1 to 256"):
            palette(count)


@pytest.mark.parametrize("size", [(16, 16), (33, 47)])
def test_a_file_holds_numbers_and_shows_colours(tmp_path: Path, size: tuple[int, int]):
    labels = np.random.default_rng(0).integers(0, 11, size, np.uint8)
    path = tmp_path / "labels.png"
    write_labels(path, labels, palette(11))
    np.testing.assert_array_equal(read_image(path), palette(11)[labels])
    header = path.read_bytes()[8:33]
    width, height, depth, kind = struct.unpack(">8xIIBB7x", header)
    assert (height, width, depth, kind) == (*size, 8, 3)  # 3: colours are indices


def test_a_place_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(SegjaxError):
        write_labels(tmp_path / "a.png", np.zeros((2, 2), np.uint8), palette(2))


def test_an_overlay_leaves_label_0_clear():
    pixels = np.full((1, 2, 3), 100, np.uint8)
    found = overlay(pixels, np.array([[0, 1]]), np.array([[9, 9, 9], [200, 0, 100]], np.uint8))
    np.testing.assert_array_equal(found, [[[100, 100, 100], [155, 45, 100]]])
