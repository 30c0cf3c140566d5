"""How long things took."""

import importlib.metadata
import platform
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import av
import cv2
import numpy as np
from rich.table import Table

import segjax

STAGES = ("capture", "step", "output", "end_to_end")

KEPT = 20_000
"""The latest durations of a stage that count for its percentiles, so that a call that lasts for
hours takes no more memory than one that lasts for minutes."""


class Timings:
    """Durations by stage, and the rate at which frames left.

    capture: getting a frame from the source (for a camera, waiting for it).
    step: from the frame to the picture that leaves.
    output: one sink's taking of an output.
    end_to_end: from a frame's capture until a sink had it composed, waiting included.
    """

    def __init__(self) -> None:
        self.frames = 0
        # Written once, so that it takes no more memory after hours than at the start.
        self._durations = {stage: np.full(KEPT, 0.0) for stage in STAGES}
        self._counts: dict[str, int] = dict.fromkeys(STAGES, 0)
        self._first_s = self._last_s = 0.0

    def add(self, stage: str, duration_s: float) -> None:
        """Notes one duration of a stage."""
        count = self._counts[stage]  # of two sinks' at one time, one may be lost
        self._durations[stage][count % KEPT] = duration_s
        self._counts[stage] = count + 1

    def frame_left(self) -> None:
        """Notes that something left for the sinks."""
        if not self.frames:
            self._first_s = time.perf_counter()
        self.frames += 1

    def written(self, output_s: float, end_to_end_s: float | None) -> None:
        """Notes that a sink had it."""
        self._last_s = time.perf_counter()
        self.add("output", output_s)
        if end_to_end_s is not None:
            self.add("end_to_end", end_to_end_s)

    @property
    def fps(self) -> float:
        """Frames after the first over the time since it; 0 before there are two."""
        took_s = self._last_s - self._first_s
        return (self.frames - 1) / took_s if self.frames > 1 and took_s > 0 else 0.0

    def stages(self) -> dict[str, dict[str, float]]:
        """p50_ms, p95_ms and p99_ms of every stage; 0 for a stage that never ran."""
        latest = {stage: self._durations[stage][: max(1, n)] for stage, n in self._counts.items()}
        return {
            stage: {
                f"p{share}_ms": round(float(np.percentile(seconds, share)) * 1e3, 3)
                for share in (50, 95, 99)
            }
            for stage, seconds in latest.items()
        }


@dataclass
class Report:
    """What a run did, with the keys of the JSON report.

    frames left: `composed`, `repeated` or `covered`, and `covered_because` says how many why;
    `dropped` ones of a live source never entered the step. `states` says how often each was
    entered, and for how many seconds. `failed` says which sinks a live run went on without, and
    why; `held_up`, how many outputs a sink was too slow for. `sizes` are (height, width) of the
    frames, and of the masks computed for them, in the order in which they came. `qualities` says
    how often the governor chose each, and for how many seconds.
    """

    device: str
    source: str
    sinks: list[str]
    frames: int = 0
    dropped: int = 0
    composed: int = 0
    repeated: int = 0
    covered: int = 0
    covered_because: dict[str, int] = field(default_factory=dict)
    fps: float = 0.0
    stages: dict[str, dict[str, float]] = field(default_factory=lambda: Timings().stages())
    states: dict[str, dict[str, float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    held_up: dict[str, int] = field(default_factory=dict)
    sizes: list[dict[str, list[int]]] = field(default_factory=list)
    qualities: dict[str, dict[str, float]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=lambda: _versions())

    def as_json(self) -> dict[str, Any]:
        """The report as values that JSON can hold."""
        return asdict(self)

    def summary(self) -> str:
        """The report's first line for people."""
        repeated = f", {self.repeated} repeated" if self.repeated else ""
        return (
            f"{self.frames} frames at {self.fps:.1f} fps on {self.device}, "
            f"{self.dropped} dropped, {self.covered} covered{repeated}"
        )

    def table(self) -> Table:
        """The stages for people."""
        table = Table()
        table.add_column("ms")
        for share in ("p50", "p95", "p99"):
            table.add_column(share, justify="right")
        for stage, values in self.stages.items():
            table.add_row(stage.replace("_", " "), *(f"{value:.1f}" for value in values.values()))
        return table


def _versions() -> dict[str, str]:
    versions = {
        "segjax": segjax.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "av": av.__version__,
    }
    for name in ("jax", "jaxlib", "flax"):  # asked of the installer: live imports no JAX
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
