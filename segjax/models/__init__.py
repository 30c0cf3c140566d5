"""Networks, and nothing else: constructors take explicit keywords, calls take and give arrays."""

from segjax.models.blocks import (
    batches_by,
    convolutions_by,
    fold_norms,
    prepare_kernels,
    seed_dropout,
)
from segjax.models.initial import shapes_of
from segjax.models.segmenter import Segmenter, create_model, encode

__all__ = [
    "Segmenter",
    "batches_by",
    "convolutions_by",
    "create_model",
    "encode",
    "fold_norms",
    "prepare_kernels",
    "seed_dropout",
    "shapes_of",
]
