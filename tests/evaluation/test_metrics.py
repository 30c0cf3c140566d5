"""Golden values worked by hand, and properties that hold for every mask."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segjax.evaluation.metrics import boundary_f, flip_rate, iou, mad, overlap

# Truth: the right half of a 4x4 picture. Prediction: the upper half of that.
TRUE = np.array([[0, 0, 255, 255]] * 4, np.uint8)
FOUND = np.array([[0, 0, 1, 1]] * 2 + [[0, 0, 0, 0]] * 2, np.float32)

MASKS = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape))
)


def alpha_of(person: np.ndarray) -> np.ndarray:
    return person.astype(np.float32)


def mask_of(person: np.ndarray) -> np.ndarray:
    return person.astype(np.uint8) * 255


def score(metric, found: np.ndarray, wanted: np.ndarray) -> float:
    return metric(alpha_of(found), mask_of(wanted))


def person_iou(alpha: np.ndarray, mask: np.ndarray) -> float:
    return iou(*overlap(alpha, mask))


def test_iou_by_hand():
    assert overlap(FOUND, TRUE) == (4, 8)
    assert person_iou(FOUND, TRUE) == 0.5


def test_the_thresholds_are_above_a_half_and_above_127():
    alpha = np.array([[0.5, 0.50001, 0.0]], np.float32)
    mask = np.array([[127, 128, 127]], np.uint8)
    assert overlap(alpha, mask) == (1, 1)


def test_nobody_there_and_nobody_found_is_perfect():
    empty = np.zeros((3, 3), bool)
    assert score(person_iou, empty, empty) == 1
    assert score(person_iou, ~empty, empty) == 0
    assert score(person_iou, empty, ~empty) == 0


def test_boundary_f_by_hand():
    # The true boundary is column 2: column 3 touches only the picture's border. The predicted one
    # is (0, 2), (1, 2) and (1, 3), which has room below. Precision 2/3, recall 2/4, F 4/7.
    assert boundary_f(FOUND, TRUE, tolerance=0) == pytest.approx(4 / 7)
    # One pixel of tolerance reaches (1, 3) and (2, 2): precision 1, recall 3/4, F 6/7.
    assert boundary_f(FOUND, TRUE, tolerance=1.01 / np.hypot(4, 4)) == pytest.approx(6 / 7)


@pytest.mark.parametrize(("shift", "expected"), [(0, 1), (3, 1), (4, 0)])
def test_the_tolerance_is_a_share_of_the_diagonal(shift: int, expected: int):
    # 300x400 has a diagonal of 500 pixels: the outline may be 3.75 pixels off.
    columns = np.broadcast_to(np.arange(400), (300, 400))
    assert score(boundary_f, columns >= 200 + shift, columns >= 200) == expected


def test_boundary_f_without_boundaries():
    empty, one = np.zeros((4, 4), bool), np.eye(4, dtype=bool)
    assert score(boundary_f, empty, empty) == 1
    assert score(boundary_f, ~empty, ~empty) == 1
    assert score(boundary_f, ~empty, empty) == 0
    assert score(boundary_f, empty, one) == 0
    assert score(boundary_f, one, empty) == 0


def test_mad_by_hand():
    alpha = np.array([[0.0, 0.25], [1.0, 0.5]], np.float32)
    mask = np.array([[0, 0], [255, 255]], np.uint8)
    assert mad(alpha, mask) == pytest.approx(1000 * (0.25 + 0.5) / 4)
    assert mad(np.full((1, 1), 0.2, np.float32), np.full((1, 1), 51, np.uint8)) < 1e-4


def grey(level: int, shape=(6, 10)) -> np.ndarray:
    return np.full((*shape, 3), level, np.uint8)


def test_flip_rate_by_hand():
    none = np.zeros((6, 10), np.float32)
    three = none.copy()
    three[0, :3] = 0.51
    # 60 still pixels in each of two steps; three of them flip in the first, none in the second.
    frames = [(grey(100), none), (grey(102), three), (grey(100), three)]
    assert flip_rate(frames) == pytest.approx(10_000 * 3 / 120)
    # A step of 3 levels is no longer still, and what moves cannot flip.
    assert flip_rate([(grey(100), none), (grey(103), three)]) == 0


def test_only_still_pixels_count():
    before, after = grey(100), grey(100)
    after[:, 5:] = 200
    person = np.zeros((6, 10), np.float32)
    person[:, 2] = person[:, 9] = 1
    # The 5x5 blur carries the change to columns 3 and 4: columns 0..2 are still, 18 pixels, and
    # of the flips in columns 2 and 9 only the 6 in column 2 count.
    frames = [(before, np.zeros((6, 10), np.float32)), (after, person)]
    assert flip_rate(frames) == pytest.approx(10_000 * 6 / 18)


def test_a_flip_rate_needs_two_frames_of_one_size():
    with pytest.raises(ValueError, match="at least two"):
        flip_rate([(grey(0), np.zeros((6, 10), np.float32))])
    with pytest.raises(ValueError, match="one size"):
        flip_rate([(grey(0), np.zeros((6, 10))), (grey(0, (6, 9)), np.zeros((6, 9)))])
    with pytest.raises(ValueError, match="one size"):
        flip_rate([(grey(0), np.zeros((3, 5)))])


@pytest.mark.parametrize("metric", [overlap, boundary_f, mad])
def test_shapes_must_agree(metric):
    with pytest.raises(ValueError, match="one \\[H, W\\]"):
        metric(np.zeros((2, 3), np.float32), np.zeros((3, 2), np.uint8))
    with pytest.raises(ValueError, match="one \\[H, W\\]"):
        metric(np.zeros((2, 3, 1), np.float32), np.zeros((2, 3, 1), np.uint8))


@given(MASKS)
@pytest.mark.parametrize("metric", [person_iou, boundary_f])
def test_overlap_metrics_are_symmetric_shares(metric, masks: tuple[np.ndarray, np.ndarray]):
    one, other = masks
    assert 0 <= score(metric, one, other) <= 1
    assert score(metric, one, other) == pytest.approx(score(metric, other, one))


@given(MASKS)
def test_the_truth_itself_is_perfect(masks: tuple[np.ndarray, np.ndarray]):
    person, _ = masks
    assert score(person_iou, person, person) == 1
    assert score(boundary_f, person, person) == 1
    assert score(mad, person, person) == 0


@given(MASKS)
def test_a_hard_mask_has_the_share_of_wrong_pixels_as_mad(masks: tuple[np.ndarray, np.ndarray]):
    found, wanted = masks
    assert score(mad, found, wanted) == pytest.approx(1000 * (found != wanted).mean())


@given(MASKS)
def test_more_tolerance_never_hurts(masks: tuple[np.ndarray, np.ndarray]):
    found, wanted = alpha_of(masks[0]), mask_of(masks[1])
    assert boundary_f(found, wanted, 0.1) <= boundary_f(found, wanted, 0.3) + 1e-12
