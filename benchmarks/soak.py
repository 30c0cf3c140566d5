"""Does a run that lasts for hours stay as it began? Memory, threads, handles, buffers, speed.

    python benchmarks/soak.py --frames 100000 --report out/soak_full_speed.json
    python benchmarks/soak.py --frames 54000 --rate 30 --report out/soak_30_fps.json

The real loop and step go from a ring of pictures to nowhere: without `--rate` as fast as they can,
with it from a live source of that many frames a second. What is looked at begins after the first
5,000 frames. Linux tells a process's private memory and handles; elsewhere this does not run.
"""

import argparse
import itertools
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np
from harness import machine, say
from rich.console import Console
from rich.table import Table

from segjax import weights
from segjax.compilation import use_cache
from segjax.files import write_json
from segjax.live.backgrounds import Background, Blur
from segjax.live.frames import Frame, Source
from segjax.live.guard import Composite, Matting
from segjax.live.loop import Loop
from segjax.live.sample import Sample
from segjax.live.sinks import Null
from segjax.matting import Effect
from segjax.matting import Matting as Step
from segjax.matting.stream import TIDY_EVERY

SETTLED = 5_000
"""Frames after which nothing may grow."""
SLOPE = 1.0
"""MB of private memory that 10,000 frames may add."""
SLOWER = 1.1
"""The median step of the last tenth may take so many times that of the first."""
LOOKS = 20
"""Looks at the live buffers for one count. The least counts: pictures under way come on top."""


class Ring(Source):
    """The same pictures, uint8 [H, W, 3], again and again, `count` frames in all. With a `rate`
    they come live, at their own times, and those that nobody takes in time are lost."""

    name = "ring"

    def __init__(self, pictures: Sequence[np.ndarray], count: int, rate: float = 0.0) -> None:
        height, width = pictures[0].shape[:2]
        self.size = (height, width)
        self.live = rate > 0
        self.rate = rate or 30.0
        self._pictures = pictures
        self._count = count

    def __iter__(self) -> Iterator[Frame]:
        start_s = time.perf_counter()
        index = 0
        while index < self._count:
            if self.live:
                time.sleep(max(0.0, start_s + index / self.rate - time.perf_counter()))
                index = max(index, int((time.perf_counter() - start_s) * self.rate))
            pixels = self._pictures[index % len(self._pictures)]
            yield Frame(pixels, index, index / self.rate, time.perf_counter())
            index += 1


class Watched:
    """A step that is timed at every frame, and beside which the process is looked at."""

    def __init__(self, matting: Matting, frames: int, every: int) -> None:
        self.samples: list[dict[str, float]] = []
        self.compilations = 0
        self.count = 0
        # Written once, so that its own pages are not taken for growth.
        self.seconds = np.ones(frames)
        self._matting = matting
        self._every = every
        self._arrays = 1 << 30
        self.prepare, self.mask_size, self.reset = (
            matting.prepare,
            matting.mask_size,
            matting.reset,
        )

    def hear(self, event: str, duration_secs: float, **_: object) -> None:
        """Counts compilations, as JAX tells them."""
        del duration_secs
        self.compilations += event == "/jax/core/compile/backend_compile_duration"

    def __call__(self, pixels: np.ndarray, background: np.ndarray | None, index: int) -> Composite:
        start_s = time.perf_counter()
        composite = self._matting(pixels, background, index)
        if self.count < len(self.seconds):
            self.seconds[self.count] = time.perf_counter() - start_s
        self.count += 1
        if -self.count % self._every < LOOKS:
            self._arrays = min(self._arrays, len(jax.live_arrays()))
        if self.count % self._every == 0:
            self.samples.append(
                {
                    "frames": self.count,
                    "private_mb": private_mb(),
                    "threads": threads(),
                    "handles": handles(),
                    "live_arrays": self._arrays,
                    "compilations": self.compilations,
                    "cpu_s": round(time.process_time(), 2),
                }
            )
            self._arrays = 1 << 30
        return composite


def private_mb() -> float:
    """Memory that this process alone holds: what it wrote. Pages of libraries that it merely reads
    are its alone only while no other process has them, too."""
    told = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(kb) for kb in re.findall(r"^Private_Dirty:\s+(\d+) kB", told, re.M)) / 1e3


def threads() -> int:
    """All threads, those of XLA too."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def handles() -> int:
    """Open files, sockets and pipes."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def soak(
    source: Source,
    matting: Matting,
    background: Background,
    *,
    frames: int,
    settled: int = SETTLED,
    every: int = TIDY_EVERY,
) -> dict[str, Any]:
    """Runs for so many frames: what was seen, and `passed` by name."""
    watched = Watched(matting, frames, every)
    jax.monitoring.register_event_duration_secs_listener(watched.hear)
    try:
        report = Loop(source, watched, background, [Null()], device="", max_frames=frames).run()
    finally:
        jax.monitoring.unregister_event_duration_listener(watched.hear)
    return {**judge(watched, settled), "run": report.as_json(), "samples": watched.samples}


def judge(watched: Watched, settled: int) -> dict[str, Any]:
    """The bars, on what was seen after `settled` frames."""
    later = [each for each in watched.samples if each["frames"] >= settled]
    first, last = later[0], later[-1]
    slope = np.polyfit([e["frames"] for e in later], [e["private_mb"] for e in later], 1)[0] * 1e4
    seconds = watched.seconds[: watched.count]
    tenth = len(seconds) // 10
    ratio = float(np.median(seconds[-tenth:]) / np.median(seconds[:tenth]))
    cpu_s = np.diff([each["cpu_s"] for each in later])
    tenths = max(1, len(cpu_s) // 10)
    return {
        "frames": watched.count,
        "slope_mb_per_10000_frames": round(float(slope), 3),
        "step_last_over_first_tenth": round(ratio, 3),
        # On a machine that others use, too, a step's own duration says little.
        "cpu_last_over_first_tenth": round(
            float(np.median(cpu_s[-tenths:]) / np.median(cpu_s[:tenths])), 3
        ),
        "step_ms": {
            f"p{share}": round(float(np.percentile(seconds, share)) * 1e3, 3)
            for share in (50, 95, 99)
        },
        "passed": {
            "memory": bool(slope <= SLOPE),
            "speed": ratio <= SLOWER,
            **{
                kind: first[kind] == last[kind]
                for kind in ("threads", "handles", "live_arrays", "compilations")
            },
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=0.0, help="frames a second; 0: full speed")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--model", default="portrait", help="name or path of released weights")
    parser.add_argument("--report", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args()
    use_cache()
    width, height = map(int, options.size.split("x"))
    sample = Sample()
    pictures = [cv2.resize(sample.picture(i / 6), (width, height)) for i in range(60)]
    started_s = time.perf_counter()
    report = soak(
        Ring(pictures, 10**9, options.rate),
        Step(weights.load(options.model), Effect("blur")),
        Blur(),
        frames=options.frames,
        settled=min(SETTLED, options.frames // 2),
        # Where the step has just given back what is free: the rest comes and goes with the frames
        # that are under way.
        every=min(TIDY_EVERY, max(LOOKS, options.frames // 20)),
    )
    report |= {"size": options.size, "rate": options.rate, "machine": machine()}
    report["seconds"] = round(time.perf_counter() - started_s)
    write_json(options.report, report)
    table = Table(
        *("frames", "private MB", "threads", "handles", "live buffers", "compilations", "CPU s")
    )
    for each in itertools.islice(report["samples"], 0, None, max(1, options.frames // 10_000)):
        table.add_row(*(f"{value:.0f}" for value in each.values()))
    Console().print(table)
    for name in ("slope_mb_per_10000_frames", "step_last_over_first_tenth", "step_ms", "passed"):
        say(f"{name}: {report[name]}")
    if not all(report["passed"].values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
