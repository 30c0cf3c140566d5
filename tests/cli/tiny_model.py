"""A network small enough to be written, averaged and released in a test."""

from segjax.config import ModelConfig

TINY = ModelConfig(
    encoder="hybrid",
    decoder="skip_aspp",
    encoder_options={"widths": [8, 8, 8], "expanded": 8, "dilations": [1]},
    decoder_options={"widths": [8, 8], "rates": [], "branch": 8},
)
