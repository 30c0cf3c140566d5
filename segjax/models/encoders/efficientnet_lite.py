"""EfficientNet-Lite (Liu, 2020, in TensorFlow's TPU repository): EfficientNet for small processors.

Squeeze and excitation, which waits for the whole map, is gone, and swish is ReLU6; `act="relu"`
is a little faster still, and the weights bear it.
"""

from functools import partial

from segjax.models.encoders.efficientnet import EfficientNet

COEFFICIENTS = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8))
"""Of the channels and of the blocks, Lite0 to Lite4."""

VARIANTS = {
    f"efficientnet_lite{index}": partial(
        EfficientNet, width=width, depth=depth, epsilon=1e-3, lite=True, act="relu6"
    )
    for index, (width, depth) in enumerate(COEFFICIENTS)
}
