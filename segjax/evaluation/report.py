"""From predictions to figures, of masks and of labels; their pictures stand in `pictures`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segjax.data.classes import Classes, read_labels
from segjax.errors import SegjaxError
from segjax.evaluation import metrics
from segjax.evaluation.predictors import Predictor
from segjax.images import read_image, read_mask
from segjax.labels import to_labels


class Score(NamedTuple):
    """How well one picture's mask was predicted, by `segjax.evaluation.metrics`."""

    stem: str
    iou: float
    boundary_f: float
    mad: float
    intersection: int
    union: int
    pixel_accuracy: float


class LabelScore(NamedTuple):
    """How well one picture's labels were predicted; None if all of its pixels are ignored."""

    stem: str
    confusion: np.ndarray
    miou: float | None
    pixel_accuracy: float | None
    boundary_f: float | None


def read_pair(image: Path, mask: Path) -> tuple[np.ndarray, np.ndarray]:
    """The picture, uint8 [H, W, 3], and its true mask, uint8 [H, W].

    Raises:
      SegjaxError: a file cannot be read, the sizes differ, or the mask holds 0 and 1.
    """
    pixels, true = read_image(image), read_mask(mask)
    _check_sizes(mask, true, pixels)
    if true.max() == 1:
        raise SegjaxError(
            f"{mask} holds only 0 and 1; the person is 255 in a mask; multiply it by 255"
        )
    return pixels, true


def read_labelled(image: Path, labels: Path, classes: Classes) -> tuple[np.ndarray, np.ndarray]:
    """The picture, uint8 [H, W, 3], and its true labels, uint8 [H, W], by `read_labels`.

    Raises:
      SegjaxError: a file cannot be read, the sizes differ, or a label is no class.
    """
    pixels, true = read_image(image), read_labels(labels, classes)
    _check_sizes(labels, true, pixels)
    return pixels, true


def score(predictor: Predictor, image: Path, mask: Path) -> Score:
    """Predicts one picture and measures the alpha against its true mask, at full size.

    Raises:
      SegjaxError: as `read_pair`.
    """
    pixels, true = read_pair(image, mask)
    alpha = predictor(pixels)
    intersection, union = metrics.overlap(alpha, true)
    return Score(
        stem=image.stem,
        iou=metrics.iou(intersection, union),
        boundary_f=metrics.boundary_f(alpha, true),
        mad=metrics.mad(alpha, true),
        intersection=intersection,
        union=union,
        pixel_accuracy=1 - (union - intersection) / true.size,
    )


def score_labels(predictor: Predictor, image: Path, labels: Path, classes: Classes) -> LabelScore:
    """Predicts one picture and measures the likeliest classes against its labels, at full size.

    Raises:
      SegjaxError: as `read_labelled`.
    """
    pixels, true = read_labelled(image, labels, classes)
    found = to_labels(predictor(pixels))
    confusion = metrics.confusion_matrix(found, true, len(classes))
    figures = metrics.label_figures(confusion, ignore=classes.ignore) if confusion.any() else {}
    return LabelScore(
        image.stem,
        confusion,
        figures.get("miou"),
        figures.get("pixel_accuracy"),
        metrics.label_boundary_f(found, true),
    )


def summarize(scores: Sequence[Score]) -> dict[str, Any]:
    """The figures of a set of masks under fixed keys, and those of each under `per_image`.

    `mean_iou`, `median_iou`, `boundary_f`, `mad` and `pixel_accuracy` are taken over the pictures'
    own figures; `dataset_iou` sums intersections and unions first, so that large people count for
    more.

    Raises:
      ValueError: there are no scores.
    """
    if not scores:
        raise ValueError("got no scores; at least one is needed")
    ious = [s.iou for s in scores]
    return {
        "images": len(scores),
        "mean_iou": float(np.mean(ious)),
        "median_iou": float(np.median(ious)),
        "dataset_iou": metrics.iou(
            sum(s.intersection for s in scores), sum(s.union for s in scores)
        ),
        "boundary_f": float(np.mean([s.boundary_f for s in scores])),
        "mad": float(np.mean([s.mad for s in scores])),
        "pixel_accuracy": float(np.mean([s.pixel_accuracy for s in scores])),
        "per_image": [s._asdict() for s in scores],
    }


def summarize_labels(scores: Sequence[LabelScore], classes: Classes) -> dict[str, Any]:
    """The figures of a set of labels under fixed keys, and those of each under `per_image`.

    They are those of `label_figures` for the `confusion` summed over the pictures, but
    `boundary_f`, which is the mean of the pictures' own. What there is for each class stands by
    its name.

    Raises:
      SegjaxError: every pixel of every picture is ignored.
    """
    confusion = np.sum([s.confusion for s in scores], axis=0)
    if not np.any(confusion):
        raise SegjaxError(
            f"all pixels of {len(scores)} pictures are ignored; labels that count are needed; look "
            "at --ignore and at the labels"
        )
    figures = metrics.label_figures(confusion, ignore=classes.ignore)
    for key in ("per_class_iou", "per_class_accuracy"):
        figures[key] = dict(zip(classes.names, figures[key], strict=True))
    boundaries = [s.boundary_f for s in scores if s.boundary_f is not None]
    rows = [s._asdict() for s in scores]
    for row in rows:
        del row["confusion"]
    return {
        "images": len(scores),
        **figures,
        "boundary_f": float(np.mean(boundaries)),
        "confusion": confusion.tolist(),
        "per_image": rows,
    }


def _check_sizes(path: Path, true: np.ndarray, pixels: np.ndarray) -> None:
    if true.shape != pixels.shape[:2]:
        sizes = [f"{a.shape[1]}x{a.shape[0]}" for a in (true, pixels)]
        raise SegjaxError(
            f"{path} is {sizes[0]}, its picture {sizes[1]}; both need one size; make it anew"
        )
