"""Pictures beside the figures: the best and the worst cases, and what was taken for what."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from segjax.data import Source
from segjax.data.classes import Classes
from segjax.evaluation.predictors import Predictor
from segjax.evaluation.report import LabelScore, Score
from segjax.images import write_image
from segjax.labels import to_labels
from segjax.sheets import CELL, captioned, contact_sheet, draw_confusion, fit, legend, paint

_MISSED, _EXTRA = (255, 0, 0), (0, 96, 255)


def write_pictures(
    folder: Path,
    predictor: Predictor,
    source: Source,
    scores: Sequence[Score],
    *,
    count: int = 16,
) -> None:
    """Writes the contact sheets `worst.png` and `best.png` of up to `count` masks by IoU.

    Beside them `outlines.png` shows the best (above) and worst as `error_map`s without a single
    pixel of a photograph, for where those may not be published.

    `scores` are in the order of `source`. The few pictures shown are predicted once more, so that
    no set has to fit into memory.

    Raises:
      SegjaxError: the folder cannot be written.
    """
    order = sorted(range(len(source)), key=lambda i: scores[i].iou)

    def row(i: int) -> np.ndarray:
        item = source[i]
        return contact_row(scores[i], item["image"], item["mask"], predictor(item["image"]))

    for name, sheet in _extremes(order, count, row):
        write_image(folder / f"{name}.png", sheet)
    half = max(1, count // 2)
    lines = []
    for chosen in (order[::-1][:half], order[:half]):
        cells = []
        for i in chosen:
            item = source[i]
            cell = fit(error_map(item["mask"], predictor(item["image"])))
            cells.append(captioned(f"{scores[i].iou:.3f}", cell))
        lines.append(np.concatenate(cells, axis=1))
    write_image(folder / "outlines.png", np.concatenate(lines))


def write_label_pictures(
    folder: Path,
    predictor: Predictor,
    source: Source,
    scores: Sequence[LabelScore],
    classes: Classes,
    *,
    count: int = 16,
) -> None:
    """Writes `worst.png` and `best.png` of up to `count` pictures by mIoU, and `confusion.png`.

    Otherwise as `write_pictures`.

    Raises:
      SegjaxError: the folder cannot be written.
    """
    mious = [s.miou for s in scores]
    known = [i for i, miou in enumerate(mious) if miou is not None]
    order = sorted(known, key=lambda i: mious[i] or 0.0)

    def row(i: int) -> np.ndarray:
        item = source[i]
        found = to_labels(predictor(item["image"]))
        return label_row(scores[i], item["image"], item["mask"], found, classes)

    for name, sheet in _extremes(order, count, row):
        meaning = legend(classes.names, classes.colours, sheet.shape[1])
        write_image(folder / f"{name}.png", np.concatenate([sheet, meaning]))
    confusion = np.sum([s.confusion for s in scores], axis=0)
    write_image(folder / "confusion.png", draw_confusion(confusion, classes.names))


def error_map(mask: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """What was found of a person, uint8 [H, W, 3]: white right, red missed, blue too much."""
    found, wanted = alpha > 0.5, mask > 127
    picture = np.zeros((*mask.shape, 3), np.uint8)
    picture[found & wanted] = 255
    picture[wanted & ~found] = _MISSED
    picture[found & ~wanted] = _EXTRA
    return picture


def contact_row(s: Score, pixels: np.ndarray, mask: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """`case_row` with the IoU written above: uint8 [h, w, 3]."""
    row = case_row(pixels, mask, alpha)
    return captioned(f"{s.stem}   IoU {s.iou:.3f}   boundary F {s.boundary_f:.3f}", row)


def case_row(
    pixels: np.ndarray, mask: np.ndarray, alpha: np.ndarray, *, height: int = CELL
) -> np.ndarray:
    """image | truth | prediction | overlay: uint8 [height, w, 3].

    In the overlay the room is dimmed, a person that was missed is red, a room that was taken for
    a person blue.
    """
    found, wanted = alpha > 0.5, mask > 127
    overlay = np.where(found[..., None], pixels, pixels // 3)
    for wrong, colour in ((wanted & ~found, _MISSED), (found & ~wanted, _EXTRA)):
        overlay[wrong] = overlay[wrong] // 2 + np.array(colour, np.uint8) // 2
    grey = [mask, np.rint(np.clip(alpha, 0, 1) * 255).astype(np.uint8)]
    cells = [pixels, *(cv2.cvtColor(g, cv2.COLOR_GRAY2RGB) for g in grey), overlay]
    return np.concatenate([fit(cell, (height, CELL)) for cell in cells], axis=1)


def label_row(
    s: LabelScore, pixels: np.ndarray, labels: np.ndarray, found: np.ndarray, classes: Classes
) -> np.ndarray:
    """image | truth | prediction | mistakes, with the mIoU written above: uint8 [h, w, 3].

    Of the mistakes, the picture is dimmed where it is right or ignored, and shows the colour of
    the class that was found where that is wrong.
    """
    true, shown = paint(labels, classes.colours), paint(found, classes.colours)
    wrong = (labels != found) & (labels < len(classes))
    mistakes = np.where(wrong[..., None], shown, pixels // 3)
    cells = [fit(pixels), *(fit(cell, exact=True) for cell in (true, shown, mistakes))]
    figures = f"mIoU {s.miou:.3f}   boundary F {s.boundary_f:.3f}"
    return captioned(f"{s.stem}   {figures}", np.concatenate(cells, axis=1))


def _extremes(order: Sequence[int], count: int, row: Callable[[int], np.ndarray]) -> Any:
    for name, chosen in (("worst", order[:count]), ("best", order[::-1][:count])):
        yield name, contact_sheet(map(row, chosen))
