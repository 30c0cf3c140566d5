"""Released weights: one safetensors file with the numbers and the config of their network."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialize

from segjax import models
from segjax.config import ModelConfig, from_dict, to_dict
from segjax.errors import SegjaxError
from segjax.files import replacing
from segjax.models import Segmenter, fold_norms, shapes_of
from segjax.models.encoders import ENCODERS
from segjax.models.initial import Keys

ASSETS = Path(__file__).parent / "assets"
FORMAT = "segjax-weights-1"

_named: set[str] = set()


@dataclasses.dataclass(frozen=True)
class Released:
    """A network with its weights.

    Attributes:
      name: what it was asked for by.
      model: float [N, H, W, 3] in [0, 1] → logits float32 [N, H, W, classes].
      config: what builds the network.
      info: facts of the run: steps, data, metrics, licence.
    """

    name: str
    model: Segmenter
    config: ModelConfig
    info: dict[str, Any]


def names() -> list[str]:
    """The weights that are installed with the package."""
    return sorted(path.stem for path in ASSETS.glob("*/*.safetensors"))


def load(name: str | Path, *, trainable: bool = False) -> Released:
    """Loads weights by an installed name (`"portrait"`) or by the path of a file.

    The licence of installed weights is named once a process, on stderr.

    Args:
      name: a name from `names()` or a path.
      trainable: keep batch norms and training mode; otherwise norms are folded into convolutions,
        which gives the same map in less time.

    Raises:
      SegjaxError: no such weights, a truncated or foreign file, or numbers that do not fit.
    """
    path = _find(name)
    tensors, metadata = _read(path)
    config = _config(metadata, path)
    info = json.loads(metadata["info"])
    if not config.decoder:
        raise SegjaxError(
            f"{path} holds the encoder {config.encoder} alone, which is no network; start a run "
            "from it with --encoder-init"
        )
    try:
        model = shapes_of(lambda: create_model(config))
    except (ValueError, TypeError) as error:
        raise _unknown(path, error) from error
    _fill(variables(model), tensors, path)
    if trainable:
        model.train()
    else:
        model.eval()
        fold_norms(model)
    # Not by jnp.asarray, which compiles a program for each shape.
    nnx.update(model, jax.device_put(nnx.state(model)))
    licence = info.get("licence")
    if str(name) in names() and licence and str(name) not in _named:
        _named.add(str(name))
        print(f"weights {name!r}: {licence}; see {path.with_name('LICENSE')}", file=sys.stderr)
    return Released(str(name), model, config, info)


def load_encoder(model: Segmenter, name: str | Path) -> dict[str, Any]:
    """Gives a model's encoder its weights, in place: those of a whole network, or imported ones.

    An encoder that adopts a part of another one (see `segjax.models.encoders`) takes that of it
    and keeps its initial weights for the rest.

    Returns:
      The facts that stand with them.

    Raises:
      SegjaxError: no such weights, a truncated or foreign file, or another encoder's.
    """
    path = _find(name)
    everything, metadata = _read(path)
    tensors = {key: value for key, value in everything.items() if key.startswith("encoder.")}
    wanted = {key: value for key, value in variables(model).items() if key.startswith("encoder.")}
    adopted = getattr(model.encoder, "adopted", lambda _: {})(_config(metadata, path).encoder)
    if adopted:
        theirs = {f"encoder.{ours}": f"encoder.{other}" for ours, other in adopted.items()}
        begins = {key: one for key in wanted for one in theirs if key.startswith(one)}
        wanted = {key: wanted[key] for key in begins}
        renamed = {key: key.replace(one, theirs[one], 1) for key, one in begins.items()}
        tensors = {key: tensors[other] for key, other in renamed.items() if other in tensors}
    _fill(wanted, tensors, path)
    return json.loads(metadata["info"])


def read_encoder(name: str | Path) -> tuple[nnx.Module, dict[str, Any]]:
    """The encoder of weights, for inference, and the facts that stand with them.

    It is that of a whole network, or an imported one.

    Raises:
      SegjaxError: no such weights, or a truncated or foreign file.
    """
    path = _find(name)
    tensors, metadata = _read(path)
    config = _config(metadata, path)
    try:
        part = shapes_of(lambda: create_encoder(config))
    except (ValueError, TypeError) as error:
        raise _unknown(path, error) from error
    kept = {key: value for key, value in tensors.items() if key.startswith("encoder.")}
    _fill(variables(part), kept, path)
    part.eval()
    fold_norms(part)
    nnx.update(part, jax.device_put(nnx.state(part)))
    return part.encoder, json.loads(metadata["info"])


def save(
    path: Path | str,
    model: Segmenter,
    config: ModelConfig,
    info: dict[str, Any] | None = None,
    *,
    half: bool = False,
) -> None:
    """Writes a model (norms not folded) and its config to one file, whole or not at all.

    With `half` kernels are kept as float16, in half the bytes; norms and biases never are.
    """
    arrays = {key: np.asarray(value[...]) for key, value in variables(model).items()}
    if half:
        arrays = {
            key: array.astype(np.float16) if array.ndim > 1 else array
            for key, array in arrays.items()
        }
    write(path, arrays, config, info)


def write(
    path: Path | str,
    arrays: dict[str, np.ndarray],
    config: ModelConfig,
    info: dict[str, Any] | None = None,
) -> None:
    """Writes the arrays of a network by their names; a config without decoder is of an encoder."""
    metadata = {
        "format": FORMAT,
        "config": json.dumps(to_dict(config)),
        "info": json.dumps(info or {}),
    }
    data = serialize(arrays, metadata)
    with replacing(path) as beside:
        beside.write_bytes(data)


def variables(module: nnx.Module) -> dict[str, nnx.Variable]:
    """What a file holds of a network: parameters and running statistics, by dotted names."""
    return {
        ".".join(str(step) for step in path): part
        for path, part in nnx.iter_graph(module)
        if isinstance(part, nnx.Param | nnx.BatchStat)
    }


def create_model(config: ModelConfig) -> Segmenter:
    """The network that a config describes, with its initial weights.

    Raises:
      ValueError: a part is not registered or its options do not fit together.
      TypeError: a part has no such option.
    """
    return models.create_model(
        config.decoder,
        encoder=config.encoder,
        num_classes=config.classes,
        auxiliary=config.auxiliary or None,
        encoder_options=config.encoder_options,
        decoder_options=config.decoder_options,
        seed=config.seed,
    )


def create_encoder(config: ModelConfig) -> nnx.Dict[Any]:
    """The encoder of a config alone, as `encoder`: under the names that a network's file has."""
    encoder = ENCODERS[config.encoder]
    return nnx.Dict(encoder=encoder(**config.encoder_options, rngs=Keys(config.seed)))


def _find(name: str | Path) -> Path:
    path = ASSETS / str(name) / f"{name}.safetensors" if str(name) in names() else Path(name)
    if not path.is_file():
        raise SegjaxError(
            f"{name} is neither installed weights nor a file; installed are "
            f"{', '.join(names()) or 'none'}; give one of these or the path of a .safetensors file"
        )
    return path


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            ours = metadata.get("format") == FORMAT
            tensors = {key: file.get_tensor(key) for key in file.keys()} if ours else {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise SegjaxError(
            f"{path} is not a whole safetensors file ({error}); it may be truncated; copy it again"
        ) from error
    if not ours:
        raise SegjaxError(
            f"{path} holds weights of another program; segjax reads what `segjax train` released; "
            "give such a file"
        )
    return tensors, metadata


def _config(metadata: dict[str, str], path: Path) -> ModelConfig:
    return from_dict(ModelConfig, json.loads(metadata["config"]), f"the config in {path}")


def _unknown(path: Path, error: Exception) -> SegjaxError:
    return SegjaxError(
        f"{path} describes a network that this version cannot build: {error}; update segjax"
    )


def _fill(wanted: dict[str, nnx.Variable], tensors: dict[str, np.ndarray], path: Path) -> None:
    """Puts the numbers into variables, or says why they do not fit."""
    missing, unexpected = sorted(set(wanted) - set(tensors)), sorted(set(tensors) - set(wanted))
    if missing or unexpected:
        raise SegjaxError(
            f"{path} does not fit its network: {len(missing)} missing ({', '.join(missing[:3])}), "
            f"{len(unexpected)} unexpected ({', '.join(unexpected[:3])}); give matching weights"
        )
    for key, variable in wanted.items():
        value = tensors[key]
        if value.shape != variable.shape:
            raise SegjaxError(
                f"{path} does not fit its network: {key} is {value.shape}, "
                f"it must be {variable.shape}; give matching weights"
            )
        if not np.isfinite(value).all():
            raise SegjaxError(f"{path} holds NaN or Inf in {key}; copy or train the weights again")
    for key, variable in wanted.items():
        variable.set_value(tensors[key].astype(variable.dtype))
