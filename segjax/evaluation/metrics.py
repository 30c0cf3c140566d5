"""Metrics of a person mask and of labels, defined once, on NumPy arrays of full image size.

Of a mask: `alpha` is what a model says, float [H, W] in [0, 1]; `mask` is the truth, uint8 [H, W]
in 0..255. Where a metric needs a yes or no, a pixel is the person if alpha > 0.5 and if mask > 127.

Of labels: `predicted` and `labels`, the truth, are uint8 [H, W] of class ids 0..classes-1. A pixel
whose truth is `ignore` counts nowhere, whatever was predicted there.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

BOUNDARY_TOLERANCE = 0.0075
"""How far a boundary may be off, as a share of the image diagonal."""

IGNORE = 255
"""The label of pixels that do not count."""

STILL_LEVELS = 3
"""A pixel is still if its blurred grey changes by less than this from the frame before."""

ROOM, PERSON = 0.05, 0.95
"""A pixel is certainly the room below the first, certainly the person above the second."""

SHOWN, WHOLE = 0.1, 0.9
"""Of the room it shows above the first; of the person something is missing below the second."""

FAR = 2
"""Pixels to the true edge from which an error is no longer one of the edge's drawing."""

SHIFTS = 4
"""Frames by which a mask is looked for before and after its own."""


def overlap(alpha: np.ndarray, mask: np.ndarray) -> tuple[int, int]:
    """Pixels in the intersection and in the union of prediction and truth.

    Summed over images before `iou` divides them, they give the IoU of the data set.

    Raises:
      ValueError: the two differ in shape or are not [H, W].
    """
    predicted, true = _binary(alpha, mask)
    return int((predicted & true).sum()), int((predicted | true).sum())


def iou(intersection: int, union: int) -> float:
    """Intersection over union in [0, 1]; 1 where nobody is there and nobody was found."""
    return intersection / union if union else 1.0


def boundary_f(alpha: np.ndarray, mask: np.ndarray, tolerance: float = BOUNDARY_TOLERANCE) -> float:
    """How well the two outlines agree: the F-measure of their boundary pixels, in [0, 1].

    A boundary pixel is a person pixel with a 4-neighbour inside the picture that is none, so the
    picture's own border is no boundary. Precision is the share of predicted boundary pixels with
    a true one no farther than `tolerance` × the image diagonal (Euclidean, not rounded); recall
    is the reverse; F is 2PR / (P + R). If only one of the two has a boundary, F is 0. If neither
    has one, it is 1 where they agree (both empty, both everywhere) and 0 where they do not.

    After Martin, Fowlkes and Malik, "Learning to detect natural image boundaries", PAMI 2004;
    the tolerance is that of Csurka et al., "What is a good evaluation measure for semantic
    segmentation?", BMVC 2013.

    Raises:
      ValueError: the two differ in shape or are not [H, W].
    """
    return _boundary_f(*_binary(alpha, mask), tolerance)


def mad(alpha: np.ndarray, mask: np.ndarray) -> float:
    """Mean absolute difference × 1000, as in RobustVideoMatting's evaluation.

    The mean over pixels of |alpha - mask / 255|, times 1000 (0 is perfect, 1000 the worst), of
    one picture; over a set the mean of its pictures is given. (Lin et al., "Robust
    High-Resolution Video Matting with Temporal Guidance", WACV 2022.)

    Raises:
      ValueError: the two differ in shape or are not [H, W].
    """
    _check(alpha, mask)
    return float(np.abs(alpha.astype(np.float64) - mask / 255).mean() * 1000)


class Wrong(NamedTuple):
    """How much of what is true is shown wrongly: of all its pixels, and of those far from the edge.

    Shares in [0, 1]; None where there is no such pixel.

    Attributes:
      mean: of the error.
      share: of the pixels where it is above 0.1.
      far_mean: of the error, over the pixels 2 px or more from the true edge.
      far_share: of those pixels, where it is above 0.1.
    """

    mean: float | None
    share: float | None
    far_mean: float | None
    far_share: float | None


def leak(alpha: np.ndarray, mask: np.ndarray) -> Wrong:
    """How much of the room shows: alpha where the truth is below 0.05, and where it is above 0.1.

    A pixel is far from the edge if none nearer than 2 px lies across it, on the other side of one
    half.

    Raises:
      ValueError: the two differ in shape or are not [H, W].
    """
    _check(alpha, mask)
    return _wrong(alpha, alpha > SHOWN, mask / 255 < ROOM, across=mask > 127)


def cut(alpha: np.ndarray, mask: np.ndarray) -> Wrong:
    """How much of the person is missing: 1 − alpha where the truth is above 0.95, and its share
    where alpha is below 0.9. Far from the edge: as in `leak`.

    Raises:
      ValueError: the two differ in shape or are not [H, W].
    """
    _check(alpha, mask)
    return _wrong(1 - alpha, alpha < WHOLE, mask / 255 > PERSON, across=mask <= 127)


def confusion_matrix(
    predicted: np.ndarray, labels: np.ndarray, classes: int, *, ignore: int = IGNORE
) -> np.ndarray:
    """How often each class was taken for each: int64 [classes, classes], the truth by rows.

    Summed over images before `label_figures` divides it, it gives the figures of the data set.

    Raises:
      ValueError: the two are not uint8 [H, W] of one shape, or hold a label that is no class.
    """
    _check_labels(predicted, labels)
    # Of all pairs of bytes: quicker than to choose the pixels first, and nothing is lost unseen.
    pairs = (labels.astype(np.uint16) << 8) | predicted
    counts = np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)
    counts[ignore] = 0
    for axis, what in ((1, "truth"), (0, "prediction")):
        strange = np.flatnonzero(counts.sum(axis)[classes:])
        if strange.size:
            raise ValueError(
                f"got the label {classes + strange[0]} in the {what}; labels are 0 to "
                f"{classes - 1}, and {ignore} in a truth that does not count"
            )
    return counts[:classes, :classes].astype(np.int64)


def label_figures(confusion: np.ndarray, *, ignore: Sequence[int] = ()) -> dict[str, Any]:
    """The usual figures of a confusion matrix, shares in [0, 1].

    * `miou`: mean of `per_class_iou`, intersection over union, over the classes that are there or
      were found; `dice`: the same of 2 |A ∩ B| / (|A| + |B|), which is the F1 score.
    * `pixel_accuracy`: share of pixels that are right.
    * `mean_accuracy`: mean of `per_class_accuracy`, the share of a class that was found (recall),
      over the classes that are there.

    The lists have one entry a class; None stands for a class of which there is nothing to say.

    Args:
      confusion: int [classes, classes], pixels by truth and by what was found.
      ignore: classes that no truth holds, so that a single pixel found as one would make a 0 of it:
        none of the means knows them.

    Raises:
      ValueError: no pixel counts.
    """
    if not confusion.sum():
        raise ValueError("got a confusion matrix of no pixels; some label must not be ignored")
    right = np.diag(confusion)
    true, found = confusion.sum(1), confusion.sum(0)
    counts = ~np.isin(np.arange(len(confusion)), ignore)
    ious, accuracies, dices = (
        np.where(counts, _shares(part, whole), np.nan)
        for part, whole in (
            (right, true + found - right),
            (right, true),
            (2 * right, true + found),
        )
    )
    return {
        "miou": float(np.nanmean(ious)),
        "pixel_accuracy": float(right.sum() / confusion.sum()),
        "mean_accuracy": float(np.nanmean(accuracies)),
        "dice": float(np.nanmean(dices)),
        "per_class_iou": _listed(ious),
        "per_class_accuracy": _listed(accuracies),
    }


def label_boundary_f(
    predicted: np.ndarray,
    labels: np.ndarray,
    *,
    ignore: int = IGNORE,
    tolerance: float = BOUNDARY_TOLERANCE,
) -> float | None:
    """The mean of `boundary_f` over the classes that the truth shows; None if all is ignored.

    Ignored pixels are as outside of the picture: no boundary runs on them or along them. (Csurka
    et al., BMVC 2013.)

    Raises:
      ValueError: the two are not uint8 [H, W] of one shape.
    """
    _check_labels(predicted, labels)
    beyond = labels == ignore
    scores = [
        _boundary_f((predicted == one) & ~beyond, labels == one, tolerance, beyond)
        for one in np.unique(labels)
        if one != ignore
    ]
    return float(np.mean(scores)) if scores else None


def flip_rate(frames: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """Flicker of a clip where nothing moves: flips for every 10,000 still pixels.

    A pixel is still if its grey, blurred by a 5×5 Gaussian and rounded to uint8, changes by less
    than 3 levels from the frame before; it flips if its alpha crosses 0.5 between the two. Still
    pixels and flips are summed over the clip before they are divided; a clip without still
    pixels has the rate 0.
    A mask that never moves has the rate 0 too, so the figure says little without one of accuracy.

    Args:
      frames: pairs of pixels (uint8 RGB [H, W, 3]) and alpha (float [H, W]), in order.

    Raises:
      ValueError: fewer than two frames, or frames of different sizes.
    """
    still_pixels = flips = count = 0
    grey_before = person_before = np.empty((0, 0))
    for count, (pixels, alpha) in enumerate(frames, 1):
        grey = cv2.GaussianBlur(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), (5, 5), 0)
        person = alpha > 0.5
        if grey.shape != person.shape or (count > 1 and grey.shape != grey_before.shape):
            raise ValueError(
                f"frame {count} is {grey.shape}, its alpha {person.shape}, the frame before "
                f"{grey_before.shape}; all must have one size"
            )
        if count > 1:
            still = cv2.absdiff(grey, grey_before) < STILL_LEVELS
            still_pixels += int(still.sum())
            flips += int((still & (person != person_before)).sum())
        grey_before, person_before = grey, person
    if count < 2:
        raise ValueError(f"got {count} frames; a flip rate needs at least two")
    return 10_000 * flips / still_pixels if still_pixels else 0.0


def dtssd(frames: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """How differently prediction and truth change from frame to frame, × 100.

    The square root of the mean over pixels of the squared difference between the change of alpha
    and the change of mask / 255; of a clip the mean over its pairs of frames, as in
    RobustVideoMatting's evaluation. (Erofeev et al., "Perceptually motivated benchmark for video
    matting", BMVC 2015.)

    Args:
      frames: pairs of alpha (float [H, W]) and mask (uint8 [H, W]), in order.

    Raises:
      ValueError: fewer than two frames, or frames of different sizes.
    """
    errors = [alpha - mask / 255 for alpha, mask in _clip(frames, 2, "dtSSD")]
    changes = (np.square(after - before).mean() for before, after in itertools.pairwise(errors))
    return float(np.mean([np.sqrt(change) for change in changes]) * 100)


def lag(frames: Sequence[tuple[np.ndarray, np.ndarray]]) -> float | None:
    """By how many frames the masks trail a truth that moves; below 0 they are ahead of it.

    The shift k for which the mean of |alpha of frame t − mask of frame t − k| is least. What
    moves evenly is wrong by an area in proportion to the distance from the best shift, so between
    whole frames the two lines of equal slope through the least three errors meet at it.
    None if the truth does not move.

    Args:
      frames: pairs of alpha (float [H, W]) and mask (uint8 [H, W]), in order; as many as are
        needed to look 4 frames before and after one.

    Raises:
      ValueError: too few frames, or frames of different sizes.
    """
    _clip(frames, 2 * SHIFTS + 1, "lag")
    if all((mask == frames[0][1]).all() for _, mask in frames):
        return None
    shifts = range(-SHIFTS, SHIFTS + 1)
    # The same frames for every shift: what is hard about one of them is so for all.
    inner = range(SHIFTS, len(frames) - SHIFTS)
    alphas, masks = zip(*((alpha, mask / np.float32(255)) for alpha, mask in frames), strict=True)
    errors = np.array(
        [np.mean([np.abs(alphas[t] - masks[t - k]).mean() for t in inner]) for k in shifts]
    )
    best = int(errors.argmin())
    if best in (0, len(errors) - 1):
        return float(shifts[best])
    before, least, after = errors[best - 1 : best + 2]
    return float(shifts[best] + (before - after) / (2 * (max(before, after) - least) or 1))


def _clip(
    frames: Sequence[tuple[np.ndarray, np.ndarray]], least: int, what: str
) -> Sequence[tuple[np.ndarray, np.ndarray]]:
    if len(frames) < least:
        raise ValueError(f"got {len(frames)} frames; {what} needs at least {least}")
    for alpha, mask in frames:
        _check(alpha, mask)
        if alpha.shape != frames[0][0].shape:
            raise ValueError(
                f"got frames of {frames[0][0].shape} and {alpha.shape}; all must have one size"
            )
    return frames


def _wrong(error: np.ndarray, counts: np.ndarray, true: np.ndarray, *, across: np.ndarray) -> Wrong:
    """The figures where it is `true`, whose edge has the pixels `across` on its other side."""
    far = true & (_distance_to(across) >= FAR)
    figures = ((x, some) for some in (true, far) for x in (error, counts))
    return Wrong(*(float(x[some].mean()) if some.any() else None for x, some in figures))


def _check(alpha: np.ndarray, mask: np.ndarray) -> None:
    if alpha.ndim != 2 or alpha.shape != mask.shape:
        raise ValueError(f"alpha is {alpha.shape}, mask {mask.shape}; both must be one [H, W]")


def _binary(alpha: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _check(alpha, mask)
    return alpha > 0.5, mask > 127


def _check_labels(predicted: np.ndarray, labels: np.ndarray) -> None:
    for name, found in (("prediction", predicted), ("truth", labels)):
        if found.dtype != np.uint8 or found.ndim != 2 or found.shape != labels.shape:
            raise ValueError(
                f"got a {name} of {found.dtype}{list(found.shape)}, the truth is "
                f"{list(labels.shape)}; both must be one uint8[H, W]"
            )


def _shares(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, and NaN where there is no whole."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _listed(shares: np.ndarray) -> list[float | None]:
    return [None if np.isnan(share) else float(share) for share in shares]


def _boundary_f(
    predicted: np.ndarray, true: np.ndarray, tolerance: float, beyond: np.ndarray | None = None
) -> float:
    found, wanted = _boundary(predicted, beyond), _boundary(true, beyond)
    if not found.any() and not wanted.any():
        return float((predicted == true).all())
    if not found.any() or not wanted.any():
        return 0.0
    reach = tolerance * np.hypot(*true.shape)
    precision = float((_distance_to(wanted)[found] <= reach).mean())
    recall = float((_distance_to(found)[wanted] <= reach).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _boundary(inside: np.ndarray, beyond: np.ndarray | None) -> np.ndarray:
    """Pixels with a 4-neighbour, not beyond and not past the picture, that is not inside."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    # OpenCV's default border counts as inside in an erosion: the picture's edge erodes nothing.
    around = inside if beyond is None else inside | beyond
    return inside & (cv2.erode(around.astype(np.uint8), cross) == 0)


def _distance_to(points: np.ndarray) -> np.ndarray:
    """The exact distance in pixels from each pixel to the nearest of `points`."""
    return cv2.distanceTransform((~points).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
