"""What a run is made of: frozen dataclasses, each field stated once, an unknown key an error."""

import dataclasses
import typing
from typing import Annotated, Any, TypeVar

import tyro

from segjax.data.transforms import Augmentation
from segjax.errors import SegjaxError

T = TypeVar("T")

Options = Annotated[dict[str, Any], tyro.conf.Fixed]
"""Keywords of an encoder or decoder: set in a config file, not on the command line."""


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A network by its parts; see `segjax.models.create_model`."""

    encoder: str
    """Name of the backbone."""
    decoder: str
    """Name of the decoder."""
    classes: int = 1
    """Channels of logits: 1 for person or room."""
    auxiliary: str = ""
    """Name of a second decoder for a second loss; none if empty."""
    encoder_options: Options = dataclasses.field(default_factory=dict)
    decoder_options: Options = dataclasses.field(default_factory=dict)
    seed: int = 0
    """Of the initial weights."""


@dataclasses.dataclass(frozen=True)
class Bucket:
    """A size that whole batches have, and how often."""

    height: int
    width: int
    weight: float


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Pictures and masks in a folder; see `segjax.data.folders` for its layout."""

    root: str
    """Folder with images/, masks/ and the lists."""
    train: tuple[str, ...] = ("train.txt",)
    """Lists whose intersection is trained on."""
    val: tuple[str, ...] = ("val.txt",)
    """Lists whose intersection is validated on."""
    favoured: str = ""
    """A list whose pictures are drawn more often; none if empty."""
    favour: float = 1.0
    """How many times more often."""
    buckets: tuple[Bucket, ...] = (Bucket(144, 256, 1.0),)
    """Sizes of batches: one compilation each."""
    batch_size: int = 16
    """Pictures in a step, over all devices."""
    threads: int = 2
    """That read and augment."""
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    """How strongly training pictures are changed."""


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Weights of the terms; see `segjax.training.losses`."""

    bce: float = 1.0
    dice: float = 1.0
    edge: float = 0.5
    edge_width: int = 2
    """Pixels on both sides of an outline that the edge term looks at."""


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with warm-up and cosine decay."""

    learning_rate: float = 3e-3
    """At the end of the warm-up."""
    final_share: float = 0.01
    """Last learning rate, as a share of the highest."""
    warmup_steps: int = 300
    weight_decay: float = 0.01
    """On kernels, not on biases and norms."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    ema_decay: float = 0.999
    """Of the averaged weights, which are what is validated and released."""


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    name: str
    """Of the run and its weights."""
    model: ModelConfig
    data: DataConfig
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    steps: int = 10_000
    """Optimiser steps in all: the cosine ends there."""
    seed: int = 0
    """Of the order of the pictures and their augmentation."""
    init: str = ""
    """Released weights to start from, by name or path; none if empty."""
    encoder_init: str = ""
    """Weights of the encoder alone to start from, as `segjax import` writes them, or those of a
    network whose encoder it is; none if empty."""
    log_every: int = 50
    """Steps between lines of the log."""
    eval_every: int = 1_000
    """Steps between validations."""
    save_every: int = 500
    """Steps between checkpoints."""
    keep: int = 3
    """Checkpoints kept besides the best one."""

    def __post_init__(self) -> None:
        counts = {
            "steps": self.steps,
            "log_every": self.log_every,
            "eval_every": self.eval_every,
            "save_every": self.save_every,
            "keep": self.keep,
            "data.batch_size": self.data.batch_size,
        }
        for name, count in counts.items():
            if count < 1:
                raise SegjaxError(f"{name} is {count}; it must be at least 1; give a larger number")


def to_dict(config: Any) -> dict[str, Any]:
    """A config as plain values, for JSON."""
    return dataclasses.asdict(config)


def from_dict(cls: type[T], values: Any, where: str = "config") -> T:
    """The config that `to_dict` (or JSON) came from; sequences become tuples.

    Raises:
      SegjaxError: a key is unknown or missing; the message names the known ones.
    """
    if not isinstance(values, dict):
        raise SegjaxError(f"{where} is {type(values).__name__}; it must be a table of fields")
    fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, cls))}
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise SegjaxError(
            f"{where} has the unknown key {unknown[0]!r}; known are {', '.join(fields)}; "
            "correct or remove it"
        )
    try:
        return cls(**{key: _parse(hints[key], value, key) for key, value in values.items()})
    except TypeError as error:
        raise SegjaxError(f"{where} is incomplete: {error}; add the field") from error


def _parse(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type, hint), value, where)
    if isinstance(value, dict):
        return {key: _parse(Any, one, key) for key, one in value.items()}
    if isinstance(value, list | tuple):
        item = typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else Any
        return tuple(_parse(item, one, where) for one in value)
    return value
