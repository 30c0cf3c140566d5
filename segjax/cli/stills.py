"""Masks of single pictures as files, for `segjax segment`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segjax.evaluation.predictors import load_predictor, refine
from segjax.images import write_image
from segjax.labels import overlay, palette, to_labels, write_labels

if TYPE_CHECKING:
    from segjax.postprocess import DenseCRF

Writer = Callable[[Path, np.ndarray], None]
"""(path of the PNG, picture uint8 [H, W, 3]): finds the picture's mask and writes it."""


def load_writer(model: str, *, crf: bool, tile: tuple[int, int] | None) -> Writer:
    """The writer for a model's masks: alpha in grey, or labels in a palette with an overlay.

    Raises:
      SegjaxError: as `load_predictor` and `refine`.
    """
    predictor = load_predictor(model)
    predict = refine(predictor, window=tile, crf=_default_crf() if crf else None)
    if predictor.classes == 1:
        return lambda path, pixels: write_image(path, to_mask(predict(pixels)))
    colours = palette(predictor.classes)

    def write(path: Path, pixels: np.ndarray) -> None:
        labels = to_labels(predict(pixels))
        write_labels(path, labels, colours)
        write_image(path.with_name(f"{path.stem}_overlay.jpg"), overlay(pixels, labels, colours))

    return write


def to_mask(alpha: np.ndarray) -> np.ndarray:
    """alpha float [H, W] in [0, 1] → uint8 [H, W] in 0..255."""
    return np.rint(np.clip(alpha, 0, 1) * 255).astype(np.uint8)


def _default_crf() -> "DenseCRF":
    from segjax.postprocess import DenseCRF  # imports JAX, which an ONNX network needs not

    return DenseCRF()
