"""Golden values worked by hand, properties that hold for every mask, and a library's figures."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segjax.evaluation.metrics import (
    boundary_f,
    confusion_matrix,
    cut,
    dtssd,
    flip_rate,
    iou,
    label_boundary_f,
    label_figures,
    lag,
    leak,
    mad,
    overlap,
)

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


# A person in the right half of 4x8: columns 2 and lower are far from the edge, 5 and higher too.
HALF = np.repeat([[0] * 4 + [255] * 4], 4, axis=0).astype(np.uint8)


def test_leak_by_hand():
    alpha = np.zeros((4, 8), np.float32)
    alpha[0, 0], alpha[1, 2], alpha[:, 3], alpha[:, 4:] = 0.4, 0.1, 0.5, 1
    # 16 pixels of room, of which 12 lie 2 px or more from the nearest person.
    expected = ((0.4 + 0.1 + 4 * 0.5) / 16, 5 / 16, (0.4 + 0.1) / 12, 1 / 12)
    assert leak(alpha, HALF) == pytest.approx(expected)
    assert cut(alpha, HALF) == (0, 0, 0, 0)


def test_cut_is_the_leak_of_the_reverse():
    alpha = np.random.default_rng(0).random((4, 8), np.float32)
    assert cut(alpha, HALF) == pytest.approx(leak(1 - alpha, 255 - HALF))


def test_soft_edges_are_neither_room_nor_person():
    mask = np.array([[0, 12, 13, 127, 128, 242, 243, 255]], np.uint8)
    for metric, wrong in ((leak, mask > 12), (cut, mask < 243)):
        # Whatever stands at the other pixels counts nowhere.
        alpha = (wrong if metric is leak else ~wrong).astype(np.float32)
        assert metric(alpha, mask) == pytest.approx((0, 0, 0, 0))
        assert metric(1 - alpha, mask).mean == 1


def test_leak_and_cut_without_a_person_or_a_room():
    alpha = np.full((3, 5), 0.2, np.float32)
    nobody = np.zeros((3, 5), np.uint8)
    assert leak(alpha, nobody) == pytest.approx((0.2, 1, 0.2, 1))
    assert cut(alpha, nobody) == (None,) * 4
    assert leak(alpha, nobody + 255) == (None,) * 4
    assert cut(alpha, nobody + 255) == pytest.approx((0.8, 1, 0.8, 1))


@given(MASKS)
def test_the_truth_neither_leaks_nor_is_cut(masks: tuple[np.ndarray, np.ndarray]):
    _, wanted = masks
    for metric in (leak, cut):
        assert set(metric(alpha_of(wanted), mask_of(wanted))) <= {0, None}
        assert set(metric(alpha_of(~wanted), mask_of(wanted))) <= {1, None}


def test_dtssd_by_hand():
    # The truth moves on by a column of 4 pixels, which the prediction does not: of 16 pixels 4
    # change by 1, so 100 * sqrt(4 / 16).
    second = np.array([[0, 255, 255, 255]] * 4, np.uint8)
    alpha = alpha_of(TRUE > 0)
    assert dtssd([(alpha, TRUE), (alpha, second)]) == pytest.approx(50)
    # Where both stay, or change alike, even a wrong mask has none.
    assert dtssd([(FOUND, TRUE)] * 3) == 0
    assert dtssd([(alpha, TRUE), (alpha_of(second > 0), second), (alpha, TRUE)]) == 0
    with pytest.raises(ValueError, match="got 1 frames; dtSSD needs at least 2"):
        dtssd([(FOUND, TRUE)])
    with pytest.raises(ValueError, match="one size"):
        dtssd([(FOUND, TRUE), (FOUND[:2], TRUE[:2])])


def bar(left: float) -> np.ndarray:
    """The alpha [5, 80] of a bar 20 pixels wide, whose edges fall between pixels."""
    pixels = np.arange(80)
    return np.tile(np.clip(np.minimum(pixels + 1 - left, left + 20 - pixels), 0, 1), (5, 1))


@pytest.mark.parametrize("speed", [0.7, 3, -5])
@pytest.mark.parametrize("late", [-1.3, 0, 0.25, 0.5, 1, 2])
def test_lag_finds_by_how_much_a_bar_trails(speed: float, late: float):
    start = 5 if speed > 0 else 55
    frames = [
        (bar(start + speed * (t - late)), np.rint(255 * bar(start + speed * t)).astype(np.uint8))
        for t in range(11)
    ]
    assert lag(frames) == pytest.approx(late, abs=0.02)
    # What is wrong everywhere and always does not change it.
    assert lag([(0.8 * alpha, mask) for alpha, mask in frames]) == pytest.approx(late, abs=0.05)


def test_a_lag_needs_motion_and_frames():
    still = (bar(5), np.rint(255 * bar(5)).astype(np.uint8))
    assert lag([still] * 9) is None
    with pytest.raises(ValueError, match="got 8 frames; lag needs at least 9"):
        lag([still] * 8)


@pytest.mark.parametrize("metric", [overlap, boundary_f, mad, leak, cut])
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


# --- labels -----------------------------------------------------------------------------------

IGNORED = 255
# Truth and prediction of three classes; one pixel is ignored.
LABELS = np.array([[0, 0, 1, 1], [0, 0, 1, IGNORED]], np.uint8)
GUESS = np.array([[0, 1, 1, 1], [0, 0, 0, 2]], np.uint8)


def label_pair(rng: np.random.Generator, classes: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A prediction, half of it right, and its truth, of which a fifth is ignored."""
    true = rng.integers(classes, size=(size, 3), dtype=np.uint8)
    guess = rng.integers(classes, size=true.shape, dtype=np.uint8)
    found = np.where(rng.uniform(size=true.shape) < 0.5, true, guess)
    return found, np.where(rng.uniform(size=true.shape) < 0.2, IGNORED, true).astype(np.uint8)


def test_confusion_by_hand():
    confusion = confusion_matrix(GUESS, LABELS, 3)
    assert confusion.dtype == np.int64
    assert confusion.tolist() == [[3, 1, 0], [1, 2, 0], [0, 0, 0]]


def test_figures_of_labels_by_hand():
    figures = label_figures(np.array([[3, 1, 0], [1, 2, 0], [0, 0, 0]]))
    assert figures["per_class_iou"] == [pytest.approx(3 / 5), pytest.approx(2 / 4), None]
    assert figures["per_class_accuracy"] == [pytest.approx(3 / 4), pytest.approx(2 / 3), None]
    assert figures["miou"] == pytest.approx((3 / 5 + 2 / 4) / 2)
    assert figures["pixel_accuracy"] == pytest.approx(5 / 7)
    assert figures["mean_accuracy"] == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert figures["dice"] == pytest.approx((6 / 8 + 4 / 6) / 2)


def test_a_class_that_was_found_where_none_is_counts_in_miou_and_not_in_accuracy():
    figures = label_figures(np.array([[3, 1], [0, 0]]))
    assert figures["per_class_iou"] == [0.75, 0]
    assert figures["per_class_accuracy"] == [0.75, None]
    assert (figures["miou"], figures["mean_accuracy"]) == (0.375, 0.75)


def test_a_class_that_no_truth_holds_is_not_made_a_0_by_one_pixel():
    confusion = np.array([[0, 0, 0], [1, 99, 0], [0, 0, 50]])
    figures = label_figures(confusion, ignore=(0, 7))
    assert figures["per_class_iou"] == [None, pytest.approx(0.99), 1]
    assert figures["miou"] == pytest.approx(0.995)
    assert figures["dice"] == pytest.approx((2 * 99 / 199 + 1) / 2)
    assert label_figures(confusion)["miou"] == pytest.approx(1.99 / 3)


@pytest.mark.parametrize(("classes", "size"), [(2, 1), (3, 41), (11, 500), (150, 2000)])
def test_labels_agree_with_scikit_learn(classes: int, size: int):
    """Of random labels with ignored pixels, in float64, to 1e-6."""
    from sklearn import metrics as peer

    found, true = label_pair(np.random.default_rng(size), classes, size)
    kept = (true != IGNORED).ravel()
    pair = true.ravel()[kept], found.ravel()[kept]
    confusion = confusion_matrix(found, true, classes)
    figures = label_figures(confusion)
    every = range(classes)
    np.testing.assert_array_equal(confusion, peer.confusion_matrix(*pair, labels=every))
    there, seen = np.isin(every, pair[0]), np.isin(every, pair)
    each: Any = {"labels": every, "average": None, "zero_division": 0}
    ious, recalls = peer.jaccard_score(*pair, **each), peer.recall_score(*pair, **each)
    expected = {
        "per_class_iou": np.where(seen, ious, np.nan),
        "per_class_accuracy": np.where(there, recalls, np.nan),
        "miou": np.mean(np.asarray(ious)[seen]),
        "mean_accuracy": np.mean(np.asarray(recalls)[there]),
        "pixel_accuracy": peer.accuracy_score(*pair),
        "dice": peer.f1_score(*pair, labels=np.flatnonzero(seen), average="macro"),
    }
    assert figures.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(np.asarray(figures[name], float), value, rtol=1e-6, atol=1e-12)


def test_labels_that_are_no_class_are_named():
    with pytest.raises(ValueError, match="label 2 in the prediction; labels are 0 to 1"):
        confusion_matrix(np.full((1, 2), 2, np.uint8), np.zeros((1, 2), np.uint8), 2)
    with pytest.raises(ValueError, match="label 11 in the truth"):
        confusion_matrix(np.zeros((1, 2), np.uint8), np.array([[0, 11]], np.uint8), 11)
    with pytest.raises(ValueError, match=r"prediction of int64\[1, 2\]"):
        confusion_matrix(np.zeros((1, 2), int), np.zeros((1, 2), np.uint8), 2)
    with pytest.raises(ValueError, match="no pixels"):
        label_figures(confusion_matrix(GUESS, np.full_like(LABELS, IGNORED), 3))


def test_the_boundary_of_labels_by_hand():
    # Three bands; in the prediction the first edge lies 2 pixels farther right. With a tolerance
    # of 1.5 pixels the first band finds nothing of its boundary, the last all, the middle one edge
    # of two: precision and recall 1/2.
    true = np.repeat([[0] * 8 + [1] * 8 + [2] * 8], 7, axis=0).astype(np.uint8)
    found = np.repeat([[0] * 10 + [1] * 6 + [2] * 8], 7, axis=0).astype(np.uint8)
    tolerance = 1.5 / np.hypot(*true.shape)
    assert label_boundary_f(found, true, tolerance=tolerance) == pytest.approx((0 + 0.5 + 1) / 3)


def test_no_boundary_runs_along_what_is_ignored():
    # Without its ignored column the truth is one class alone.
    true = np.array([[0, 0, IGNORED]] * 3, np.uint8)
    assert label_boundary_f(np.array([[0, 0, 1]] * 3, np.uint8), true) == 1
    assert label_boundary_f(np.array([[0, 1, 1]] * 3, np.uint8), true) == 0
    assert label_boundary_f(true, np.full_like(true, IGNORED)) is None


LABELLED = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: st.tuples(
        arrays(np.uint8, shape, elements=st.integers(0, 3)),
        arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 3, IGNORED])),
    )
)


@given(LABELLED)
def test_what_is_predicted_on_ignored_pixels_changes_nothing(pair):
    found, true = pair
    other = np.where(true == IGNORED, 3 - found, found)
    np.testing.assert_array_equal(
        confusion_matrix(found, true, 4), confusion_matrix(other, true, 4)
    )
    assert label_boundary_f(found, true) == label_boundary_f(other, true)


@given(LABELLED)
def test_figures_of_labels_are_shares_and_the_truth_itself_is_perfect(pair):
    found, true = pair
    if (true == IGNORED).all():
        return
    figures = label_figures(confusion_matrix(found, true, 4))
    perfect = label_figures(confusion_matrix(np.minimum(true, 3), true, 4))
    for name in ("miou", "pixel_accuracy", "mean_accuracy", "dice"):
        assert 0 <= figures[name] <= 1
        assert perfect[name] == 1
    assert figures["miou"] <= figures["dice"]
    boundary = label_boundary_f(found, true)
    assert boundary is not None and 0 <= boundary <= 1
    assert label_boundary_f(true, true) == 1


@given(MASKS)
def test_two_classes_are_a_mask_and_its_room(masks: tuple[np.ndarray, np.ndarray]):
    found, wanted = masks
    confusion = confusion_matrix(found.astype(np.uint8), wanted.astype(np.uint8), 2)
    person = label_figures(confusion)["per_class_iou"][1]
    assert (1 if person is None else person) == pytest.approx(score(person_iou, found, wanted))
