"""Our network, our step and our blend against MediaPipe's network and OpenCV, on this CPU.

    python benchmarks/compare_peers.py --report out/compare_peers.json

A child process for each number of threads, bound to as many cores before JAX starts. Inside it ours
and the peers' take turns, part by part, so that a noisy machine slows them alike: believe the
ratios (below 1: we are faster), not the milliseconds.

* network: ours at the size at which it sees a 16:9 frame, in C where a compiler is here, against
  MediaPipe's landscape network in onnxruntime, which sees 144×256; `network_144x256_ratio` is ours
  at that size too, `network_xla_ratio` ours at its own size by XLA alone.
* step: 720p, NumPy in and NumPy out, a picture as background. Ours with smoothing and refinement
  against OpenCV's resize, MediaPipe's network and the fastest of the OpenCV composites below.
* blend: ours on inputs that lie in JAX already against `cv2.resize` and `cv2.blendLinear`; "best
  OpenCV" is the fastest of the composites below, of which none is off by more than 2 levels. The
  mask is soft all over; `…_portrait` is with a person's, whose inside and outside can be copied.
"""

import dataclasses
import functools
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
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
PAUSE_S = 0.033
"""Before each turn, as between a camera's frames."""
STEP_COMPOSITES = ("opencv_blend_linear", "opencv_blend_linear_twice", "opencv_bytes")
MOST_LEVELS = 2
TILE = 16
"""Pixels of the mask along the side of a tile; 80 of the frame."""

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
    runs: int = 80
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
    _build_native()
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
    from segjax.matting.step import prepared
    from segjax.memory import aligned
    from segjax.models import convolutions_by
    from segjax.prediction import sight_of
    from segjax_kernels import cpu, upsample_blend

    use_cache()
    cv2.setNumThreads(threads)
    released = weights.load(model)
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(peer, session_options)
    name = session.get_inputs()[0].name

    rng = np.random.default_rng(0)
    # As `segjax serve` has them.
    frames = [aligned(_scene(rng)) for _ in range(4)]
    background = aligned(rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
    small = aligned(rng.random((1, 144, 256, 3), np.float32))
    size = sight_of(released.config).size(HEIGHT, WIDTH)
    own = aligned(rng.random((1, *size, 3), np.float32))
    alpha = cv2.resize(rng.random((9, 16), np.float32), (256, 144))
    portrait = _portrait()

    graph, state = nnx.split(prepared(released.model))
    # A plain list on the device, as the step has it: JAX checks its arguments at every call.
    leaves, form = jax.tree.flatten(state)
    params = jax.device_put(leaves)

    def forward(params: Any, x: Any) -> Any:
        return nnx.merge(graph, jax.tree.unflatten(form, params))(x)

    def forward_native(params: Any, x: Any) -> Any:
        with convolutions_by(cpu.convolution, cpu.inverted_residual):
            return forward(params, x)

    network, network_xla = jax.jit(forward_native), jax.jit(forward)
    matting = Matting(released, Effect("picture"))
    front, soft, person, back = map(jax.device_put, (frames[0], alpha, portrait, background))
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
        return blend_wide(pixels, background, large)

    def blend_wide(front: np.ndarray, back: np.ndarray, large: np.ndarray) -> np.ndarray:
        front = cv2.multiply(front, large, scale=1 / 255)
        return cv2.add(front, cv2.multiply(back, cv2.bitwise_not(large), scale=1 / 255))

    def blend_soft_tiles(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Copies what is all person or all room, and blends runs of tiles that hold an edge."""
        grey = np.rint(mask * 255).astype(np.uint8)
        large = cv2.resize(grey, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
        out = background.copy()
        cv2.copyTo(pixels, cv2.inRange(large, 255, 255), out)
        edge = cv2.dilate(cv2.inRange(grey, 1, 254), np.ones((3, 3), np.uint8))
        tiles = edge.reshape(144 // TILE, TILE, 256 // TILE, TILE).max((1, 3)) > 0
        tiles = np.pad(tiles, ((0, 0), (1, 1)))
        rows, columns = (x.tolist() for x in np.nonzero(tiles[:, 1:] != tiles[:, :-1]))
        side = TILE * HEIGHT // 144
        for row, first, last in zip(rows[::2], columns[::2], columns[1::2], strict=True):
            at = (slice(row * side, (row + 1) * side), slice(first * side, last * side))
            out[at] = blend_wide(pixels[at], background[at], cv2.merge([large[at]] * 3))
        return out

    composites = dict(
        zip(STEP_COMPOSITES, (blend_linear, blend_linear_twice, blend_bytes), strict=True)
    )
    all_composites = {**composites, "opencv_soft_tiles": blend_soft_tiles}
    for mask in (alpha, portrait):
        wide = cv2.resize(mask, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)[..., None]
        exact = frames[0] * wide.astype(np.float64) + background * (1.0 - wide)
        for name_, composite in all_composites.items():
            off = np.abs(composite(frames[0], mask) - np.rint(exact)).max()
            assert off <= MOST_LEVELS, f"{name_} is off by {off:.0f} levels"

    def peer_step(composite: Callable[..., np.ndarray]) -> Work:
        def run() -> np.ndarray:
            pixels = frame()
            return composite(pixels, peer_alpha(pixels))

        return run

    def peer_blends(kind: str, mask: np.ndarray) -> dict[str, Work]:
        return {
            f"peer_{kind}_{name}": functools.partial(composite, frames[0], mask)
            for name, composite in all_composites.items()
        }

    groups: list[dict[str, Work]] = [
        {
            "network": lambda: jax.block_until_ready(network(params, own)),
            "network_144x256": lambda: jax.block_until_ready(network(params, small)),
            "network_xla": lambda: jax.block_until_ready(network_xla(params, own)),
            "peer_network": lambda: session.run(None, {name: small}),
        },
        {
            "step": lambda: matting(frame(), background, 0).image,
            **{f"peer_step_{name}": peer_step(run) for name, run in composites.items()},
        },
        {
            "blend": lambda: jax.block_until_ready(blend(front, soft, back)),
            "peer_blend": lambda: blend_linear(frames[0], alpha),
            **peer_blends("blend", alpha),
        },
        {
            "blend_portrait": lambda: jax.block_until_ready(blend(front, person, back)),
            **peer_blends("blend_portrait", portrait),
        },
    ]
    times: dict[str, list[float]] = {}
    for group in groups:
        times |= take_turns(group, runs)
    medians = {kind: float(np.median(values)) for kind, values in times.items()}

    def fastest(kind: str, names: Iterable[str]) -> str:
        return min((f"peer_{kind}_{name}" for name in names), key=lambda kind: medians[kind])

    fastest_step = fastest("step", composites)
    fastest_blend, fastest_portrait = (
        fastest(kind, all_composites) for kind in ("blend", "blend_portrait")
    )
    ratios = {
        "network_ratio": ("network", "peer_network"),
        "network_144x256_ratio": ("network_144x256", "peer_network"),
        "network_xla_ratio": ("network_xla", "peer_network"),
        "step_ratio": ("step", fastest_step),
        "blend_ratio": ("blend", "peer_blend"),
        "blend_ratio_best_opencv": ("blend", fastest_blend),
        "blend_ratio_best_opencv_portrait": ("blend_portrait", fastest_portrait),
    }
    return {
        **{key: round(medians[ours] / medians[peer], 3) for key, (ours, peer) in ratios.items()},
        "native": cpu.available(),
        "fastest_peer_step": fastest_step,
        "compared": ratios,
        "median_ms": {kind: round(value, 3) for kind, value in medians.items()},
        "p20_p80_ms": {
            kind: [round(float(p), 3) for p in np.percentile(values, [20, 80])]
            for kind, values in times.items()
        },
    }


def take_turns(group: dict[str, Work], runs: int) -> dict[str, list[float]]:
    """Milliseconds of `runs` turns of each, after a warm-up.

    The pause lets the threads of the one before fall asleep: they wait for more work by spinning,
    onnxruntime's for some 20 ms, and would be a load on the next.
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


def _portrait() -> np.ndarray:
    """The mask of a head and shoulders that fill a third of the picture; float32 [144, 256]."""
    y, x = np.mgrid[0:144, 0:256]
    head = 28 - np.hypot(x - 128, (y - 50) / 1.25)
    shoulders = 60 - np.hypot((x - 128) / 1.15, (y - 150) / 1.1)
    alpha = 1 / (1 + np.exp(-2 * np.maximum(head, shoulders)))
    return np.where(np.abs(alpha - 0.5) > 0.496, np.rint(alpha), alpha).astype(np.float32)


def _build_native() -> None:
    from segjax_kernels.cpu.build import build, library

    if not library().is_file():
        try:
            build()
        except RuntimeError as error:
            print(f"without the C functions: {error}", file=sys.stderr)


def _table(report: dict[str, Any], threads: tuple[int, ...]) -> Table:
    table = Table("threads", "what", "ours ms", "peer ms", "ratio")
    for count in threads:
        figures = report[str(count)]
        medians = figures["median_ms"]
        for key, (ours, peer) in figures["compared"].items():
            what = key.replace("_ratio", "").replace("_", " ")
            times = (f"{medians[kind]:.2f}" for kind in (ours, peer))
            table.add_row(str(count), what, *times, f"{figures[key]:.2f}")
    return table


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(measure(**json.loads(sys.argv[2]))))
        sys.exit()
    try:
        main(tyro.cli(Options, description=__doc__))
    except SegjaxError as error:
        sys.exit(f"error: {error}")
