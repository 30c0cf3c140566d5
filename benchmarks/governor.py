"""What the governor makes of a machine that is busy with other things.

    python benchmarks/governor.py --report out/governor.json --picture docs/images/governor.png

One run of the real loop and step over a live source of 30 frames a second. Busy processes are added
until full quality gives fewer than 24; so it is left for a while, then the governor is switched on
for 65 s, and then the load ends. Takes about three minutes.
"""

import argparse
import itertools
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from harness import machine, say
from soak import Ring

from segjax import weights
from segjax.compilation import use_cache
from segjax.files import replacing, write_json
from segjax.live.backgrounds import Blur
from segjax.live.clock import Clock
from segjax.live.frames import Frame, Output, Sink
from segjax.live.governor import Governor
from segjax.live.loop import Loop
from segjax.live.sample import Sample
from segjax.matting import Effect, Matting

RATE = 30.0
TOO_FEW, ENOUGH = 24.0, 28.0
"""Frames a second at full quality under the load, at most; and governed, at least."""
SETTLE_S, GOVERNED_S, BACK_S = 5.0, 60.0, 15.0
"""How long the governor may take; how long it is measured then; and how soon after the load's end
the full quality is back."""
APART_S = 10.0
OFF_S = 10.0
MARGIN = 1.5
"""Frames a second: so far below the load is tuned, since a machine's other business varies."""
MOST = 64
BUSY = "import os, sys\nos.nice(int(sys.argv[1]))\nwhile True: pass"


class Times(Sink):
    """When each composed frame left, by the loop's clock."""

    name = "times"

    def __init__(self) -> None:
        self.composed_s: list[float] = []
        self._clock = Clock()

    def write(self, frame: Frame) -> None:
        if isinstance(frame, Output) and frame.kind == "composed":
            self.composed_s.append(self._clock.now())

    def fps(self, start_s: float, end_s: float) -> float:
        return sum(start_s <= at < end_s for at in list(self.composed_s)) / (end_s - start_s)


class Load:
    """Processes that compute for nothing."""

    def __init__(self, nice: int) -> None:
        self._nice = nice
        self._processes: list[subprocess.Popen[bytes]] = []

    def __len__(self) -> int:
        return len(self._processes)

    def add(self) -> None:
        command = [sys.executable, "-S", "-c", BUSY, str(self._nice)]
        self._processes.append(subprocess.Popen(command))

    def end(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        self._processes.clear()


def run(loop: Loop, governor: Governor, times: Times, load: Load) -> dict[str, Any]:
    """The phases, one after another, while the loop runs on a thread of its own."""
    now = Clock().now
    governor.on = False
    runs = threading.Thread(target=loop.run, daemon=True)
    runs.start()
    while not times.composed_s or any(t.name == "qualities" for t in threading.enumerate()):
        time.sleep(0.1)
    try:
        begin_s = now()
        time.sleep(SETTLE_S)
        free_fps, tuned_s = times.fps(now() - SETTLE_S, now()), now()
        tuned: dict[int, float] = {}
        while len(load) < MOST:
            load.add()
            # Looked at for long only once it seems enough.
            for seconds in (3.0, OFF_S):
                time.sleep(1 + seconds)
                tuned[len(load)] = times.fps(now() - seconds, now())
                if tuned[len(load)] > TOO_FEW - MARGIN:
                    break
            else:
                break
        off_s, busy = now(), len(load)
        time.sleep(OFF_S)
        on_s = now()
        governor.on = True
        time.sleep(SETTLE_S + GOVERNED_S)
        ended_s = now()
        load.end()
        time.sleep(BACK_S + SETTLE_S)
        end_s = now()
    finally:
        load.end()
    loop.stop()
    runs.join(30)
    governed_s = on_s + SETTLE_S
    changes = [(at, name) for at, name in governor.changes if at >= on_s]
    gaps = [later[0] - sooner[0] for sooner, later in itertools.pairwise(changes)]
    back_s = next((at - ended_s for at, name in changes if at > ended_s and name == "full"), None)
    off, on = times.fps(off_s, on_s), times.fps(governed_s, governed_s + GOVERNED_S)
    return {
        "busy_processes": busy,
        "fps": {"free": free_fps, "off": off, "on": on, "after": times.fps(end_s - 5, end_s)},
        "tuning": tuned,
        "changes": [[round(at - begin_s, 2), name] for at, name in changes],
        "back_to_full_after_s": back_s,
        "marks_s": {
            "load": tuned_s - begin_s,
            "tuned": off_s - begin_s,
            "on": on_s - begin_s,
            "load_ends": ended_s - begin_s,
        },
        "composed_s": [round(at - begin_s, 3) for at in times.composed_s if at >= begin_s],
        "passed": {
            "off below 24": off < TOO_FEW,
            "on at least 28": on >= ENOUGH,
            "changes 10 s apart": all(gap >= APART_S for gap in gaps),
            "back within 15 s": back_s is not None and back_s <= BACK_S,
        },
    }


def draw(report: dict[str, Any], path: Path) -> None:
    """Frames a second over time, with the load and what was chosen."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    marks, composed = report["marks_s"], np.array(report["composed_s"])
    seconds = np.arange(1, composed.max() - 1, 0.5)
    fps = [((composed >= at - 1) & (composed < at + 1)).sum() / 2 for at in seconds]
    figure, axes = plt.subplots(figsize=(10, 4), layout="constrained")
    axes.axvspan(marks["load"], marks["load_ends"], color="0.93")
    axes.text(marks["load"] + 0.5, 1, f"up to {report['busy_processes']} busy processes", size=9)
    axes.axvspan(marks["on"] + SETTLE_S, marks["load_ends"], ymax=0.02, color="tab:green")
    axes.axhline(ENOUGH, color="tab:green", lw=0.8, ls="--")
    axes.axhline(TOO_FEW, color="tab:red", lw=0.8, ls="--")
    axes.plot(seconds, fps, color="tab:blue")
    words = [(marks["on"], "governor on"), *((at, name) for at, name in report["changes"])]
    for number, (at, name) in enumerate(words):
        axes.axvline(at, color="0.3", lw=0.8, ls=":")
        axes.text(at + 0.5, 3.5 + 2.5 * (number % 3), name, size=9)
    axes.set(xlabel="seconds", ylabel="composed frames a second", ylim=(0, 34))
    axes.set_xlim(0, composed.max())
    with replacing(path) as beside:
        figure.savefig(beside, dpi=110, format="png")
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--model", default="portrait", help="name or path of released weights")
    parser.add_argument("--nice", type=int, default=0, help="of the busy processes")
    parser.add_argument("--report", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--picture", type=Path, help="PNG to write")
    options = parser.parse_args()
    use_cache()
    width, height = map(int, options.size.split("x"))
    sample = Sample()
    pictures = [cv2.resize(sample.picture(i / 6), (width, height)) for i in range(60)]
    matting = Matting(weights.load(options.model), Effect("blur"))
    governor = Governor(matting.qualities, rate=RATE)
    times, said = Times(), []
    source = Ring(pictures, 10**9, RATE)
    loop = Loop(source, matting, Blur(), [times], device="", governor=governor, say=said.append)
    report: dict[str, Any] = {"machine": machine(), "size": options.size, "nice": options.nice}
    report |= run(loop, governor, times, Load(options.nice))
    report["said"] = [line for line in said if line.startswith("quality:")]
    write_json(options.report, report)
    if options.picture:
        draw(report, options.picture)
    for name in ("busy_processes", "fps", "changes", "back_to_full_after_s", "said", "passed"):
        say(f"{name}: {report[name]}")
    if not all(report["passed"].values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
