"""What a run is made of: frozen dataclasses, each field stated once, an unknown key an error."""

import dataclasses
import difflib
import typing
from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar

import tyro

from segjax.data.catalog import PREFIX
from segjax.data.scene import SceneAugmentation
from segjax.data.webcam import Augmentation
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
    area: int | None = None
    """Pixels of a picture that the network sees at once, at the picture's own aspect ratio; 0 is
    the picture as it is. Unless it is given, 144x256 for one class, and 0 for several."""
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
    """Pictures and their masks or labels; see `segjax.data.opening`."""

    root: str
    """Folder with images/, masks/ or (several classes) labels/, and the lists; or tfds:NAME."""
    train: tuple[str, ...] = ("train.txt",)
    """Lists whose intersection is trained on; of TFDS one split, such as train[:90%]."""
    val: tuple[str, ...] = ("val.txt",)
    """Lists whose intersection, or a split that, is validated on."""
    ignore: tuple[int, ...] = ()
    """Ids in label files that do not count; 255 never does. Of TFDS the numbers of classes."""
    names: tuple[str, ...] = ()
    """Of the classes, where the folder has no classes.txt."""
    favoured: str = ""
    """A list whose pictures are drawn more often; none if empty."""
    favour: float = 1.0
    """How many times more often."""
    buckets: tuple[Bucket, ...] = (Bucket(144, 256, 1.0),)
    """Sizes of batches: one compilation each."""
    batch_size: int = 16
    """Pictures in a step, over all devices."""
    threads: int = 2
    """That read and augment, in each worker, or without workers in the process that trains."""
    workers: int = 0
    """Processes that read and augment; 0 does it in the process that trains."""
    augmentation: tyro.conf.AvoidSubcommands[Augmentation | SceneAugmentation] = dataclasses.field(
        default_factory=Augmentation
    )
    """How strongly training pictures are changed: one person before a camera, or any scene."""

    def __post_init__(self) -> None:
        if not any(bucket.weight > 0 for bucket in self.buckets) or any(
            not bucket.weight >= 0 for bucket in self.buckets
        ):
            raise SegjaxError(
                f"data.buckets has the weights {[bucket.weight for bucket in self.buckets]}; they "
                "are at least 0, and one is above; correct them"
            )
        if self.favoured and self.root.startswith(PREFIX):
            raise SegjaxError(
                f"data.favoured is {self.favoured}, a list in a folder, and {self.root} has none; "
                "leave it out"
            )
        if not self.favour >= 0:
            raise SegjaxError(f"data.favour is {self.favour}; it must be at least 0; correct it")


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Weights of the terms, 0 for none; see `segjax.training.losses`.

    A network of one class is trained by soft masks, one of several by labels.
    """

    bce: float = 1.0
    """Cross-entropy of one class."""
    ce: float = 1.0
    """Cross-entropy of several classes."""
    dice: float = 1.0
    """Dice loss."""
    edge: float = 0.5
    """Cross-entropy of the pixels near outlines."""
    edge_width: int = 2
    """Pixels on both sides of an outline that the edge term looks at."""
    ohem: float = 0.0
    """Cross-entropy of the hardest pixels (online hard example mining)."""
    ohem_threshold: float = 0.7
    """Probability of the truth below which a pixel is hard."""
    focal: float = 0.0
    """Focal loss."""
    focal_gamma: float = 2.0
    """Exponent of the focal loss."""
    lovasz: float = 0.0
    """Lovász hinge of one class, Lovász-softmax of several."""
    boundary: float = 0.0
    """Boundary loss: distance to the outline of what is wrong."""
    boundary_reach: int = 16
    """Pixels from an outline from which farther counts no more in it."""
    class_weights: tuple[float, ...] = ()
    """One a class, in their order, in all cross-entropies of labels; all 1 if empty."""
    median_frequency: bool = False
    """Count the pixels of the training pictures to weigh classes by."""
    auxiliary: float = 0.4
    """Weight of the loss of the auxiliary decoder, if the model has one."""
    hint: float = 1.0
    """Weight of the encoder's distance from its teacher's maps, if the run has one."""

    def __post_init__(self) -> None:
        if self.class_weights and self.median_frequency:
            raise SegjaxError(
                "got both loss.class_weights and loss.median_frequency; either says what a class "
                "weighs; give one"
            )
        if not 0 < self.ohem_threshold <= 1:
            raise SegjaxError(
                f"loss.ohem_threshold is {self.ohem_threshold}; it is a probability; give one "
                "above 0 and up to 1"
            )
        if self.boundary_reach < 1:
            raise SegjaxError(
                f"loss.boundary_reach is {self.boundary_reach}; it must be at least 1 pixel; give "
                "a larger number"
            )

    def keywords(self, classes: int) -> dict[str, Any]:
        """Those of `mask_loss` for one class, of `label_loss` for several, weights aside."""
        other = "ce" if classes == 1 else "bce"
        apart = {other, "class_weights", "median_frequency", "auxiliary", "hint"}
        return {name: value for name, value in to_dict(self).items() if name not in apart}


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """AdamW or SGD, with warm-up and decay; see `segjax.training.optimizer`."""

    name: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 3e-3
    """At the end of the warm-up."""
    schedule: Literal["cosine", "poly"] = "cosine"
    """How the learning rate falls after the warm-up."""
    power: float = 0.9
    """Exponent of the schedule poly."""
    final_share: float = 0.01
    """Last learning rate, as a share of the highest."""
    warmup_steps: int = 300
    """At most a tenth of all."""
    momentum: float = 0.9
    """Of SGD."""
    weight_decay: float = 0.01
    """On kernels, not on biases and norms."""
    encoder_share: float = 1.0
    """Learning rate of the encoder, as a share of the others'; 0 leaves it as it is."""
    clip_norm: float = 1.0
    """Largest norm of the gradient; 0 for any."""
    accumulate: int = 1
    """Batches whose mean gradient makes a step, as one batch that many times larger would."""
    ema_decay: float = 0.999
    """Of the averaged weights, which are what is validated and released."""

    def __post_init__(self) -> None:
        for name, value, known in (
            ("name", self.name, ("adamw", "sgd")),
            ("schedule", self.schedule, ("cosine", "poly")),
        ):
            if value not in known:
                raise SegjaxError(
                    f"optimizer.{name} is {value!r}; known are {', '.join(known)}; take one"
                )
        if self.accumulate < 1:
            raise SegjaxError(
                f"optimizer.accumulate is {self.accumulate}; it must be at least 1; give a larger "
                "number"
            )
        for name in ("learning_rate", "warmup_steps", "weight_decay", "encoder_share", "clip_norm"):
            if not getattr(self, name) >= 0:
                raise SegjaxError(
                    f"optimizer.{name} is {getattr(self, name)}; it must be at least 0; correct it"
                )
        if not 0 <= self.ema_decay < 1:
            raise SegjaxError(
                f"optimizer.ema_decay is {self.ema_decay}; from 0 to below 1 the average follows "
                "the weights; correct it"
            )


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
    """Optimiser steps in all: the schedule ends there."""
    seed: int = 0
    """Of the order of the pictures and their augmentation."""
    init: str = ""
    """Released weights to start from, by name or path; none if empty."""
    encoder_init: str = ""
    """Weights of the encoder alone to start from, as `segjax import` writes them, or those of a
    network whose encoder it is; none if empty. dense_lite takes its part of efficientnet_lite0."""
    teacher: str = ""
    """Weights of an encoder, or of a network, whose maps the network's encoder learns to give where
    both have one of the same stride and channels (hints); none if empty."""
    compute: Literal["float32", "bfloat16"] = "float32"
    """In which the network computes; parameters and optimiser are float32. On a CPU it is the
    products of convolutions that are bfloat16, by the C functions; without them it does not pay."""
    frozen_norms: Literal["none", "encoder", "all"] = "none"
    """Batch norms that use their running statistics and keep them, as for very small batches from
    `encoder_init` or `init`; their scales and offsets train on."""
    patience: int = 0
    """Validations without a better result after which the run ends; 0 never ends it."""
    fsdp: bool = False
    """Divide large arrays of the state among the devices, so that each holds less."""
    profile_steps: tuple[int, int] = (0, 0)
    """The first and the last step that are recorded in profile/; none if 0."""
    log_every: int = 50
    """Steps between lines of the log."""
    eval_every: int = 1_000
    """Steps between validations."""
    save_every: int = 500
    """Steps between checkpoints."""
    keep: int = 3
    """Checkpoints kept besides the best one."""

    def __post_init__(self) -> None:
        for name, of_labels in (
            ("loss.class_weights", self.loss.class_weights),
            ("loss.median_frequency", self.loss.median_frequency),
            ("data.ignore", self.data.ignore),
            ("data.names", self.data.names),
        ):
            if of_labels and self.model.classes == 1:
                raise SegjaxError(
                    f"{name} is {of_labels} and model.classes is 1, whose soft masks have no "
                    "labels; leave it out, or set model.classes"
                )
        for name, value, known in (
            ("compute", self.compute, ("float32", "bfloat16")),
            ("frozen_norms", self.frozen_norms, ("none", "encoder", "all")),
        ):
            if value not in known:
                raise SegjaxError(f"{name} is {value!r}; known are {', '.join(known)}; take one")
        if self.model.classes > 1 and isinstance(self.data.augmentation, Augmentation):
            raise SegjaxError(
                f"model.classes is {self.model.classes} and data.augmentation is the one for the "
                "soft mask of a person; labels need SceneAugmentation; give that"
            )
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
            f"{where} has the unknown key {unknown[0]!r}{meant(unknown[0], fields)}; known are "
            f"{', '.join(fields)}; correct or remove it"
        )
    try:
        return cls(**{key: _parse(hints[key], value, key) for key, value in values.items()})
    except TypeError as error:
        raise SegjaxError(f"{where} is incomplete: {error}; add the field") from error


def meant(word: str, known: Iterable[str]) -> str:
    """A question that ends an error about a word that is not known; empty if none is like it."""
    close = difflib.get_close_matches(word, list(known), 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _parse(hint: Any, value: Any, where: str) -> Any:
    choices = [one for one in typing.get_args(hint) if dataclasses.is_dataclass(one)]
    if isinstance(value, dict) and choices:
        # Of several kinds of config the one that knows most of the keys.
        def known(choice: Any) -> int:
            return len({field.name for field in dataclasses.fields(choice)} & set(value))

        hint = max(choices, key=known)
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type, hint), value, where)
    if isinstance(value, dict):
        return {key: _parse(Any, one, key) for key, one in value.items()}
    if isinstance(value, list | tuple):
        item = typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else Any
        return tuple(_parse(item, one, where) for one in value)
    return value
