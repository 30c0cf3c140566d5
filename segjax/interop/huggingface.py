"""Hugging Face's names: SegFormer's encoder, and the whole model.

The names are those in its files. In the library, parts were renamed in version 5; what it saves
still has the old ones.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from segjax.config import ModelConfig
from segjax.interop.convert import Plan, layer
from segjax.models.encoders import ENCODERS
from segjax.models.initial import Keys, shapes_of

Names = dict[str, str]

ENCODER_OPTIONS: dict[str, Any] = {"epsilon": 1e-5}
"""The library's norms have PyTorch's, whatever a file's config says."""


def plan(model: str, encoder: str, tensors: Mapping[str, np.ndarray]) -> Plan:
    """How a SegFormer of Hugging Face, or its encoder alone, becomes ours."""
    body = shapes_of(lambda: ENCODERS[encoder](**ENCODER_OPTIONS, rngs=Keys(0)))
    # A bare encoder is saved without the name of the model around it.
    whole = any(name.startswith("segformer.") for name in tensors)
    names = {
        f"encoder.{ours}": f"{'segformer.' if whole else ''}encoder.{theirs}"
        for ours, theirs in _encoder(body).items()
    }
    tensors = {name: _flat(name, value) for name, value in tensors.items()}
    if not model:
        config = ModelConfig(encoder, "", encoder_options=ENCODER_OPTIONS)
        return Plan(config, names, ("decode_head.", "classifier."), tensors)
    scores, mix = (
        tensors.get(f"decode_head.{name}.weight") for name in ("classifier", "linear_fuse")
    )
    config = ModelConfig(
        encoder,
        model,
        classes=1 if scores is None else len(scores),
        encoder_options=ENCODER_OPTIONS,
        decoder_options={} if mix is None else {"width": len(mix)},
    )
    return Plan(config, names | _decoder(len(body.stages)), (), tensors)


def _encoder(encoder: Any) -> Names:
    names: Names = {}
    for at, stage in enumerate(encoder.stages):
        ours, theirs = f"stages.{at}", f"patch_embeddings.{at}"
        names |= layer(f"{ours}.embed.project", f"{theirs}.proj")
        names |= _norm(f"{ours}.embed.norm", f"{theirs}.layer_norm")
        for index, block in enumerate(stage.blocks):
            names |= _block(block, f"{ours}.blocks.{index}", f"block.{at}.{index}")
        names |= _norm(f"{ours}.norm", f"layer_norm.{at}")
    return names


def _block(block: Any, ours: str, theirs: str) -> Names:
    names = _norm(f"{ours}.norm1", f"{theirs}.layer_norm_1")
    for part in ("query", "key", "value"):
        names |= layer(f"{ours}.attention.{part}", f"{theirs}.attention.self.{part}")
    names |= layer(f"{ours}.attention.out", f"{theirs}.attention.output.dense")
    if block.attention.reduce is not None:
        names |= layer(f"{ours}.attention.reduce", f"{theirs}.attention.self.sr")
        names |= _norm(f"{ours}.attention.norm", f"{theirs}.attention.self.layer_norm")
    names |= _norm(f"{ours}.norm2", f"{theirs}.layer_norm_2")
    names |= layer(f"{ours}.ffn.expand", f"{theirs}.mlp.dense1")
    names |= layer(f"{ours}.ffn.spatial", f"{theirs}.mlp.dwconv.dwconv")
    return names | layer(f"{ours}.ffn.project", f"{theirs}.mlp.dense2")


def _decoder(stages: int) -> Names:
    names: Names = {}
    for at in range(stages):
        names |= layer(f"decoder.project.{at}", f"decode_head.linear_c.{at}.proj")
    names |= layer("decoder.mix", "decode_head.linear_fuse", "decode_head.batch_norm")
    return names | layer("decoder.classifier", "decode_head.classifier")


def _norm(ours: str, theirs: str) -> Names:
    return {f"{ours}.scale": f"{theirs}.weight", f"{ours}.bias": f"{theirs}.bias"}


def _flat(name: str, value: np.ndarray) -> np.ndarray:
    """Sequence reduction [F, C, R, R] as the linear layer [F, R² · C] that it is on patches."""
    if not name.endswith(".self.sr.weight") or value.ndim != 4:
        return value
    return value.transpose(0, 2, 3, 1).reshape(len(value), -1)
