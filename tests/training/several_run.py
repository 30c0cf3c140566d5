"""A run of labels on several devices or processes, in a process of its own.

python several_run.py WORKDIR CACHE [PORT PROCESS]

With a port it is one of two processes. The second gets SIGTERM in step 4, both go on at once, and
are killed while the first writes the checkpoint of step 20.
"""

import dataclasses
import os
import signal
import sys
from pathlib import Path

import jax
from small_run import Boxes, compile_little, kill_while_writing

from segjax.config import (
    Bucket,
    DataConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    SceneAugmentation,
    TrainConfig,
)
from segjax.errors import SegjaxError
from segjax.training import devices, loop
from segjax.training.log import Log

CONFIG = TrainConfig(
    name="several",
    model=ModelConfig(
        encoder="dilated_resnet",
        decoder="fcn_head",
        classes=3,
        auxiliary="fcn_auxiliary",
        encoder_options={"widths": (8, 8, 16), "depths": (0, 0, 0)},
    ),
    data=DataConfig(
        root="nowhere",
        buckets=(Bucket(32, 48, 1.0),),
        batch_size=8,
        threads=1,
        augmentation=SceneAugmentation(),
    ),
    loss=LossConfig(median_frequency=True),
    optimizer=OptimizerConfig(name="sgd", learning_rate=0.05),
    steps=20,
    log_every=1,
    eval_every=20,
    save_every=10,
    keep=2,
)
TRAIN, VAL = Boxes(12), Boxes(5, seed=1)


class Interrupting(Log):
    """Sends SIGTERM to the second process when step 4 is logged."""

    def write(self, step: int, **figures: object) -> None:
        super().write(step, **figures)
        if step == 4 and not devices.first():
            os.kill(os.getpid(), signal.SIGTERM)


def main(workdir: Path, cache: Path, port: str = "", process: str = "0") -> None:
    compile_little(cache)
    if not port:
        loop.train(CONFIG, workdir, TRAIN, VAL)
        return
    devices.join(f"localhost:{port}", 2, int(process))
    devices.SMALLEST = 2**6
    config = dataclasses.replace(CONFIG, fsdp=True)
    loop.Log = Interrupting
    try:
        loop.train(config, workdir, TRAIN, VAL)
    except SegjaxError as error:
        print(error, jax.device_count(), flush=True)
    kill_while_writing(20)
    loop.train(config, workdir, TRAIN, VAL)


if __name__ == "__main__":
    workdir, cache, *several = sys.argv[1:]
    main(Path(workdir), Path(cache), *several)
