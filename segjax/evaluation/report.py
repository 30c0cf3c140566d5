"""From predictions to figures, of masks and of labels; their pictures stand in `pictures`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from segjax.data import NamedSource
from segjax.data.classes import Classes
from segjax.errors import SegjaxError
from segjax.evaluation import metrics
from segjax.evaluation.predictors import Predictor
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


def score(predictor: Predictor, source: NamedSource, index: int) -> Score:
    """Predicts a picture and measures the alpha against its true mask, at full size.

    Raises:
      SegjaxError: the picture cannot be read.
    """
    item = source[index]
    true, alpha = item["mask"], predictor(item["image"])
    intersection, union = metrics.overlap(alpha, true)
    return Score(
        stem=source.stems[index],
        iou=metrics.iou(intersection, union),
        boundary_f=metrics.boundary_f(alpha, true),
        mad=metrics.mad(alpha, true),
        intersection=intersection,
        union=union,
        pixel_accuracy=1 - (union - intersection) / true.size,
    )


def score_labels(
    predictor: Predictor, source: NamedSource, index: int, classes: Classes
) -> LabelScore:
    """Predicts a picture and measures the likeliest classes against its labels, at full size.

    Raises:
      SegjaxError: the picture cannot be read.
    """
    item = source[index]
    true, found = item["mask"], to_labels(predictor(item["image"]))
    confusion = metrics.confusion_matrix(found, true, len(classes))
    figures = metrics.label_figures(confusion, ignore=classes.ignore) if confusion.any() else {}
    return LabelScore(
        source.stems[index],
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
