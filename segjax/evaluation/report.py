"""From predictions to figures and to pictures that a person can judge."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from segjax.errors import SegjaxError
from segjax.evaluation import metrics
from segjax.evaluation.predictors import Predictor
from segjax.images import read_image, read_mask, write_image

CELL = 192
"""Side in pixels of one picture on a contact sheet."""

_CAPTION = 22
_MISSED, _EXTRA = (255, 0, 0), (0, 96, 255)


class Score(NamedTuple):
    """How well one picture was predicted, by `segjax.evaluation.metrics`."""

    stem: str
    iou: float
    boundary_f: float
    mad: float
    intersection: int
    union: int


def read_pair(image: Path, mask: Path) -> tuple[np.ndarray, np.ndarray]:
    """The picture, uint8 [H, W, 3], and its true mask, uint8 [H, W].

    Raises:
      SegjaxError: a file cannot be read, the sizes differ, or the mask holds 0 and 1.
    """
    pixels, true = read_image(image), read_mask(mask)
    if true.shape != pixels.shape[:2]:
        sizes = [f"{a.shape[1]}x{a.shape[0]}" for a in (true, pixels)]
        raise SegjaxError(
            f"{mask} is {sizes[0]}, its picture {sizes[1]}; both need one size; make the mask anew"
        )
    if true.max() == 1:
        raise SegjaxError(
            f"{mask} holds only 0 and 1; the person is 255 in a mask; multiply it by 255"
        )
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
    )


def summarize(scores: Sequence[Score]) -> dict[str, Any]:
    """The figures of a set of pictures under fixed keys, and those of each under `per_image`.

    `mean_iou`, `median_iou`, `boundary_f` and `mad` are taken over the pictures' own figures;
    `dataset_iou` sums intersections and unions first, so that large people count for more.

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
        "per_image": [s._asdict() for s in scores],
    }


def write_pictures(
    folder: Path,
    predictor: Predictor,
    pairs: Sequence[tuple[Path, Path]],
    scores: Sequence[Score],
    *,
    count: int = 16,
) -> None:
    """Writes the contact sheets `worst.png` and `best.png` of up to `count` pictures by IoU.

    Beside them `outlines.png` shows the best (above) and worst as `error_map`s without a single
    pixel of a photograph, for where those may not be published.

    `scores` are in the order of `pairs`. The few pictures shown are predicted once more, so that
    no set has to fit into memory.

    Raises:
      SegjaxError: the folder cannot be written.
    """
    order = sorted(range(len(pairs)), key=lambda i: scores[i].iou)
    for name, chosen in (("worst", order[:count]), ("best", order[::-1][:count])):
        rows = []
        for i in chosen:
            pixels, true = read_pair(*pairs[i])
            rows.append(contact_row(scores[i], pixels, true, predictor(pixels)))
        write_image(folder / f"{name}.png", contact_sheet(rows))
    lines = []
    half = max(1, count // 2)
    for chosen in (order[::-1][:half], order[:half]):
        cells = []
        for i in chosen:
            pixels, true = read_pair(*pairs[i])
            cells.append(
                _captioned(f"{scores[i].iou:.3f}", _fit(error_map(true, predictor(pixels))))
            )
        lines.append(np.concatenate(cells, axis=1))
    write_image(folder / "outlines.png", np.concatenate(lines))


def error_map(mask: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """What was found of a person, uint8 [H, W, 3]: white right, red missed, blue too much."""
    found, wanted = alpha > 0.5, mask > 127
    picture = np.zeros((*mask.shape, 3), np.uint8)
    picture[found & wanted] = 255
    picture[wanted & ~found] = _MISSED
    picture[found & ~wanted] = _EXTRA
    return picture


def contact_row(s: Score, pixels: np.ndarray, mask: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """image | truth | prediction | overlay, with the IoU written above: uint8 [h, w, 3].

    In the overlay the room is dimmed, a person that was missed is red, a room that was taken for
    a person blue.
    """
    found, wanted = alpha > 0.5, mask > 127
    overlay = np.where(found[..., None], pixels, pixels // 3)
    for wrong, colour in ((wanted & ~found, _MISSED), (found & ~wanted, _EXTRA)):
        overlay[wrong] = overlay[wrong] // 2 + np.array(colour, np.uint8) // 2
    grey = [mask, np.rint(np.clip(alpha, 0, 1) * 255).astype(np.uint8)]
    cells = [pixels, *(cv2.cvtColor(g, cv2.COLOR_GRAY2RGB) for g in grey), overlay]
    row = np.concatenate([_fit(cell) for cell in cells], axis=1)
    return _captioned(f"{s.stem}   IoU {s.iou:.3f}   boundary F {s.boundary_f:.3f}", row)


def contact_sheet(rows: Iterable[np.ndarray]) -> np.ndarray:
    """Lays rows of one size in two columns: uint8 [H, W, 3].

    Raises:
      ValueError: there are no rows.
    """
    rows = list(rows)
    if not rows:
        raise ValueError("got no rows; a contact sheet needs at least one")
    rows += [np.zeros_like(rows[0])] * (len(rows) % 2 if len(rows) > 1 else 0)
    columns = 2 if len(rows) > 1 else 1
    lines = [np.concatenate(rows[i : i + columns], axis=1) for i in range(0, len(rows), columns)]
    return np.concatenate(lines)


def _captioned(text: str, pixels: np.ndarray) -> np.ndarray:
    caption = np.zeros((_CAPTION, pixels.shape[1], 3), np.uint8)
    cv2.putText(
        caption, text, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA
    )
    return np.concatenate([caption, pixels])


def _fit(pixels: np.ndarray) -> np.ndarray:
    """The picture at its own aspect ratio in the middle of a cell."""
    height, width = pixels.shape[:2]
    scale = (CELL - 4) / max(height, width)
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    cell = np.full((CELL, CELL, 3), 32, np.uint8)
    top, left = (CELL - h) // 2, (CELL - w) // 2
    cell[top : top + h, left : left + w] = cv2.resize(
        pixels, (w, h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    return cell
