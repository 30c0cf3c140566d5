"""Weights from elsewhere: torchvision's and Hugging Face's checkpoints as ours."""

import importlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from flax import nnx

from segjax import weights
from segjax.errors import SegjaxError
from segjax.interop.convert import Imported, convert, read_tensors
from segjax.models import shapes_of
from segjax.models.decoders import DECODERS
from segjax.models.encoders import ENCODERS
from segjax.models.segmenter import variant_class

__all__ = ["Imported", "from_tensors", "import_weights"]

HOMES = {
    "efficientnet": "torchvision",
    "efficientnet_lite": "efficientnet_lite",
    "hrnet": "hrnet",
    "mix_transformer": "huggingface",
    "mobilenet_v2": "torchvision",
    "mobilenet_v3": "torchvision",
    "resnet": "torchvision",
    "vgg": "torchvision",
}
"""Where the weights of a family of encoders come from: a module here with a function `plan`."""

MODELS = {
    "deeplabv3": ("mobilenet_v3", "resnet"),
    "fcn_head": ("mobilenet_v3", "resnet"),
    "hrnet": ("hrnet",),
    "lraspp": ("mobilenet_v3",),
    "segformer": ("mix_transformer",),
}
"""Whole models, and the families that they come on."""


def import_weights(path: Path | str, *, model: str = "", encoder: str = "") -> Imported:
    """Reads foreign weights of a whole model or of an encoder alone.

    Nothing in the file is executed. What has no place in ours, such as a classifier's last layers,
    is left out and listed.

    Args:
      path: of a `.pth` or `.pt` file of PyTorch, or of safetensors.
      model: its name here; none for the encoder alone.
      encoder: its name here; the model's own by default.

    Raises:
      SegjaxError: the file is broken or holds more than tensors, or its names or shapes are not
        those of such a network; the message lists them.
    """
    encoder = _checked(model, encoder)
    return from_tensors(read_tensors(Path(path)), model=model, encoder=encoder, source=str(path))


def from_tensors(
    tensors: Mapping[str, np.ndarray], *, model: str = "", encoder: str = "", source: str = "it"
) -> Imported:
    """Like `import_weights`, of arrays by their foreign names; `source` is for messages."""
    encoder = _checked(model, encoder)
    module = importlib.import_module(f"segjax.interop.{HOMES[ENCODERS.family(encoder)]}")
    plan = module.plan(model, encoder, tensors)
    config = plan.config

    def build() -> nnx.Module:
        if config.decoder:
            return weights.create_model(config)
        return weights.create_encoder(config)

    variables = weights.variables(shapes_of(build))
    return convert(plan, {name: one.shape for name, one in variables.items()}, source)


def _checked(model: str, encoder: str) -> str:
    """The encoder's name, if weights of such a network can be imported."""
    if not model and not encoder:
        raise SegjaxError(
            "neither --model nor --encoder says what the weights are of; known are the models "
            f"{', '.join(MODELS)} and the encoders {', '.join(_importable())}; give one"
        )
    if model and model not in MODELS:
        raise SegjaxError(
            f"weights of {model} cannot be imported; those of {', '.join(MODELS)} can; or give an "
            "--encoder alone"
        )
    encoder = encoder or variant_class(DECODERS[model]).encoder[0]
    if encoder not in _importable(model):
        raise SegjaxError(
            f"weights of {f'{model} on ' if model else ''}{encoder} cannot be imported; known "
            f"encoders are {', '.join(_importable(model))}; give one of them"
        )
    return encoder


def _importable(model: str = "") -> list[str]:
    families = MODELS[model] if model else tuple(HOMES)
    return [name for name in ENCODERS.names if ENCODERS.family(name) in families]
