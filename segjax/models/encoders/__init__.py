"""Backbones. An encoder maps float [N, H, W, 3] to one feature map for each of its `strides`.

Contract: `strides` and `out_channels`, finest first, and `output_stride` (16 or 8), which trades
the last halving for dilation: the same weights give the same features, four times as many.
"""

from segjax.models.encoders.dilated_resnet import DilatedResNet
from segjax.models.encoders.hybrid import Hybrid
from segjax.models.encoders.mobilenet_v3 import MobileNetV3

ENCODERS = {
    "dilated_resnet": DilatedResNet,
    "hybrid": Hybrid,
    "mobilenet_v3": MobileNetV3,
}
