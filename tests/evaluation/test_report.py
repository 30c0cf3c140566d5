"""The figures of a set, and the pictures beside them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from segjax.data.classes import Classes
from segjax.data.files import FileSource
from segjax.errors import SegjaxError
from segjax.evaluation.pictures import (
    contact_row,
    error_map,
    label_row,
    write_label_pictures,
    write_pictures,
)
from segjax.evaluation.report import (
    LabelScore,
    Score,
    score,
    score_labels,
    summarize,
    summarize_labels,
)
from segjax.images import read_image, write_image
from segjax.labels import palette
from segjax.sheets import CELL, IGNORED

CLASSES = Classes(("ground", "tree", "sky"), palette(3), ignore=(11,))


def scored(stem: str, intersection: int, union: int, boundary_f: float, mad: float) -> Score:
    return Score(stem, intersection / union, boundary_f, mad, intersection, union, mad / 100)


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
        "pixel_accuracy",
        "per_image",
    ]
    assert report["images"] == 3
    assert report["mean_iou"] == pytest.approx((0.5 + 0.9 + 0.25) / 3)
    assert report["median_iou"] == 0.5
    assert report["dataset_iou"] == pytest.approx(12 / 20)
    assert report["boundary_f"] == pytest.approx(0.5)
    assert report["mad"] == pytest.approx(30)
    assert report["pixel_accuracy"] == pytest.approx(0.3)
    assert report["per_image"][1] == {
        "stem": "b",
        "iou": 0.9,
        "boundary_f": 0.9,
        "mad": 20,
        "intersection": 9,
        "union": 10,
        "pixel_accuracy": 0.2,
    }


def test_no_scores_are_an_error():
    with pytest.raises(ValueError, match="no scores"):
        summarize([])


def test_a_picture_is_scored_at_its_full_size(tmp_path: Path):
    pixels = np.zeros((21, 33, 3), np.uint8)
    pixels[:, 11:, 0] = 255
    mask = np.zeros((21, 33), np.uint8)
    mask[:, 22:] = 255
    got = score(red_channel, FileSource([write_pair(tmp_path, "half", pixels, mask)]), 0)
    assert got[:2] == ("half", 0.5)
    assert (got.intersection, got.union) == (21 * 11, 21 * 22)
    assert got.boundary_f == 0  # 11 pixels apart
    assert got.mad == pytest.approx(1000 / 3)
    assert got.pixel_accuracy == pytest.approx(2 / 3)


def test_a_mask_of_another_size_is_named(tmp_path: Path):
    pair = write_pair(
        tmp_path, "odd", np.zeros((20, 30, 3), np.uint8), np.zeros((30, 20), np.uint8)
    )
    with pytest.raises(SegjaxError, match=r"masks/odd\.png is 20x30, its picture 30x20"):
        score(red_channel, FileSource([pair]), 0)


def test_a_mask_of_zeros_and_ones_is_named(tmp_path: Path):
    mask = np.eye(20, dtype=np.uint8)
    pair = write_pair(tmp_path, "ones", np.zeros((20, 20, 3), np.uint8), mask)
    with pytest.raises(SegjaxError, match="only 0 and 1"):
        score(red_channel, FileSource([pair]), 0)


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


def test_the_worst_come_first_on_one_sheet_and_the_best_on_the_other(tmp_path: Path):
    pairs, scores = [], []
    for level in (250, 10, 130):
        mask = np.full((30, 30), 255, np.uint8)
        pixels = cv2.cvtColor(np.full((30, 30), level, np.uint8), cv2.COLOR_GRAY2RGB)
        pairs.append(write_pair(tmp_path, f"p{level}", pixels, mask))
        scores.append(scored(f"p{level}", level, 255, 0, 0))
    write_pictures(tmp_path / "out", red_channel, FileSource(pairs), scores, count=2)
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
        source = FileSource([write_pair(folder, "one", pixels, mask)])
        scores = [score(red_channel, source, 0)]
        write_pictures(folder / "out", red_channel, source, scores, count=1)
        sheets.append(read_image(folder / "out" / "outlines.png"))
    assert (sheets[0] == sheets[1]).all()
    assert (sheets[0] == 255).any()


# --- labels -----------------------------------------------------------------------------------


def by_channel(pixels: np.ndarray) -> np.ndarray:
    """The class of a pixel is its brightest channel."""
    return pixels.astype(np.float32) / 255


def label_pair(folder: Path, stem: str, labels: np.ndarray, found: np.ndarray) -> tuple[Path, Path]:
    """Files of true labels, and of a picture that `by_channel` takes for `found`."""
    pair = folder / "images" / f"{stem}.png", folder / "labels" / f"{stem}.png"
    write_image(pair[0], np.eye(3, dtype=np.uint8)[found] * 255)
    write_image(pair[1], labels)
    return pair


def bands(*labels: int) -> np.ndarray:
    """uint8 [18, 30]: a band a label, of equal widths."""
    return np.repeat(np.array([labels], np.uint8), 30 // len(labels), axis=1).repeat(18, axis=0)


def test_labels_are_scored_at_full_size_without_what_is_ignored(tmp_path: Path):
    pair = label_pair(tmp_path, "three", bands(0, 1, 11), bands(0, 0, 2))
    got = score_labels(by_channel, FileSource([pair], CLASSES), 0, CLASSES)
    assert got.confusion.tolist() == [[180, 0, 0], [180, 0, 0], [0, 0, 0]]
    assert (got.stem, got.miou, got.pixel_accuracy) == ("three", 0.25, 0.5)
    assert got.boundary_f == 0


def test_labels_that_are_all_ignored_have_no_figures(tmp_path: Path):
    source = FileSource([label_pair(tmp_path, "x", bands(11), bands(0))], CLASSES)
    got = score_labels(by_channel, source, 0, CLASSES)
    assert (got.miou, got.pixel_accuracy, got.boundary_f) == (None, None, None)
    with pytest.raises(SegjaxError, match="all pixels of 1 pictures are ignored"):
        summarize_labels([got], CLASSES)


def test_the_summary_of_labels_sums_pixels_first(tmp_path: Path):
    perfect = label_pair(tmp_path, "a", bands(0, 1, 1), bands(0, 1, 1))
    half = label_pair(tmp_path, "b", bands(0, 0, 11), bands(0, 1, 1))
    nothing = label_pair(tmp_path, "c", bands(11), bands(0))
    source = FileSource([perfect, half, nothing], CLASSES)
    scores = [score_labels(by_channel, source, index, CLASSES) for index in range(3)]
    report = summarize_labels(scores, CLASSES)
    assert report["images"] == 3
    assert report["confusion"] == [[360, 180, 0], [0, 360, 0], [0, 0, 0]]
    share = pytest.approx(2 / 3)
    assert report["per_class_iou"] == {"ground": share, "tree": share, "sky": None}
    assert report["per_class_accuracy"] == {"ground": share, "tree": 1, "sky": None}
    assert report["miou"] == share
    assert report["pixel_accuracy"] == pytest.approx(720 / 900)
    assert report["mean_accuracy"] == pytest.approx(5 / 6)
    assert report["dice"] == pytest.approx(0.8)
    assert report["boundary_f"] == pytest.approx((1 + 0) / 2)
    rows = report["per_image"]
    assert [row["miou"] for row in rows] == [1, 0.25, None]
    assert rows[0].keys() == {"stem", "miou", "pixel_accuracy", "boundary_f"}


def test_labels_of_another_size_are_named(tmp_path: Path):
    pair = label_pair(tmp_path, "odd", np.zeros((30, 18), np.uint8), bands(0))
    with pytest.raises(SegjaxError, match=r"labels/odd\.png is 18x30, its picture 30x18"):
        score_labels(by_channel, FileSource([pair], CLASSES), 0, CLASSES)


def test_a_row_of_labels_shows_truth_prediction_and_mistakes():
    row = label_row(
        LabelScore("x", np.zeros((3, 3)), 0.5, 0.5, 0.5),
        np.full((18, 30, 3), 90, np.uint8),
        bands(0, 1, 255),
        bands(2, 1, 1),
        CLASSES,
    )
    left, middle, right = (
        row[-CELL // 2].reshape(4, CELL, 3)[:, [40, CELL // 2, CELL - 40]].swapaxes(0, 1).tolist()
    )
    ground, tree, sky = palette(3).tolist()
    assert left == [[90] * 3, ground, sky, sky]
    assert middle == [[90] * 3, tree, tree, [30] * 3]
    assert right == [[90] * 3, list(IGNORED), tree, [30] * 3]


def test_pictures_of_labels_are_in_the_order_of_their_miou(tmp_path: Path):
    pairs = [
        label_pair(tmp_path, "good", bands(0, 1), bands(0, 1)),
        label_pair(tmp_path, "none", bands(11), bands(2)),
        label_pair(tmp_path, "bad", bands(0, 1), bands(2, 2)),
    ]
    source = FileSource(pairs, CLASSES)
    scores = [score_labels(by_channel, source, index, CLASSES) for index in range(3)]
    write_label_pictures(tmp_path / "out", by_channel, source, scores, CLASSES, count=1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "best.png",
        "confusion.png",
        "worst.png",
    ]
    blue, red = ([0, 0, 255], [255, 0, 0])
    for name, colour in (("worst", blue), ("best", red)):
        sheet = read_image(tmp_path / "out" / f"{name}.png")
        assert sheet[22 + CELL // 2, 40].tolist() == colour, name
        assert sheet[22 + CELL :].any(), "the legend"
