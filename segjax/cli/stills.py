"""Masks of single pictures as files, for `segjax segment`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from segjax.errors import SegjaxError
from segjax.evaluation.predictors import LabelPredictor, Predictor, is_onnx, load_predictor
from segjax.images import write_image
from segjax.labels import overlay, palette, write_labels

Writer = Callable[[Path, np.ndarray], None]
"""(path of the PNG, picture uint8 [H, W, 3]): finds the picture's mask and writes it."""


def load_writer(model: str, *, crf: bool, tile: tuple[int, int] | None) -> Writer:
    """The writer for a model's masks: alpha in grey, or labels in a palette with an overlay.

    Raises:
      SegjaxError: as `load_predictor`; or a side of the tile does not fit the model.
    """
    if not is_onnx(model):
        from segjax import weights
        from segjax.compilation import use_cache

        use_cache()
        released = weights.load(model)
        if tile and any(side < 1 or side % released.model.multiple for side in tile):
            raise SegjaxError(
                f"got --tile {tile[0]} {tile[1]}; {model} takes sides that are multiples of "
                f"{released.model.multiple}; give such"
            )
        if released.config.classes > 1:
            return _write_labels(LabelPredictor(released), crf, tile)
    return _write_alpha(load_predictor(model), crf, tile)


def to_mask(alpha: np.ndarray) -> np.ndarray:
    """alpha float [H, W] in [0, 1] → uint8 [H, W] in 0..255."""
    return np.rint(np.clip(alpha, 0, 1) * 255).astype(np.uint8)


def _write_alpha(predict: Predictor, crf: bool, tile: tuple[int, int] | None) -> Writer:
    tiled = _by_tiles(predict, tile)

    def write(path: Path, pixels: np.ndarray) -> None:
        alpha = tiled(pixels)
        if crf:
            alpha = _by_crf(np.stack([1 - alpha, alpha], axis=-1), pixels)[..., 1]
        write_image(path, to_mask(alpha))

    return write


def _write_labels(predict: LabelPredictor, crf: bool, tile: tuple[int, int] | None) -> Writer:
    tiled = _by_tiles(predict, tile)
    colours = palette(predict.classes)

    def write(path: Path, pixels: np.ndarray) -> None:
        probabilities = tiled(pixels)
        if crf:
            probabilities = _by_crf(probabilities, pixels)
        labels = probabilities.argmax(-1).astype(np.uint8)
        write_labels(path, labels, colours)
        write_image(path.with_name(f"{path.stem}_overlay.jpg"), overlay(pixels, labels, colours))

    return write


def _by_tiles(predict: Predictor, tile: tuple[int, int] | None) -> Predictor:
    if tile is None:
        return predict
    from segjax.postprocess import predict_tiled

    return lambda pixels: predict_tiled(predict, pixels, tile)


def _by_crf(probabilities: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    from segjax.postprocess import dense_crf

    return np.array(dense_crf(probabilities, pixels))
