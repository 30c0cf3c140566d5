"""Networks with the same weights here and elsewhere, and what is kept of their results.

Weights are drawn by the hash of their foreign name, so that none need be stored: a golden file has
the names and shapes of the original's tensors, and of its maps a few numbers.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from segjax import weights
from segjax.interop import Imported, from_tensors
from segjax.models.encoders import ENCODERS
from segjax.models.initial import Keys, shapes_of

FOLDER = Path(__file__).parent / "golden"

TOLERANCE = 1e-4
"""Largest difference, as a share of the original's largest value."""


class Case(NamedTuple):
    """A network here; `options` are the encoder's, where the default differs from the original."""

    encoder: str
    model: str = ""
    options: Mapping[str, Any] = {}

    @property
    def name(self) -> str:
        return f"{self.model}-{self.encoder}" if self.model else self.encoder


FLOOR = {"ceil": False}  # torchvision's pooling drops the last row of an odd number

GOLDEN = (
    Case("vgg11_bn", options=FLOOR),
    Case("resnet18"),
    Case("mobilenet_v2"),
    Case("mobilenet_v3_small"),
    Case("efficientnet_b0"),
    Case("resnet50", "fcn_head"),
    Case("mobilenet_v3_large", "deeplabv3"),
    Case("mobilenet_v3_large", "lraspp"),
    Case("mit_b0", "segformer"),
)
SIZE = (33, 47)
CLASSES = 3


def filled(shapes: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    """Weights by name: norms and their statistics away from where they start, maps of size 1."""
    arrays = {}
    for name, shape in shapes.items():
        if math.prod(shape) > 10**7:  # VGG's fully connected layers, which nobody looks at
            arrays[name] = np.zeros(tuple(shape), np.float32)
            continue
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
        drawn = np.random.default_rng(seed).standard_normal(tuple(shape), np.float32)
        if name.endswith("num_batches_tracked"):
            arrays[name] = np.asarray(1)
        elif name.endswith("running_var"):
            arrays[name] = np.exp(0.3 * drawn)
        elif len(shape) > 1:
            arrays[name] = drawn / np.float32(math.sqrt(math.prod(shape[1:])))
        else:
            arrays[name] = 0.1 * drawn + np.float32(len(shape) == 1 and name.endswith("weight"))
    return arrays


def picture(size: tuple[int, int]) -> np.ndarray:
    """float32 [1, *size, 3] in [0, 1]."""
    return np.random.default_rng(size).uniform(size=(1, *size, 3)).astype(np.float32)


def imported(case: Case, tensors: Mapping[str, np.ndarray]) -> Any:
    """Our network with foreign weights, as arrays."""
    return network(case, from_tensors(tensors, model=case.model, encoder=case.encoder))


def network(case: Case, found: Imported) -> nnx.Module:
    """Our network with its weights."""
    config = found.config
    options = {**config.encoder_options, **case.options}
    model: Any = shapes_of(
        lambda: (
            weights.create_model(config)
            if case.model
            else nnx.Dict(encoder=ENCODERS[case.encoder](**options, rngs=Keys(0)))
        )
    )
    for name, variable in weights.variables(model).items():
        variable.set_value(jnp.asarray(found.arrays[name]))
    model.eval()
    return model


def maps(case: Case, model: Any, x: np.ndarray) -> list[np.ndarray]:
    """Ours: an encoder's features of the picture as it is, or a model's logits."""

    @nnx.jit
    def run(model: Any, x: jax.Array) -> Any:
        if not case.model:
            return model.encoder(x)
        return [one for one in model.decode(model.features(x), x) if one is not None]

    return [np.asarray(one) for one in run(model, jnp.asarray(x))]


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest, as a share of the largest value wanted."""
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def sampled(map_: np.ndarray) -> np.ndarray:
    """What is kept of a map: 32 numbers all over it, its mean, and its largest absolute value."""
    at = np.random.default_rng(map_.size).integers(map_.size, size=32)
    return np.concatenate([map_.ravel()[at], [map_.mean(), np.abs(map_).max()]])


def store(case: Case, shapes: Mapping[str, Sequence[int]], wanted: list[np.ndarray]) -> None:
    """Writes a case's golden file."""
    names = json.dumps({name: list(shape) for name, shape in shapes.items()})
    arrays: dict[str, Any] = {"tensors": np.frombuffer(names.encode(), np.uint8)}
    for index, one in enumerate(wanted):
        arrays |= {f"shape{index}": one.shape, str(index): sampled(one)}
    FOLDER.mkdir(exist_ok=True)
    np.savez_compressed(FOLDER / f"{case.name}.npz", **arrays)


def restore(case: Case) -> tuple[dict[str, list[int]], list[tuple[tuple[int, ...], np.ndarray]]]:
    """Names and shapes of the original's tensors; shape and samples of each of its maps."""
    with np.load(FOLDER / f"{case.name}.npz") as file:
        shapes = json.loads(file["tensors"].tobytes())
        count = sum(name.startswith("shape") for name in file.files)
        return shapes, [(tuple(file[f"shape{at}"]), file[str(at)]) for at in range(count)]
