"""How long a training step takes on a CPU, by whom its convolutions are computed.

    python benchmarks/train_step.py configs/camvid_segnet.py --report out/train_step.json
    GLIBC_TUNABLES=glibc.malloc.hugetlb=1 python benchmarks/train_step.py configs/portrait.py

The step is that of `segjax train` with a config's network, loss and optimiser, on random pictures
of its first size; the ways take turns. The second command has glibc ask Linux for large pages.
"""

import argparse
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from harness import Turn, machine, say, take_turns
from rich.console import Console
from rich.table import Table

from segjax import weights
from segjax.cli.train import load_config
from segjax.config import TrainConfig
from segjax.files import write_json
from segjax.memory import keep_all_freed_memory
from segjax.training import devices
from segjax.training.optimizer import create_optimizer, create_schedule
from segjax.training.state import create_state, make_train_step
from segjax_kernels import cpu
from segjax_kernels.cpu.training import convolve

WAYS: dict[str, tuple[str, Callable[..., Any] | None]] = {
    "float32 by XLA": ("float32", None),
    "bfloat16 by XLA": ("bfloat16", None),
    "bfloat16 by C": ("bfloat16", convolve),
}


def contender(config: TrainConfig, by: Callable[..., Any] | None) -> Turn:
    """One step after another."""
    row = devices.find_devices(config.data.batch_size)
    model = weights.create_model(config.model)
    optimizer = create_optimizer(config.optimizer, config.steps)
    state = create_state(model, optimizer)
    layout = row.layout(state)
    states = [jax.device_put(state, layout)]
    schedule = create_schedule(config.optimizer, config.steps)
    step = make_train_step(model, optimizer, config, schedule, layout, convolve=by)
    rng, bucket = np.random.default_rng(0), config.data.buckets[0]
    shape = (config.data.batch_size, bucket.height, bucket.width)
    most = 256 if config.model.classes == 1 else config.model.classes
    batch = row.put_batch(
        {
            "image": rng.integers(0, 256, (*shape, 3)).astype(np.uint8),
            "mask": rng.integers(0, most, shape).astype(np.uint8),
        }
    )

    def run() -> None:
        states[0], figures = step(states[0], batch)
        jax.block_until_ready((states[0], figures))

    return Turn(run)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("configs", type=Path, nargs="+", help="as of `segjax train`")
    parser.add_argument("--seconds", type=float, default=30, help="of each config")
    parser.add_argument("--report", type=Path, help="JSON file to write")
    options = parser.parse_args()
    keep_all_freed_memory()  # as `segjax train` does
    ways = {name: way for name, way in WAYS.items() if way[1] is None or cpu.trains()}
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    report: dict[str, Any] = {"machine": machine(), "glibc_tunables": tunables, "step_ms": {}}
    table = Table("config", *ways, title="a step, ms (pictures a second)")
    for path in options.configs:
        config = load_config(path)
        group = {}
        for name, (compute, by) in ways.items():
            say(f"{path.stem}: compiling {name}")
            group[name] = contender(dataclasses.replace(config, compute=compute), by)
        figures, failed = take_turns(group, seconds=options.seconds)
        report["step_ms"][path.stem] = {name: one._asdict() for name, one in figures.items()}
        cells = (
            f"{figures[name].median_ms:.0f} "
            f"({1e3 * config.data.batch_size / figures[name].median_ms:.0f})"
            if name in figures
            else failed[name]
            for name in ways
        )
        table.add_row(path.stem, *cells)
    Console().print(table)
    if options.report:
        write_json(options.report, report)


if __name__ == "__main__":
    main()
