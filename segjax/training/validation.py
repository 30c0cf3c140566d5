"""What the weights are worth while they train: the metric of `segjax evaluate`, and pictures."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np
from flax import nnx

from segjax.data import Item, Source
from segjax.evaluation.metrics import iou, overlap
from segjax.geometry import network_size
from segjax.images import write_image
from segjax.models import Segmenter, fold_norms

Predict = Callable[[np.ndarray], np.ndarray]


def make_predict(model: Segmenter) -> Callable[[Any, np.ndarray], np.ndarray]:
    """(folded parameters, uint8 [h, w, 3]) → alpha float32 [h, w]; one compilation a size."""
    folded = nnx.clone(model)
    folded.eval()
    fold_norms(folded)
    graph, _ = nnx.split(folded)

    @jax.jit
    def predict(parameters: Any, pixels: jax.Array) -> jax.Array:
        logits = nnx.merge(graph, parameters)(pixels[None].astype(np.float32) / 255)
        return jax.nn.sigmoid(logits[0, ..., 0])

    return lambda parameters, pixels: np.asarray(predict(parameters, pixels))


def folded_parameters(model: Segmenter) -> Any:
    """The parameters of `model` for `make_predict`."""
    folded = nnx.clone(model)
    folded.eval()
    fold_norms(folded)
    return nnx.split(folded)[1]


def predict_full_size(predict: Predict, pixels: np.ndarray) -> np.ndarray:
    """alpha float32 [H, W] of a picture uint8 [H, W, 3], seen at its own aspect ratio."""
    height, width = pixels.shape[:2]
    rows, columns = network_size(height, width)
    small = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA)
    return cv2.resize(predict(small), (width, height), interpolation=cv2.INTER_LINEAR)


def validate(predict: Predict, source: Source) -> dict[str, float]:
    """`mean_iou` and `median_iou` of the person over a source, at full image size."""
    values = []
    for index in range(len(source)):
        item = source[index]
        values.append(iou(*overlap(predict_full_size(predict, item["image"]), item["mask"])))
    return {"mean_iou": float(np.mean(values)), "median_iou": float(np.median(values))}


def draw_examples(path: Path, predict: Predict, items: Sequence[Item], height: int = 160) -> None:
    """Writes a picture with a row an item: photograph, true mask, predicted mask."""
    rows = []
    for item in items:
        alpha = predict_full_size(predict, item["image"])
        predicted = np.rint(alpha * 255).astype(np.uint8)
        panels = [item["image"], *(np.dstack([m] * 3) for m in (item["mask"], predicted))]
        width = round(height * item["image"].shape[1] / item["image"].shape[0])
        rows.append(np.hstack([cv2.resize(panel, (width, height)) for panel in panels]))
    widest = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 4), (0, widest - row.shape[1]), (0, 0))) for row in rows]
    write_image(path, np.vstack(padded))
