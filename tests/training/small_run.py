"""A run of seconds; as a script, in a process of its own that can be killed or have more devices.

python small_run.py WORKDIR CACHE [STEP]    STEP: killed while it writes that checkpoint
"""

import dataclasses
import os
import signal
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from segjax.compilation import use_cache
from segjax.config import Bucket, DataConfig, ModelConfig, OptimizerConfig, TrainConfig
from segjax.data import IGNORE, Item
from segjax.data.synthetic import SyntheticPeople
from segjax.training.loop import train

Change = dict[str, Any]

CONFIG = TrainConfig(
    name="small",
    model=ModelConfig(
        encoder="dilated_resnet",
        decoder="skip_aspp",
        encoder_options={"widths": (8, 8, 8), "depths": (0, 0, 0)},
        decoder_options={"widths": (8, 8), "rates": (), "branch": 8},
    ),
    data=DataConfig(
        root="nowhere",
        buckets=(Bucket(32, 48, 1.0), Bucket(48, 32, 1.0)),
        batch_size=4,
        threads=1,
    ),
    optimizer=OptimizerConfig(learning_rate=1e-2),
    steps=12,
    log_every=1,
    eval_every=6,
    save_every=4,
    keep=1,
)
TRAIN = SyntheticPeople(10, size=(48, 64))
VAL = SyntheticPeople(3, size=(48, 64), seed=1)


def changed(change: Change, config: TrainConfig = CONFIG) -> TrainConfig:
    """A config with other values at dotted names."""
    for name, value in change.items():
        first, _, rest = name.partition(".")
        if rest:
            value = dataclasses.replace(getattr(config, first), **{rest: value})
        config = dataclasses.replace(config, **{first: value})
    return config


class Boxes:
    """Grey pictures with a red and a green box in noise; labels 0, 1, 2, and a frame of IGNORE."""

    def __init__(self, count: int, seed: int = 0):
        self.count, self.seed = count, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> Item:
        rng = np.random.default_rng((self.seed, index))
        image = rng.integers(60, 120, (32, 48, 3)).astype(np.uint8)
        mask = np.zeros((32, 48), np.uint8)
        for label in (1, 2):
            top, left = rng.integers(2, 14), rng.integers(2, 20)
            box = np.s_[top : top + 14, left : left + 18]
            image[box], mask[box] = 60, label
            image[box][..., label - 1] = 220
        mask[:2] = mask[-2:] = IGNORE
        return {"image": image, "mask": mask}


def compile_little(cache: Path) -> None:
    """What both processes have to do alike to run the same programs."""
    jax.config.update("jax_disable_most_optimizations", True)
    use_cache(cache)


def kill_while_writing(step: int) -> None:
    """SIGKILL where the checkpoint is written but not yet renamed to its own name."""
    rename = os.rename

    def killed(source: str, target: str) -> None:
        if Path(target).name == str(step):
            os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target)

    os.rename = killed


if __name__ == "__main__":
    workdir, cache, *kill = sys.argv[1:]
    compile_little(Path(cache))
    if kill:
        kill_while_writing(int(kill[0]))
    train(CONFIG, Path(workdir), TRAIN, VAL)
