"""The figures of a set, and the pictures beside them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from segjax.errors import SegjaxError
from segjax.evaluation.report import (
    CELL,
    Score,
    contact_row,
    contact_sheet,
    error_map,
    score,
    summarize,
    write_pictures,
)
from segjax.images import read_image, write_image


def scored(stem: str, intersection: int, union: int, boundary_f: float, mad: float) -> Score:
    return Score(stem, intersection / union, boundary_f, mad, intersection, union)


def red_channel(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., 0].astype(np.float32) / 255


def write_pair(folder: Path, stem: str, pixels: np.ndarray, mask: np.ndarray) -> tuple[Path, Path]:
    pair = folder / "images" / f"{stem}.png", folder / "masks" / f"{stem}.png"
    write_image(pair[0], pixels)
    write_image(pair[1], mask)
    return pair


def test_summary_by_hand():
    report = summarize(
        [
            scored("a", 1, 2, 0.5, 10),
            scored("b", 9, 10, 0.9, 20),
            scored("c", 2, 8, 0.1, 60),
        ]
    )
    assert list(report) == [
        "images",
        "mean_iou",
        "median_iou",
        "dataset_iou",
        "boundary_f",
        "mad",
        "per_image",
    ]
    assert report["images"] == 3
    assert report["mean_iou"] == pytest.approx((0.5 + 0.9 + 0.25) / 3)
    assert report["median_iou"] == 0.5
    assert report["dataset_iou"] == pytest.approx(12 / 20)
    assert report["boundary_f"] == pytest.approx(0.5)
    assert report["mad"] == pytest.approx(30)
    assert report["per_image"][1] == {
        "stem": "b",
        "iou": 0.9,
        "boundary_f": 0.9,
        "mad": 20,
        "intersection": 9,
        "union": 10,
    }


def test_no_scores_are_an_error():
    with pytest.raises(ValueError, match="no scores"):
        summarize([])


def test_a_picture_is_scored_at_its_full_size(tmp_path: Path):
    pixels = np.zeros((21, 33, 3), np.uint8)
    pixels[:, 11:, 0] = 255
    mask = np.zeros((21, 33), np.uint8)
    mask[:, 22:] = 255
    got = score(red_channel, *write_pair(tmp_path, "half", pixels, mask))
    assert got[:2] == ("half", 0.5)
    assert (got.intersection, got.union) == (21 * 11, 21 * 22)
    assert got.boundary_f == 0  # 11 pixels apart
    assert got.mad == pytest.approx(1000 / 3)


def test_a_mask_of_another_size_is_named(tmp_path: Path):
    pair = write_pair(
        tmp_path, "odd", np.zeros((20, 30, 3), np.uint8), np.zeros((30, 20), np.uint8)
    )
    with pytest.raises(SegjaxError, match=r"masks/odd\.png is 20x30, its picture 30x20"):
        score(red_channel, *pair)


def test_a_mask_of_zeros_and_ones_is_named(tmp_path: Path):
    mask = np.eye(20, dtype=np.uint8)
    pair = write_pair(tmp_path, "ones", np.zeros((20, 20, 3), np.uint8), mask)
    with pytest.raises(SegjaxError, match="only 0 and 1"):
        score(red_channel, *pair)


@pytest.mark.parametrize(("height", "width"), [(16, 400), (401, 17), (1, 1)])
def test_a_row_shows_four_pictures_of_any_shape(height: int, width: int):
    pixels = np.full((height, width, 3), 200, np.uint8)
    mask = np.zeros((height, width), np.uint8)
    alpha = np.ones((height, width), np.float32)
    row = contact_row(scored("x", 0, 1, 0, 0), pixels, mask, alpha)
    assert row.shape[1] == 4 * CELL
    middle = row[-CELL // 2, CELL // 2 :: CELL].tolist()
    assert middle[:3] == [[200] * 3, [0] * 3, [255] * 3]
    assert middle[3][2] > middle[3][0], "a room taken for a person is blue"
    assert row[:-CELL].any(), "the caption is written"


def test_a_missed_person_is_red():
    pixels = np.full((20, 20, 3), 90, np.uint8)
    mask, alpha = np.full((20, 20), 255, np.uint8), np.zeros((20, 20), np.float32)
    row = contact_row(scored("x", 0, 1, 0, 0), pixels, mask, alpha)
    red, green, blue = row[-CELL // 2, -CELL // 2]
    assert red > 100 > 50 > max(green, blue)


def test_sheets_have_two_columns():
    rows = [np.full((10, 40, 3), i, np.uint8) for i in range(1, 4)]
    assert contact_sheet(rows[:1]).shape == (10, 40, 3)
    sheet = contact_sheet(rows)
    assert sheet.shape == (20, 80, 3)
    assert sheet[::10, ::40, 0].tolist() == [[1, 2], [3, 0]]
    with pytest.raises(ValueError, match="no rows"):
        contact_sheet([])


def test_the_worst_come_first_on_one_sheet_and_the_best_on_the_other(tmp_path: Path):
    pairs, scores = [], []
    for level in (250, 10, 130):
        mask = np.full((30, 30), 255, np.uint8)
        pixels = cv2.cvtColor(np.full((30, 30), level, np.uint8), cv2.COLOR_GRAY2RGB)
        pairs.append(write_pair(tmp_path, f"p{level}", pixels, mask))
        scores.append(scored(f"p{level}", level, 255, 0, 0))
    write_pictures(tmp_path / "out", red_channel, pairs, scores, count=2)
    for name, levels in (("worst", [10, 130]), ("best", [250, 130])):
        sheet = read_image(tmp_path / "out" / f"{name}.png")
        assert sheet[-CELL // 2, CELL // 2 :: 4 * CELL, 0].tolist() == levels


def test_an_error_map_tells_right_missed_and_too_much_apart():
    mask = np.array([[255, 255, 0, 0]], np.uint8)
    alpha = np.array([[1.0, 0.2, 0.9, 0.1]], np.float32)
    white, red, blue, black = error_map(mask, alpha)[0].tolist()
    assert (white, black) == ([255] * 3, [0] * 3)
    assert red == [255, 0, 0]
    assert blue[2] == max(blue) > 200


def test_the_sheet_of_outlines_holds_no_pixel_of_a_photograph(tmp_path: Path):
    """Two sets with equal masks and predictions but other pictures give the same bytes."""
    sheets = []
    for green in (3, 200):
        folder = tmp_path / str(green)
        mask = np.zeros((30, 40), np.uint8)
        mask[10:, 10:30] = 255
        pixels = np.dstack([mask, np.full_like(mask, green), np.full_like(mask, green)])
        pair = write_pair(folder, "one", pixels, mask)
        write_pictures(folder / "out", red_channel, [pair], [score(red_channel, *pair)], count=1)
        sheets.append(read_image(folder / "out" / "outlines.png"))
    assert (sheets[0] == sheets[1]).all()
    assert (sheets[0] == 255).any()
