"""A run of seconds; as a script, in a process of its own that can be killed or have more devices.

python small_run.py WORKDIR CACHE [STEP]    STEP: killed while it writes that checkpoint
"""

import os
import signal
import sys
from pathlib import Path

import jax

from segjax.compilation import use_cache
from segjax.config import Bucket, DataConfig, ModelConfig, OptimizerConfig, TrainConfig
from segjax.data.synthetic import SyntheticPeople
from segjax.training.loop import train

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
