"""Cells, sheets, legends and the confusion matrix, by the pixels that they must show."""

import numpy as np
import pytest

from segjax.labels import palette
from segjax.sheets import CAPTION, CELL, IGNORED, contact_sheet, draw_confusion, fit, legend, paint


def test_sheets_have_two_columns():
    rows = [np.full((10, 40, 3), i, np.uint8) for i in range(1, 4)]
    assert contact_sheet(rows[:1]).shape == (10, 40, 3)
    sheet = contact_sheet(rows)
    assert sheet.shape == (20, 80, 3)
    assert sheet[::10, ::40, 0].tolist() == [[1, 2], [3, 0]]
    assert contact_sheet(rows, columns=3).shape == (10, 120, 3)
    with pytest.raises(ValueError, match="no rows"):
        contact_sheet([])


@pytest.mark.parametrize("size", [(1, 1), (16, 400), (401, 17), (CELL, CELL)])
def test_a_cell_holds_a_picture_of_any_shape(size: tuple[int, int]):
    labels = np.arange(size[0] * size[1]).reshape(size) % 3
    cell = fit(paint(labels, palette(3)), exact=True)
    assert cell.shape == (CELL, CELL, 3)
    shown = {tuple(colour) for colour in cell.reshape(-1, 3).tolist()}
    known = {tuple(colour) for colour in palette(3).tolist()}
    assert shown <= known | {(32, 32, 32)}, "no colours are mixed"


def test_labels_have_their_colours_and_others_that_of_the_ignored():
    painted = paint(np.array([[0, 1, 2, 255]], np.uint8), palette(2))
    assert painted[0].tolist() == [*palette(2).tolist(), list(IGNORED), list(IGNORED)]


def test_a_legend_has_as_many_lines_as_it_needs():
    names = ("sky", "building", "a very long name")
    colours = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200]], np.uint8)
    wide, narrow = legend(names, colours, 900), legend(names, colours, 10)
    assert wide.shape == (CAPTION, 900, 3) and narrow.shape == (3 * CAPTION, 10, 3)
    assert [narrow[number * CAPTION + 10, 8].tolist() for number in range(3)] == colours.tolist()


@pytest.mark.parametrize("count", [2, 24, 150])
def test_a_confusion_matrix_is_dark_on_its_diagonal(count: int):
    confusion = 9 * np.eye(count, dtype=int)
    confusion[0, 1], confusion[1] = 1, 0
    drawn = draw_confusion(confusion, [f"class {number}" for number in range(count)])
    side = 48 if count <= 24 else 18
    grid = drawn[:-8, :-8][-count * side :, -count * side :]
    corners = grid[2::side, 2::side].astype(int)
    assert corners[0, 0].sum() < 300 < corners[0, 1].sum() < 3 * 255
    assert (corners[1] == 235).all(), "a class without pixels is grey"
    assert (corners[0, 2:] == 255).all()
