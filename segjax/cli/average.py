"""`segjax average`: the mean of several runs' weights."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from segjax import weights
from segjax.config import ModelConfig, to_dict
from segjax.errors import SegjaxError


@dataclass(frozen=True)
class Options:
    """Average the weights of runs that began from the same ones: often better than each of them.

    A "model soup" (Wortsman et al., 2022): runs that went on from the same weights, with another
    seed, augmentation or learning rate, lie close enough for their mean to be a network too, and
    it errs less than they do, for the price of one. Runs that began from different weights have
    nothing to do with each other, and their mean is noise: measure it with `segjax evaluate`.

    Examples:
      segjax average --model runs/a/people.safetensors --model runs/b/people.safetensors \\
        --out soup.safetensors
      segjax average --model portrait --model runs/more/portrait.safetensors --share 1 --share 3 \\
        --out portrait.safetensors
    """

    models: Annotated[
        tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(name="model", metavar="NAME|FILE")
    ] = ()
    """Names or files of weights; two or more, of the same network. The mean sees as many pixels as
    the first."""
    out: Path = Path("average.safetensors")
    """File to write."""
    shares: Annotated[
        tuple[float, ...], tyro.conf.UseAppendAction, tyro.conf.arg(name="share")
    ] = ()
    """How much each counts, in the order of the models; all the same if left out."""


def main(options: Options) -> None:
    """Writes the file.

    Raises:
      SegjaxError: there is but one model, they are of different networks, the shares do not fit,
        or a file is missing or broken.
    """
    models, shares = options.models, options.shares or (1.0,) * len(options.models)
    if len(models) < 2:
        raise SegjaxError(f"got {len(models)} --model; a mean is of two or more; give another")
    if len(shares) != len(models):
        raise SegjaxError(
            f"got {len(shares)} --share for {len(models)} --model; give one each, or none"
        )
    if not (np.isfinite(shares).all() and min(shares) >= 0 and sum(shares) > 0):
        raise SegjaxError(f"got --share {shares}; they are at least 0, and not all 0")
    total: dict[str, Any] = {}
    loaded = [weights.load(model, trainable=True) for model in models]
    for model, released, share in zip(models, loaded, shares, strict=True):
        if _network(released.config) != _network(loaded[0].config):
            raise SegjaxError(
                f"{model} is of another network than {models[0]}; only what has the same parts can "
                "be averaged; segjax describe shows them"
            )
        for name, part in weights.variables(released.model).items():
            array = np.asarray(part[...], np.float64) * (share / sum(shares))
            total[name] = total.get(name, 0) + array
    mean = {name: array.astype(np.float32) for name, array in total.items()}
    infos = [released.info for released in loaded]
    info: dict[str, Any] = {
        "averaged": [
            {
                "run": info.get("run", model),
                "step": info.get("step", 0),
                "share": share / sum(shares),
            }
            for model, info, share in zip(models, infos, shares, strict=True)
        ]
    }
    for key in ("data", "lists", "classes", "ignore"):
        if all(one.get(key) == infos[0].get(key) is not None for one in infos):
            info[key] = infos[0][key]
    # Whatever may not be done with one of them may not be done with their mean.
    if licences := sorted({info["licence"] for info in infos if "licence" in info}):
        info["licence"] = "; ".join(licences)
    weights.write(options.out, mean, loaded[0].config, info)
    print(f"written: {options.out}")


def _network(config: ModelConfig) -> dict[str, Any]:
    """What two networks must have in common if their weights are to be averaged."""
    return to_dict(replace(config, seed=0, area=None))
