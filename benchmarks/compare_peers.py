"""Our network, our step and our blend against MediaPipe's network and OpenCV, on this CPU.

    python benchmarks/compare_peers.py --report out/compare_peers.json

A child process for each number of threads, bound to as many cores before JAX starts. Inside it ours
and the peers' take turns, part by part, so that a noisy machine slows them alike: believe the
ratios (below 1: we are faster), not the milliseconds.

* network: ours at 144×256 against MediaPipe's landscape network in onnxruntime.
* step: 720p, NumPy in and NumPy out, a picture as background. Ours with smoothing and refinement
  against OpenCV's resize, MediaPipe's network and the fastest of the OpenCV composites below.
* blend: ours on inputs that lie in JAX already against `cv2.resize` and `cv2.blendLinear`.
"""

import dataclasses
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from segjax.errors import SegjaxError
from segjax.files import write_json

PEER = "mediapipe_landscape_144x256.onnx"
HEIGHT, WIDTH = 720, 1280
WARM_UP = 10
PAUSE_S = 0.005
STEP_COMPOSITES = ("opencv_blend_linear", "opencv_blend_linear_twice", "opencv_bytes")

Work = Callable[[], Any]


@dataclasses.dataclass(frozen=True)
class Options:
    """Compare with the peers: prints a table and writes the ratios and the medians behind them."""

    report: Path
    """JSON file to write: {"1": {…}, "2": {…}} by number of threads."""
    peers: Path = Path("../shared/peers")
    """Folder with mediapipe_landscape_144x256.onnx."""
    model: str = "portrait"
    """Name or path of our weights."""
    threads: tuple[int, ...] = (1, 2)
    """Numbers of threads."""
    runs: int = 150
    """Turns of each."""


def main(options: Options) -> None:
    """Runs the children one after the other and writes the report."""
    if not (options.peers / PEER).is_file():
        raise SegjaxError(
            f"{options.peers} does not hold {PEER}; it is compared with; give --peers"
        )
    cores = len(os.sched_getaffinity(0))
    if max(options.threads) > cores:
        raise SegjaxError(
            f"got --threads {max(options.threads)}; {cores} cores are here; use fewer"
        )
    report: dict[str, Any] = {}
    for threads in options.threads:
        request = {"threads": threads, "runs": options.runs, "model": options.model}
        request["peer"] = str(options.peers / PEER)
        child = subprocess.run(
            [sys.executable, __file__, "--child", json.dumps(request)],
            stdout=subprocess.PIPE,
            check=True,
        )
        report[str(threads)] = json.loads(child.stdout)
    report["machine"] = {
        "cpu": _cpu(),
        "date": time.strftime("%Y-%m-%d"),
        "runs": options.runs,
        "model": options.model,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("jax", "jaxlib", "onnxruntime", "numpy")},
    }
    write_json(options.report, report)
    Console().print(_table(report, options.threads))


def measure(threads: int, runs: int, model: str, peer: str) -> dict[str, Any]:
    """The ratios and medians for a number of threads; the process is bound to as many cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    import cv2
    import jax
    import onnxruntime
    from flax import nnx

    from segjax import weights
    from segjax.compilation import use_cache
    from segjax.matting import Effect, Matting
    from segjax_kernels import upsample_blend

    use_cache()
    cv2.setNumThreads(threads)
    released = weights.load(model)
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(peer, session_options)
    name = session.get_inputs()[0].name

    rng = np.random.default_rng(0)
    frames = [_scene(rng) for _ in range(4)]
    background = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    small = rng.random((1, 144, 256, 3), np.float32)
    alpha = cv2.resize(rng.random((9, 16), np.float32), (256, 144))

    graph, state = nnx.split(released.model)
    # A plain list on the device, as the step has it: JAX checks its arguments at every call.
    leaves, form = jax.tree.flatten(state)
    params = jax.device_put(leaves)
    network = jax.jit(lambda params, x: nnx.merge(graph, jax.tree.unflatten(form, params))(x))
    matting = Matting(released, Effect("picture"))
    on_device = [jax.device_put(x) for x in (frames[0], alpha, background)]
    blend = jax.jit(upsample_blend)
    turn = 0

    def frame() -> np.ndarray:
        nonlocal turn
        turn += 1
        return frames[turn % len(frames)]

    def peer_alpha(pixels: np.ndarray) -> np.ndarray:
        x = cv2.resize(pixels, (256, 144), interpolation=cv2.INTER_AREA)
        logits: Any = session.run(None, {name: x[None].astype(np.float32) * (1 / 255)})[0]
        return 1 / (1 + np.exp(logits[0, ..., 0] - logits[0, ..., 1]))

    def blend_linear(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
        large = cv2.resize(mask, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
        return cv2.blendLinear(pixels, background, large, 1 - large)

    def blend_linear_twice(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
        large, rest = (
            cv2.resize(m, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR) for m in (mask, 1 - mask)
        )
        return cv2.blendLinear(pixels, background, large, rest)

    def blend_bytes(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
        grey = np.rint(mask * 255).astype(np.uint8)
        large = cv2.resize(cv2.merge([grey] * 3), (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
        front = cv2.multiply(pixels, large, scale=1 / 255)
        return cv2.add(front, cv2.multiply(background, cv2.bitwise_not(large), scale=1 / 255))

    composites = dict(
        zip(STEP_COMPOSITES, (blend_linear, blend_linear_twice, blend_bytes), strict=True)
    )

    def peer_step(composite: Callable[..., np.ndarray]) -> Work:
        def run() -> np.ndarray:
            pixels = frame()
            return composite(pixels, peer_alpha(pixels))

        return run

    groups: list[dict[str, Work]] = [
        {
            "network": lambda: jax.block_until_ready(network(params, small)),
            "peer_network": lambda: session.run(None, {name: small}),
        },
        {
            "step": lambda: matting(frame(), background, 0).image,
            **{f"peer_step_{name}": peer_step(run) for name, run in composites.items()},
        },
        {
            "blend": lambda: jax.block_until_ready(blend(*on_device)),
            "peer_blend": lambda: blend_linear(frames[0], alpha),
        },
    ]
    times: dict[str, list[float]] = {}
    for group in groups:
        times |= take_turns(group, runs)
    medians = {kind: float(np.median(values)) for kind, values in times.items()}
    fastest = min((f"peer_step_{name}" for name in composites), key=lambda kind: medians[kind])
    return {
        "network_ratio": round(medians["network"] / medians["peer_network"], 3),
        "step_ratio": round(medians["step"] / medians[fastest], 3),
        "blend_ratio": round(medians["blend"] / medians["peer_blend"], 3),
        "fastest_peer_step": fastest,
        "median_ms": {kind: round(value, 3) for kind, value in medians.items()},
        "p20_p80_ms": {
            kind: [round(float(p), 3) for p in np.percentile(values, [20, 80])]
            for kind, values in times.items()
        },
    }


def take_turns(group: dict[str, Work], runs: int) -> dict[str, list[float]]:
    """Milliseconds of `runs` turns of each, after a warm-up.

    A pause before each lets the threads of the one before, which wait for more work by spinning,
    fall asleep: they would be a load on the next.
    """
    times: dict[str, list[float]] = {kind: [] for kind in group}
    for run in range(WARM_UP + runs):
        for kind, once in group.items():
            time.sleep(PAUSE_S)
            began = time.perf_counter()
            once()
            if run >= WARM_UP:
                times[kind].append((time.perf_counter() - began) * 1e3)
    return times


def _scene(rng: np.random.Generator) -> np.ndarray:
    """A frame of large shapes and a little noise, as a camera gives it; uint8 [720, 1280, 3]."""
    import cv2

    coarse = rng.integers(0, 256, (9, 16, 3)).astype(np.uint8)
    smooth = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return cv2.add(smooth, rng.integers(0, 8, smooth.shape).astype(np.uint8))


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _table(report: dict[str, Any], threads: tuple[int, ...]) -> Table:
    table = Table("threads", "what", "ours ms", "peer ms", "ratio")
    for count in threads:
        figures = report[str(count)]
        medians = figures["median_ms"]
        for what, peer in (
            ("network", "peer_network"),
            ("step", figures["fastest_peer_step"]),
            ("blend", "peer_blend"),
        ):
            ours, theirs = medians[what], medians[peer]
            ratio = figures[f"{what}_ratio"]
            table.add_row(str(count), what, f"{ours:.2f}", f"{theirs:.2f}", f"{ratio:.2f}")
    return table


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(measure(**json.loads(sys.argv[2]))))
        sys.exit()
    try:
        main(tyro.cli(Options, description=__doc__))
    except SegjaxError as error:
        sys.exit(f"error: {error}")
