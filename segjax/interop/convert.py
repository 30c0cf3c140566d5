"""Foreign names and layouts → ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from segjax.config import ModelConfig
from segjax.errors import SegjaxError
from segjax.interop.torch_file import read_torch_file


@dataclass(frozen=True)
class Plan:
    """How a checkpoint becomes a network of ours.

    Attributes:
      config: the network; without a decoder, the encoder alone.
      names: ours → theirs. Ours begin with "encoder.", "decoder." or "auxiliary.".
      left_out: beginnings of those of their names that have no place in ours.
      tensors: theirs, if they are not to be taken as they are in the file.
    """

    config: ModelConfig
    names: Mapping[str, str]
    left_out: tuple[str, ...]
    tensors: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Imported:
    """Arrays by our names, the network they are of, and their names that found no place."""

    arrays: dict[str, np.ndarray]
    config: ModelConfig
    left_out: list[str]


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors in a safetensors file or in what `torch.save` wrote of a state dictionary.

    One level above it may be others, as training scripts write: {"model": …, "epoch": …}.

    Raises:
      SegjaxError: no such file, a broken one, or one without tensors.
    """
    if not path.is_file():
        raise SegjaxError(f"{path} is not a file; give one of PyTorch or safetensors")
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="numpy") as file:
                return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError, TypeError) as error:
            raise SegjaxError(
                f"{path} is not a whole safetensors file ({error}); it may be truncated; copy it "
                "again"
            ) from error
    found = read_torch_file(path)
    for key in ("model", "state_dict"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    tensors = {
        key.removeprefix("module."): value  # torch.nn.DataParallel's
        for key, value in (found.items() if isinstance(found, dict) else ())
        if isinstance(key, str) and isinstance(value, np.ndarray)
    }
    if not tensors:
        raise SegjaxError(
            f"{path} holds no dictionary of tensors; save one: torch.save(model.state_dict(), FILE)"
        )
    return tensors


def layer(
    ours: str, theirs: str, norm: str | None = None, *, bias: bool | None = None
) -> dict[str, str]:
    """Names of a convolution or linear layer, and of the batch norm behind it."""
    names = {f"{ours}.kernel": f"{theirs}.weight"}
    if norm is None and bias is not False:
        names[f"{ours}.bias"] = f"{theirs}.bias"
    if norm is not None:
        names |= {
            f"{ours}.norm.scale": f"{norm}.weight",
            f"{ours}.norm.bias": f"{norm}.bias",
            f"{ours}.norm.mean": f"{norm}.running_mean",
            f"{ours}.norm.var": f"{norm}.running_var",
        }
    return names


def convert(plan: Plan, shapes: Mapping[str, tuple[int, ...]], source: str) -> Imported:
    """Arrays for all of `shapes`, float32, in our layout.

    Raises:
      SegjaxError: names are missing or unexpected, or a shape does not fit; all are listed.
    """
    unnamed = sorted(set(shapes) ^ set(plan.names))
    if unnamed:
        raise ValueError(f"names: {', '.join(unnamed)} stand in the network or the plan alone")
    theirs = {
        name: value
        for name, value in plan.tensors.items()
        if not name.endswith(".num_batches_tracked")
    }
    missing = sorted(set(plan.names.values()) - set(theirs))
    rest = sorted(set(theirs) - set(plan.names.values()))
    left_out = [name for name in rest if name.startswith(plan.left_out)]
    unexpected = [name for name in rest if name not in left_out]
    if missing or unexpected:
        raise SegjaxError(
            f"{source} is not of {_described(plan.config)}: "
            f"{len(missing)} missing ({', '.join(missing) or 'none'}), "
            f"{len(unexpected)} unexpected ({', '.join(unexpected) or 'none'}); "
            "give the --model and the --encoder that it was trained as"
        )
    arrays, misfits = {}, []
    for ours, shape in shapes.items():
        value = theirs[plan.names[ours]]
        wanted = _foreign_shape(shape)
        if value.shape not in wanted:
            misfits.append(f"{plan.names[ours]} is {value.shape}, not {wanted[0]}")
            continue
        value = value.astype(np.float32)
        if not np.isfinite(value).all():
            misfits.append(f"{plan.names[ours]} holds NaN or Inf")
        arrays[ours] = np.ascontiguousarray(_ours(value, len(shape)))
    if misfits:
        raise SegjaxError(
            f"{source} does not fit {_described(plan.config)}: {'; '.join(misfits)}; "
            "give the --model and the --encoder that it was trained as"
        )
    return Imported(arrays, plan.config, left_out)


def _foreign_shape(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """What PyTorch has for a kernel of ours; a linear layer may be a 1×1 convolution there."""
    if len(shape) == 4:
        height, width, channels, features = shape
        return [(features, channels, height, width)]
    if len(shape) == 2:
        return [shape[::-1], (*shape[::-1], 1, 1)]
    return [shape]


def _ours(value: np.ndarray, dimensions: int) -> np.ndarray:
    if dimensions == 4:
        return value.transpose(2, 3, 1, 0)
    if dimensions == 2:
        return value.reshape(value.shape[:2]).T
    return value


def _described(config: ModelConfig) -> str:
    return f"{config.decoder} on {config.encoder}" if config.decoder else config.encoder
