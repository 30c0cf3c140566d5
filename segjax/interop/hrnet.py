"""The authors' names for HRNet: of the ImageNet classifier, also timm's, and of the whole model."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from segjax.config import ModelConfig
from segjax.interop.convert import Plan, layer
from segjax.models.encoders import ENCODERS
from segjax.models.initial import Keys, shapes_of

Names = dict[str, str]

HEADS = ("incre_modules.", "downsamp_modules.", "final_layer.", "classifier.", "last_layer.")
"""Of the classifier and of the model for segmentation."""


def plan(model: str, encoder: str, tensors: Mapping[str, np.ndarray]) -> Plan:
    """How the authors' weights of an HRNet, alone or under its head, become ours.

    The classifier was trained with nearest upsampling between branches, the model with bilinear.
    """
    body = shapes_of(lambda: ENCODERS[encoder](rngs=Keys(0)))
    names = {f"encoder.{ours}": theirs for ours, theirs in _encoder(body).items()}
    # As it was trained: the network stands beside the loss.
    tensors = {
        name.removeprefix("model."): value
        for name, value in tensors.items()
        if not name.startswith("loss.")
    }
    if not model:
        return Plan(ModelConfig(encoder, ""), names, HEADS, tensors)
    names |= layer("decoder.mix", "last_layer.0", "last_layer.1")
    names |= layer("decoder.classifier", "last_layer.3")
    # A norm subtracts the bias before it with its mean.
    bias, mean = tensors.pop("last_layer.0.bias", None), tensors.get("last_layer.1.running_mean")
    if bias is not None and mean is not None and bias.shape == mean.shape:
        tensors["last_layer.1.running_mean"] = mean - bias
    scores = tensors.get("last_layer.3.weight")
    return Plan(
        ModelConfig(encoder, model, classes=1 if scores is None else len(scores)),
        names,
        (),
        tensors,
    )


def _encoder(encoder: Any) -> Names:
    names = layer("stem.0", "conv1", "bn1") | layer("stem.1", "conv2", "bn2")
    for at, block in enumerate(encoder.stage1):
        ours, theirs = f"stage1.{at}", f"layer1.{at}"
        for number, part in enumerate(("reduce", "spatial", "expand"), 1):
            names |= layer(f"{ours}.{part}", f"{theirs}.conv{number}", f"{theirs}.bn{number}")
        if block.shortcut is not None:
            names |= _pair(f"{ours}.shortcut", f"{theirs}.downsample")
    for number, stage in enumerate((encoder.stage2, encoder.stage3, encoder.stage4), 1):
        ours, theirs = f"stage{number + 1}", f"transition{number}"
        for at, transition in enumerate(stage.transitions):
            if transition is not None:
                names |= _pair(f"{ours}.transitions.{at}", f"{theirs}.{at}")
        names |= _pair(f"{ours}.start", f"{theirs}.{len(stage.transitions)}.0")
        for at, exchange in enumerate(stage.modules):
            names |= _exchange(exchange, f"{ours}.modules.{at}", f"stage{number + 1}.{at}")
    return names


def _exchange(exchange: Any, ours: str, theirs: str) -> Names:
    names: Names = {}
    for branch, blocks in enumerate(exchange.branches):
        for at in range(len(blocks)):
            block = f"{theirs}.branches.{branch}.{at}"
            for number, part in enumerate(("first", "second"), 1):
                names |= layer(
                    f"{ours}.branches.{branch}.{at}.{part}",
                    f"{block}.conv{number}",
                    f"{block}.bn{number}",
                )
    for end, paths in enumerate(exchange.fuse):
        for start, path in enumerate(paths):
            for at in range(len(path)):
                # The one 1×1 convolution upwards is not numbered.
                step = "" if start > end else f".{at}"
                names |= _pair(
                    f"{ours}.fuse.{end}.{start}.{at}", f"{theirs}.fuse_layers.{end}.{start}{step}"
                )
    return names


def _pair(ours: str, theirs: str) -> Names:
    return layer(ours, f"{theirs}.0", f"{theirs}.1")
