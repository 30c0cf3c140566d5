"""Hugging Face's SegFormer, for `make parity`; the same functions as in `originals.py`."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import originals  # noqa: F401 - before transformers, which imports torchvision
import torch  # pyright: ignore[reportMissingImports]
from golden import CLASSES, Case
from safetensors.numpy import load_file, save_file
from transformers import (  # pyright: ignore[reportMissingImports]
    SegformerConfig,
    SegformerForImageClassification,
    SegformerForSemanticSegmentation,
)

SIZES: dict[str, dict[str, Any]] = {
    "mit_b0": {},
    "mit_b2": {
        "hidden_sizes": [64, 128, 320, 512],
        "depths": [3, 4, 6, 3],
        "decoder_hidden_size": 768,
    },
}
"""Written out, since nothing is downloaded; B0 is the library's default."""


def build(case: Case) -> Any:
    """The original with weights of its own: an encoder comes with its classifier."""
    config = SegformerConfig(num_labels=CLASSES, **SIZES[case.encoder])
    kind = SegformerForSemanticSegmentation if case.model else SegformerForImageClassification
    return kind(config)


def save(model: Any, folder: Path) -> Path:
    """Writes the original as its users find it; gives the file of weights."""
    model.save_pretrained(folder)
    return folder / "model.safetensors"


def shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """Of all tensors in the original's file, whose names are not those of its modules."""
    with tempfile.TemporaryDirectory() as folder:
        arrays = load_file(save(model, Path(folder)))
    return {name: array.shape for name, array in arrays.items()}


def load(model: Any, arrays: dict[str, np.ndarray]) -> None:
    """Gives the original these weights, by its own reading of its files; then inference."""
    with tempfile.TemporaryDirectory() as folder:
        path = save(model, Path(folder))
        save_file(arrays, path, metadata={"format": "pt"})
        found = type(model).from_pretrained(folder)
    model.load_state_dict(found.state_dict())
    model.eval()


@torch.no_grad()
def maps(case: Case, model: Any, x: np.ndarray) -> list[np.ndarray]:
    """The original's logits, upsampled to the picture as its documentation does it; or features.

    NHWC. A model gets the picture centred, an encoder as it is.
    """
    y = torch.from_numpy(x).permute(0, 3, 1, 2)
    if case.model:
        mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        logits = model((y - mean[:, None, None]) / deviation[:, None, None]).logits
        size = x.shape[1:3]
        found = [
            torch.nn.functional.interpolate(logits, size, mode="bilinear", align_corners=False)
        ]
    else:
        found = model(y, output_hidden_states=True).hidden_states
    return [one.permute(0, 2, 3, 1).numpy() for one in found]
