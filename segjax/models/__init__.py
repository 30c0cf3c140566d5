"""Networks, and nothing else: constructors take explicit keywords, calls take and give arrays."""

from segjax.models.blocks import fold_norms
from segjax.models.segmenter import Segmenter, create_model

__all__ = ["Segmenter", "create_model", "fold_norms"]
