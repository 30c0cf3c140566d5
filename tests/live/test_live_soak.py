"""A long run in small: what the soak benchmark looks at, and that it would see what grows."""

import importlib
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_fakes import Composite, FakeMatting

from segjax.live.backgrounds import Blur

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
soak: Any = importlib.import_module("soak")
sys.path.pop(0)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what a process holds")

FRAMES = 3_000
GROWS = 20.0
"""MB that 10,000 frames may add here: 3,000 are too few for less. One frame kept of each would be
380 MB."""


def run(matting: FakeMatting) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (96, 132, 3), np.uint8) for _ in range(7)]
    source = soak.Ring(pictures, 10**9)
    return soak.soak(source, matting, Blur(), frames=FRAMES, settled=1_000, every=250)


def test_nothing_grows_over_three_thousand_frames() -> None:
    seen = run(FakeMatting())
    assert seen["frames"] >= FRAMES and len(seen["samples"]) == 12
    assert seen["slope_mb_per_10000_frames"] < GROWS
    kinds = ("threads", "handles", "live_arrays", "compilations")
    assert all(seen["passed"][kind] for kind in kinds), seen["samples"]
    assert seen["run"]["composed"] == FRAMES and seen["run"]["dropped"] == 0


def test_what_grows_is_seen() -> None:
    kept: list[object] = []
    never = threading.Event()

    def leaks(good: Composite) -> Composite:
        # Four frames of each: what earlier tests have freed is filled first, and does not grow.
        kept.append(np.concatenate([good.image] * 4))
        if good.index % 500 == 0:
            kept.append(Path("/dev/null").open())  # noqa: SIM115
            threading.Thread(target=never.wait, daemon=True).start()
        return good

    try:
        seen = run(FakeMatting(leaks))
    finally:
        never.set()
    assert seen["slope_mb_per_10000_frames"] > 10 * GROWS
    assert not any(seen["passed"][kind] for kind in ("memory", "threads", "handles"))
