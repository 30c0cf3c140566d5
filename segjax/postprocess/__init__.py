"""After the network: labels drawn to the picture's edges, and pictures larger than a network."""

from segjax.postprocess.crf import DenseCRF, dense_crf
from segjax.postprocess.tiling import predict_tiled

__all__ = ["DenseCRF", "dense_crf", "predict_tiled"]
