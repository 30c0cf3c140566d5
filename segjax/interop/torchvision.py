"""torchvision's names: its classifiers as encoders, its segmentation models as a whole."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from segjax.config import ModelConfig
from segjax.interop.convert import Plan, layer
from segjax.models.encoders import ENCODERS
from segjax.models.initial import Keys, shapes_of

Names = dict[str, str]

ENCODER_OPTIONS: dict[str, dict[str, Any]] = {
    "resnet": {"output_stride": 8, "multi_grid": ()},
    "mobilenet_v3": {"output_stride": 16, "torchvision": True},
}
"""Of its segmentation models, by the encoder's family: what the weights do not tell."""

DECODER_OPTIONS: dict[str, dict[str, Any]] = {"deeplabv3": {"rates": (12, 24, 36)}}


def plan(model: str, encoder: str, tensors: Mapping[str, np.ndarray]) -> Plan:
    """How torchvision's weights of `encoder`, or of `model` on it, become ours."""
    family = ENCODERS.family(encoder)
    options = ENCODER_OPTIONS.get(family, {}) if model else {}
    body = shapes_of(lambda: ENCODERS[encoder](**options, rngs=Keys(0)))
    backbone = any(name.startswith("backbone.") for name in tensors)
    names, left_out = ENCODER_NAMES[family](body, "backbone" if backbone else "")
    names = {f"encoder.{ours}": theirs for ours, theirs in names.items()}
    tensors = _without_biases(tensors)
    if not model:
        left_out += ("aux_classifier.",)
        return Plan(ModelConfig(encoder, "", encoder_options=options), names, left_out, tensors)
    auxiliary = family == "resnet" and "aux_classifier.4.weight" in tensors
    scores = tensors.get(SCORES[model])
    config = ModelConfig(
        encoder,
        model,
        classes=1 if scores is None else len(scores),
        auxiliary="fcn_auxiliary" if auxiliary else "",
        encoder_options=options,
        decoder_options=DECODER_OPTIONS.get(model, {}),
    )
    names |= DECODER_NAMES[model]
    if auxiliary:
        names |= _head("auxiliary", "aux_classifier")
    return Plan(config, names, () if auxiliary else ("aux_classifier.",), tensors)


def _without_biases(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Without the biases before VGG's batch norms: the norm subtracts them with its mean."""
    tensors = dict(tensors)
    for name in list(tensors):
        parts = name.split(".")
        if parts[0] != "features" or len(parts) != 3 or parts[2] != "running_mean":
            continue
        bias = tensors.pop(f"features.{int(parts[1]) - 1}.bias", None)
        if bias is not None and bias.shape == tensors[name].shape:
            tensors[name] = tensors[name] - bias
    return tensors


# --- encoders: our names → theirs, and the beginnings of theirs that are left out -------------


def _vgg(encoder: Any, prefix: str) -> tuple[Names, tuple[str, ...]]:
    names, index = {}, 0
    prefix = prefix or "features"
    for stage, convs in enumerate(encoder.stages):
        for at, conv in enumerate(convs):
            normed = hasattr(conv, "norm")
            norm = f"{prefix}.{index + 1}" if normed else None
            names |= layer(f"stages.{stage}.{at}", f"{prefix}.{index}", norm)
            index += 3 if normed else 2  # with the ReLU
        index += 1  # pooling
    return names, ("classifier.",)


def _resnet(encoder: Any, prefix: str) -> tuple[Names, tuple[str, ...]]:
    prefix = f"{prefix}." if prefix else ""
    names = layer("stem.0", f"{prefix}conv1", f"{prefix}bn1")
    for stage, blocks in enumerate(encoder.stages):
        for at, block in enumerate(blocks):
            ours, theirs = f"stages.{stage}.{at}", f"{prefix}layer{stage + 1}.{at}"
            parts = (
                ("reduce", "spatial", "expand") if hasattr(block, "reduce") else ("first", "second")
            )
            for number, part in enumerate(parts, 1):
                names |= layer(f"{ours}.{part}", f"{theirs}.conv{number}", f"{theirs}.bn{number}")
            if block.shortcut is not None:
                names |= layer(
                    f"{ours}.shortcut", f"{theirs}.downsample.0", f"{theirs}.downsample.1"
                )
    return names, ("fc.", "classifier.")


def _mobilenet_v2(encoder: Any, prefix: str) -> tuple[Names, tuple[str, ...]]:
    prefix = prefix or "features"
    names = layer("layers.0", f"{prefix}.0.0", f"{prefix}.0.1")
    for at, block in list(enumerate(encoder.layers))[1:]:
        theirs = f"{prefix}.{at}.conv"
        parts = [part for part in ("expand", "spatial") if getattr(block, part) is not None]
        for index, part in enumerate(parts):
            names |= layer(f"layers.{at}.{part}", f"{theirs}.{index}.0", f"{theirs}.{index}.1")
        index = len(parts)
        names |= layer(f"layers.{at}.project", f"{theirs}.{index}", f"{theirs}.{index + 1}")
    return names, (f"{prefix}.{len(encoder.layers)}.", "classifier.")


def _mobilenet_v3(encoder: Any, prefix: str) -> tuple[Names, tuple[str, ...]]:
    prefix = prefix or "features"
    last = len(encoder.layers) - 1
    names = {}
    for at in (0, last):
        names |= layer(f"layers.{at}", f"{prefix}.{at}.0", f"{prefix}.{at}.1")
    for at in range(1, last):
        names |= _inverted(encoder.layers[at], f"layers.{at}", f"{prefix}.{at}.block")
    return names, ("classifier.",)


def _efficientnet(encoder: Any, prefix: str) -> tuple[Names, tuple[str, ...]]:
    prefix = prefix or "features"
    names, at = layer("layers.0", f"{prefix}.0.0", f"{prefix}.0.1"), 1
    for stage, depth in enumerate(encoder.depths, 1):
        for block in range(depth):
            theirs = f"{prefix}.{stage}.{block}.block"
            names |= _inverted(encoder.layers[at], f"layers.{at}", theirs)
            at += 1
    return names, (f"{prefix}.{len(encoder.depths) + 1}.", "classifier.")


def _inverted(block: Any, ours: str, theirs: str) -> Names:
    """An inverted residual: what it has of its four parts is numbered."""
    names = {}
    parts = ("expand", "spatial", "squeeze", "project")
    for index, part in enumerate(part for part in parts if getattr(block, part) is not None):
        if part == "squeeze":
            names |= layer(f"{ours}.squeeze.squeeze", f"{theirs}.{index}.fc1")
            names |= layer(f"{ours}.squeeze.excite", f"{theirs}.{index}.fc2")
        else:
            names |= layer(f"{ours}.{part}", f"{theirs}.{index}.0", f"{theirs}.{index}.1")
    return names


ENCODER_NAMES = {
    "vgg": _vgg,
    "resnet": _resnet,
    "mobilenet_v2": _mobilenet_v2,
    "mobilenet_v3": _mobilenet_v3,
    "efficientnet": _efficientnet,
}


# --- decoders ---------------------------------------------------------------------------------


def _head(ours: str, theirs: str) -> Names:
    return layer(f"{ours}.conv", f"{theirs}.0", f"{theirs}.1") | layer(
        f"{ours}.classifier", f"{theirs}.4"
    )


def _deeplabv3() -> Names:
    convs = "classifier.0.convs"
    names = layer("decoder.pyramid.pointwise", f"{convs}.0.0", f"{convs}.0.1")
    for at in range(3):
        names |= layer(f"decoder.pyramid.atrous.{at}", f"{convs}.{at + 1}.0", f"{convs}.{at + 1}.1")
    names |= layer("decoder.pyramid.image", f"{convs}.4.1", f"{convs}.4.2")
    names |= layer("decoder.pyramid.project", "classifier.0.project.0", "classifier.0.project.1")
    names |= layer("decoder.refine", "classifier.1", "classifier.2")
    return names | layer("decoder.classifier", "classifier.4")


def _lraspp() -> Names:
    return (
        layer("decoder.project", "classifier.cbr.0", "classifier.cbr.1")
        | layer("decoder.scale", "classifier.scale.1", bias=False)
        | layer("decoder.low_classifier", "classifier.low_classifier")
        | layer("decoder.high_classifier", "classifier.high_classifier")
    )


DECODER_NAMES = {
    "fcn_head": _head("decoder", "classifier"),
    "deeplabv3": _deeplabv3(),
    "lraspp": _lraspp(),
}

SCORES = {
    "fcn_head": "classifier.4.weight",
    "deeplabv3": "classifier.4.weight",
    "lraspp": "classifier.low_classifier.weight",
}
"""What tells the number of classes."""
