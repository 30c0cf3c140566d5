"""Networks, and nothing else: constructors take explicit keywords, calls take and give arrays."""

from segjax.models.blocks import fold_norms
from segjax.models.segmenter import Segmenter, create_segmenter

__all__ = ["Segmenter", "create_segmenter", "fold_norms"]
