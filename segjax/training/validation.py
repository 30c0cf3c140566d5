"""What the weights are worth while they train: the metrics of `segjax evaluate`, and pictures."""

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import jax
import numpy as np

from segjax.data import Item, Source
from segjax.errors import SegjaxError
from segjax.evaluation.metrics import confusion_matrix, iou, label_figures, overlap
from segjax.labels import palette, to_labels
from segjax.training.devices import Devices

Predict = Callable[[np.ndarray], np.ndarray]
"""A picture uint8 [H, W, 3] → probabilities float32: [H, W] of a person, [H, W, classes] else."""


def validate(
    predict: Predict,
    source: Source,
    classes: int,
    row: Devices,
    *,
    ignore: Sequence[int] = (),
) -> dict[str, Any]:
    """The figures of a source, at full image size; each process looks at its share of pictures.

    `mean_iou` and `median_iou` of the person for one class, those of `label_figures` for several,
    without the classes to `ignore`.

    Raises:
      SegjaxError: all pixels of all pictures are ignored.
    """
    index, count = jax.process_index(), jax.process_count()
    shares = range(index, len(source), count)
    if classes == 1:
        values = np.full(-(-len(source) // count), np.nan)
        for at, item in enumerate(source[index] for index in shares):
            values[at] = iou(*overlap(predict(item["image"]), item["mask"]))
        values = row.gather(values).T.ravel()[: len(source)]  # in the source's order
        return {"mean_iou": float(np.mean(values)), "median_iou": float(np.median(values))}
    confusion = np.zeros((classes, classes), np.int64)
    for item in (source[index] for index in shares):
        confusion += confusion_matrix(to_labels(predict(item["image"])), item["mask"], classes)
    total = row.gather(confusion).sum(0)
    if not total.any():
        raise SegjaxError(
            f"all pixels of {len(source)} pictures to validate on are ignored; labels that count "
            "are needed; look at data.ignore and at the labels"
        )
    return label_figures(total, ignore=ignore)


def headline(figures: dict[str, Any]) -> float:
    """The figure by which weights are called better."""
    return figures["miou"] if "miou" in figures else figures["mean_iou"]


def draw_examples(
    predict: Predict, items: Sequence[Item], classes: int, height: int = 160
) -> np.ndarray:
    """A picture, uint8 RGB, with a row an item: photograph, true mask, predicted mask.

    Labels are shown in the palette's colours, and so is the one that counts nowhere.
    """
    rows = []
    for item in items:
        found = predict(item["image"])
        if classes == 1:
            predicted = np.rint(found * 255).astype(np.uint8)
            masks = [np.dstack([mask] * 3) for mask in (item["mask"], predicted)]
        else:
            masks = [palette(256)[labels] for labels in (item["mask"], to_labels(found))]
        width = round(height * item["image"].shape[1] / item["image"].shape[0])
        panels = [cv2.resize(item["image"], (width, height), interpolation=cv2.INTER_AREA)]
        # Between two labels' colours lies a third label's.
        method = cv2.INTER_AREA if classes == 1 else cv2.INTER_NEAREST
        panels += [cv2.resize(mask, (width, height), interpolation=method) for mask in masks]
        rows.append(np.hstack(panels))
    widest = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 4), (0, widest - row.shape[1]), (0, 0))) for row in rows]
    return np.vstack(padded)
