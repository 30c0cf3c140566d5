"""How many pictures a second the input pipeline makes, beside what networks take.

    python benchmarks/pipeline.py --people ../shared/data/person --scenes ../shared/data/camvid \\
      --runs runs/camvid_unet runs/portrait --report out/pipeline.json

Settings are the portrait's recipe and CamVid at half and at full size, each by threads and by
worker processes. They are measured one after another, since what prefetches in the background would
slow the others down, and after a warm-up that empties the buffers. What networks take is the
fastest `images_per_s` in the logs of runs on the same machine.
"""

import argparse
import itertools
import statistics
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from harness import machine, say
from rich.console import Console
from rich.table import Table

from segjax.config import Augmentation, SceneAugmentation
from segjax.data import Source
from segjax.data.loader import Bucket, train_batches
from segjax.data.opening import find_data
from segjax.files import write_json
from segjax.training.log import read as read_log

WAYS = {"1 thread": (1, 0), "2 threads": (2, 0), "1 worker": (1, 1), "2 workers": (1, 2)}
"""Threads, and workers that have as many each."""

PREFETCH = 4
TURNS = 5

PORTRAIT: list[Bucket] = [
    ((144, 256), 0.25),
    ((160, 240), 0.30),
    ((160, 224), 0.15),
    ((240, 160), 0.20),
    ((256, 144), 0.05),
    ((192, 192), 0.05),
]


class Setting(NamedTuple):
    """What batches are made of."""

    source: Source
    buckets: Sequence[Bucket]
    augmentation: Augmentation | SceneAugmentation
    classes: int
    batch_size: int


def settings(people: Path | None, scenes: Path | None) -> dict[str, Setting]:
    """By their names, as far as their data is given."""
    found = {}
    if people:
        source = find_data(str(people)).open(("train.txt",))
        found["portrait, 37,000 pixels"] = Setting(source, PORTRAIT, Augmentation(), 1, 16)
    if scenes:
        source = find_data(str(scenes), classes=11, ignore=(11,)).open(("train.txt",))
        augmentation = SceneAugmentation(smallest=0.8)
        for size in ((192, 256), (360, 480)):
            name = f"CamVid, {size[0]}x{size[1]}"
            found[name] = Setting(source, [(size, 1.0)], augmentation, 11, 8)
    return found


def measure(setting: Setting, threads: int, workers: int, seconds: float) -> list[float]:
    """Pictures a second, in turns of about `seconds` together."""
    batches = train_batches(
        setting.source,
        batch_size=setting.batch_size,
        buckets=setting.buckets,
        seed=0,
        augmentation=setting.augmentation,
        classes=setting.classes,
        threads=threads,
        workers=workers,
        prefetch=PREFETCH,
    )
    rates = []
    with closing(batches):
        for _ in itertools.islice(batches, 2 * PREFETCH):  # starts all, and empties the buffers
            pass
        for _ in range(TURNS):
            began, count = perf_counter(), 0
            while count < 4 or perf_counter() - began < seconds / TURNS:
                next(batches)
                count += 1
            rates.append(count * setting.batch_size / (perf_counter() - began))
    return rates


def taken(run: Path) -> dict[str, float]:
    """The most pictures a second that a run's network took, and its share of waiting then."""
    lines = [line for line in read_log(run / "log.jsonl") if "images_per_s" in line]
    fastest = max(lines, key=lambda line: line["images_per_s"])
    return {name: fastest[name] for name in ("images_per_s", "waiting_share")}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=Path, help="folder with images/ and masks/")
    parser.add_argument("--scenes", type=Path, help="folder with images/ and CamVid's labels/")
    parser.add_argument("--runs", type=Path, nargs="*", default=[], help="folders of runs")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--report", type=Path, help="JSON file to write")
    options = parser.parse_args()
    report: dict[str, Any] = {"machine": machine(), "pictures_per_s": {}, "runs": {}}
    table = Table("setting", *WAYS, title="pictures a second, median (lowest to highest turn)")
    for name, setting in settings(options.people, options.scenes).items():
        cells = []
        for way, (threads, workers) in WAYS.items():
            say(f"{name}, {way}")
            rates = measure(setting, threads, workers, options.seconds)
            report["pictures_per_s"].setdefault(name, {})[way] = [round(rate, 1) for rate in rates]
            cells.append(f"{statistics.median(rates):.0f} ({min(rates):.0f}–{max(rates):.0f})")
        table.add_row(name, *cells)
    for run in options.runs:
        report["runs"][run.name] = figures = taken(run)
        table.add_row(f"the run {run.name} took", f"{figures['images_per_s']:.0f}")
    Console().print(table)
    if options.report:
        write_json(options.report, report)


if __name__ == "__main__":
    main()
