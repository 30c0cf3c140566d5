"""The whole step: its stages, one stream and many, its start and its memory, beside the peers.

    python benchmarks/step.py --out out --peers ../shared/peers

* stages: each part of the step as a program of its own, and the whole, at 720p.
* whole: every effect, from frames on the device and from frames in host memory (NumPy in, NumPy
  out); and the same by MediaPipe's networks with OpenCV's fastest composite (CPU) or torchvision's
  LR-ASPP MobileNetV3 in fp16 with random weights (GPU).
* streams: how many at 30 fps, one compiled step for all of them, device-resident and from host
  memory (pinned, on a GPU).
* launches (GPU): how many CUDA graphs, which XLA calls command buffers, and kernels outside of them
  a frame launches.
* start: `segjax serve --source sample --sink null --max-frames 1` in an empty cache folder and in a
  filled one, beside `python -c "import jax, flax.nnx, cv2"`; and the memory that it takes at most.

Writes step.json.
"""

import argparse
import functools
import importlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import harness
import numpy as np
import peers
from rich.table import Table

from segjax.files import write_json

SIZES = {"360p": (360, 640), "720p": (720, 1280), "1080p": (1080, 1920)}
EFFECTS = ("picture", "blur", "color", "transparent")
FRAME_RATE = 30
QUEUED = 32
"""Steps queued on a GPU before one is waited for."""
TRACED = 10
"""Frames of which launches are counted."""

ON_CPU: dict[str, dict[str, Any]] = {"plain edges": {"guided": False}}
ON_GPU: dict[str, dict[str, Any]] = {
    "queued": {"queued": QUEUED},
    "bfloat16": {"dtype": "bfloat16"},
    "bfloat16, queued": {"dtype": "bfloat16", "queued": QUEUED},
    "bfloat16, plain edges, queued": {"dtype": "bfloat16", "guided": False, "queued": QUEUED},
}
"""How else the step is made and called; on a GPU the live loop has bfloat16."""

SERVE = ("serve", "--source", "sample", "--sink", "null", "--max-frames", "1")
CACHE_EVENTS = ("hits", "misses")
WATCHED = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
took = time.perf_counter() - began
print(json.dumps([took, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))
sys.exit(code)
"""
"""A small process between this one and a command: Linux counts what the parent holds when it starts
a process as that one's."""
IMPORTS = "import jax, flax.nnx, cv2"
COUNTED = f"""
import atexit, collections, json, sys
import jax
events = collections.Counter()
jax.monitoring.register_event_listener(lambda event, **_: events.update([event]))
atexit.register(lambda: print("events", json.dumps(events), file=sys.stderr))
from segjax import cli
cli.main({list(SERVE)!r})
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for step.json")
    parser.add_argument("--peers", type=Path, help="folder with MediaPipe's networks (.onnx)")
    parser.add_argument("--model", default="portrait", help="name or path of weights (portrait)")
    parser.add_argument("--size", action="append", choices=SIZES, help="only this; repeatable")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this; repeatable")
    parser.add_argument("--effect", action="append", choices=EFFECTS, help="only this; repeatable")
    parser.add_argument("--streams", type=int, action="append", help="how many; repeatable")
    parser.add_argument("--seconds", type=float, default=5, help="for each group (5)")
    parser.add_argument("--least", type=int, default=5, help="turns at least, even so (5)")
    parser.add_argument("--starts", type=int, default=3, help="starts of each kind (3)")
    options = parser.parse_args()
    measure(options)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Every part, one after the other; what fails is entered under `skipped`."""
    report: dict[str, Any] = {"machine": harness.machine(), "skipped": {}, "groups": []}
    report |= {"streams": [], "launches": {}, "start": {}, "memory": {}, "ratios": {}}
    report["machine"]["native"] = harness.native()
    bench = Bench(options, report)
    _ = bench.released  # without the network there is nothing to measure
    for part in harness.progress(options.part or list(PARTS), "step"):
        try:
            PARTS[part](bench)
        except Exception as error:  # the other parts still count
            report["skipped"][part] = harness.first_line(error)
        write_json(options.out / "step.json", report)
    show(report)
    for name, reason in report["skipped"].items():
        harness.say(f"skipped {name}: {reason}")
    return report


class Bench:
    """The network, frames, and the report that figures are entered in."""

    def __init__(self, options: argparse.Namespace, report: dict[str, Any]):
        self.options, self.report = options, report

    @functools.cached_property
    def released(self) -> Any:
        from segjax import weights
        from segjax.compilation import use_cache
        from segjax.memory import keep_freed_memory

        use_cache()
        keep_freed_memory()  # as the live loop does
        return weights.load(self.options.model)

    @property
    def sight(self) -> Any:
        """How much of a frame the network sees."""
        from segjax.prediction import sight_of

        return sight_of(self.released.config)

    def params(self, dtype: str = "float32") -> list[Any]:
        """What the step is given at every call."""
        import jax
        from flax import nnx

        leaves = jax.tree.leaves(nnx.split(self.released.model)[1])
        return jax.device_put([leaf.astype(dtype) for leaf in leaves])

    def plan(self) -> Iterator[tuple[str, str]]:
        """Sizes and effects: all of them, or what `--size` and `--effect` say."""
        for size in self.options.size or (["720p"] if harness.on_gpu() else ["720p", "1080p"]):
            few = size != "720p" or harness.on_gpu()  # each is several compilations
            effects = self.options.effect or (EFFECTS[:2] if few else EFFECTS)
            yield from ((size, effect) for effect in effects)

    def sets(self, height: int, width: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Frames and backgrounds, uint8 [H, W, 3], as `segjax serve` has them, and more of them
        than a cache holds."""
        from segjax.memory import aligned

        rng = np.random.default_rng(0)
        count = harness.rotation(3 * 3 * height * width)
        pictures = [scene(rng, height, width) for _ in range(4)]
        # Copies: what repeats is what they show, not where they lie.
        return [(aligned(pictures[at % 4]), aligned(pictures[(at + 1) % 4])) for at in range(count)]

    def time(
        self,
        name: str,
        ours: Mapping[str, Callable[[], harness.Turn]],
        rivals: Mapping[str, Callable[[], harness.Turn]] | None = None,
        **facts: Any,
    ) -> dict[str, harness.Spread]:
        """Lets them take turns and enters a group of rows; our first is what the ratios are of."""
        ready: dict[str, harness.Turn] = {}
        for turn, build in {**ours, **(rivals or {})}.items():
            try:
                ready[turn] = build()
            except Exception as error:  # a peer that is not installed
                self.report["skipped"][f"{name}: {turn}"] = harness.first_line(error)
        spreads, failed = harness.take_turns(
            ready, seconds=self.options.seconds, least=self.options.least
        )
        self.report["skipped"] |= {f"{name}: {turn}": why for turn, why in failed.items()}
        rows = [
            {"name": turn, "ours": turn in ours, **figures._asdict()}
            for turn, figures in spreads.items()
        ]
        if rows and rows[0]["ours"]:
            self.report["groups"].append({"name": name, **facts, "rows": rows})
        for row in rows:
            if rows[0]["ours"] and not row["ours"]:
                ratio = rows[0]["median_ms"] / row["median_ms"]
                pair = f"{name}: {rows[0]['name']} / {row['name']}"
                self.report["ratios"][pair] = round(ratio, 4)
        write_json(self.options.out / "step.json", self.report)
        return spreads


def scene(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A frame of large shapes and a little noise, as a camera gives it; uint8 [H, W, 3]."""
    import cv2

    coarse = rng.integers(0, 256, (9, 16, 3)).astype(np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.add(smooth, rng.integers(0, 8, smooth.shape).astype(np.uint8))


# --- stages -------------------------------------------------------------------------------------


def time_stages(bench: Bench) -> None:
    """Each stage as a program of its own, its inputs on the device, and the step that holds all."""
    from segjax.matting.stages import stages

    height, width = SIZES["720p"]
    sets = bench.sets(height, width)
    frames = [frame for frame, _ in sets]
    parts = stages(bench.released, frames)
    by_xla = stages(bench.released, frames[:1], native=False)
    parts = {**parts, "network, XLA alone": by_xla["network"]}
    bench.time(
        "stages, blur, 720p",
        {
            "whole": lambda: step_turn(bench, "blur", sets),
            **{
                name: functools.partial(harness.jax_turn, stage.run, list(stage.given) * 2)
                for name, stage in parts.items()
            },
        },
        size="720p",
        frame=[height, width],
    )


# --- the whole ----------------------------------------------------------------------------------


def whole(bench: Bench) -> None:
    """Every effect at every size, and the peers beside the effect "picture"."""
    import jax

    for size, effect in bench.plan():
        height, width = SIZES[size]
        sets = bench.sets(height, width)
        ours: dict[str, Callable[[], harness.Turn]] = {
            "from NumPy to NumPy": functools.partial(numpy_turn, bench, effect, sets),
            "device-resident": functools.partial(step_turn, bench, effect, sets),
        }
        if harness.on_gpu():
            unpinned = functools.partial(numpy_turn, bench, effect, sets, transfer=Unpinned())
            ours["from NumPy to NumPy, not pinned"] = unpinned
        ours |= {
            f"device-resident, {name}": functools.partial(step_turn, bench, effect, sets, **how)
            for name, how in (ON_GPU if harness.on_gpu() else ON_CPU).items()
        }
        rivals = {}
        if effect == "picture":
            rivals = torch_peers(sets) if harness.on_gpu() else onnx_peers(bench, sets)
        name = f"step, {effect}, {size}"
        bench.time(name, ours, rivals, size=size, frame=[height, width])
    told = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in told:
        bench.report["memory"]["device_mib"] = round(told["peak_bytes_in_use"] / 2**20)


def step_turn(
    bench: Bench, effect: str, sets: list, *, dtype: str = "float32", queued: int = 1, **how: Any
) -> harness.Turn:
    """The compiled step, one frame after the other, on arrays that lie on the device."""
    import jax

    from segjax.matting.effects import Effect
    from segjax.matting.smoothing import empty_state
    from segjax.matting.step import guided_here, make_step, mask_size

    kind: Any = effect
    how = {"guided": guided_here(), "sight": bench.sight} | how
    step = make_step(bench.released.model, Effect(kind), dtype=dtype, **how)
    height, width = sets[0][0].shape[:2]
    params = bench.params(dtype)
    state = empty_state(*mask_size(height, width, bench.sight))
    frames = [jax.numpy.array(frame) for frame, _ in sets]
    backs = [jax.numpy.array(back) if effect == "picture" else None for _, back in sets]
    ring = itertools.cycle(zip(frames, backs, strict=True))

    def run() -> None:
        nonlocal state
        out = None
        for _ in range(queued):
            state, out, _ = step(params, state, *next(ring))
        jax.block_until_ready(out)

    return harness.Turn(run, queued)


class Unpinned:
    """`segjax.matting.transfer.Transfer` as JAX does it by itself."""

    in_place = True

    def there(self, frame: np.ndarray) -> Any:
        import jax

        return jax.device_put(frame)

    kept = there

    def back(self, image: Any, alpha: Any) -> tuple[np.ndarray, np.ndarray]:
        return np.array(image), np.array(alpha)


def numpy_turn(bench: Bench, effect: str, sets: list, transfer: Any = None) -> harness.Turn:
    """What the live loop calls: NumPy in, NumPy out."""
    from segjax.matting import Effect, Matting

    kind: Any = effect
    matting = Matting(bench.released, Effect(kind), transfer=transfer)
    given = [(frame, back if effect == "picture" else None) for frame, back in sets]
    return harness.going_round(lambda frame, back: matting(frame, back, 0), given)


def onnx_peers(bench: Bench, sets: list) -> dict[str, Callable[[], harness.Turn]]:
    """MediaPipe's networks in onnxruntime, between OpenCV's resize and its composites."""
    folder = bench.options.peers
    networks = sorted(folder.glob("*.onnx")) if folder else []
    if not networks:
        bench.report["skipped"]["MediaPipe's networks"] = f"no .onnx in --peers {folder}"
    composites = {"blendLinear": peers.blend_linear, "bytes": peers.blend_bytes}
    return {
        f"{path.stem}, OpenCV {name}": functools.partial(onnx_turn, path, composite, sets)
        for path in networks
        for name, composite in composites.items()
    }


def onnx_turn(path: Path, composite: Callable[..., Any], sets: list) -> harness.Turn:
    import cv2
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = harness.threads()
    # Threads that wait by spinning would slow down OpenCV, right after, and whose turn is next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    _, height, width, _ = given.shape

    def step(frame: np.ndarray, background: np.ndarray) -> np.ndarray:
        small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        x = small[None].astype(np.float32) * np.float32(1 / 255)
        out: Any = session.run(None, {given.name: x})[0]
        # One channel is the person's probability, two are logits of room and person.
        alpha = 1 / (1 + np.exp(out[0, ..., 0] - out[0, ..., 1])) if out.shape[-1] == 2 else out
        return composite(frame, np.ascontiguousarray(alpha.reshape(height, width)), background)

    return harness.going_round(step, sets)


def torch_peers(sets: list) -> dict[str, Callable[[], harness.Turn]]:
    """torchvision's LR-ASPP MobileNetV3, fp16, random weights, in the same kind of step."""
    name = "torchvision LR-ASPP fp16"
    return {
        f"{name}, {word}": functools.partial(lraspp_turn, sets, compiled=compiled)
        for word, compiled in (("eager", False), ("torch.compile", True))
    }


def lraspp_turn(sets: list, *, compiled: bool) -> harness.Turn:
    torch: Any = importlib.import_module("torch")
    models: Any = importlib.import_module("torchvision.models.segmentation")
    network = models.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=1)
    network = network.cuda().half().eval().to(memory_format=torch.channels_last)
    mean, scale = (
        torch.tensor(x, device="cuda", dtype=torch.float16)[:, None, None]
        for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )

    def step(frame: Any, background: Any) -> Any:
        small = peers.torch_area(frame, 144, 256).permute(2, 0, 1).half()
        alpha = network(((small - mean) / scale)[None])["out"][0, 0].sigmoid().float()
        return peers.torch_blend(frame, alpha, background)

    return peers.torch_turn(step, sets, compiled=compiled)


# --- many streams -------------------------------------------------------------------------------


def streams(bench: Bench) -> None:
    """One compiled step for the frames of N streams, at 720p."""
    counts = bench.options.streams or ((8, 32, 128) if harness.on_gpu() else (2, 4))
    for effect, count in itertools.product(("picture", "blur"), counts):
        turn = functools.partial(streams_turn, bench, effect, count)
        spreads = bench.time(
            f"{count} streams, {effect}, 720p",
            {"device-resident": turn, "from host memory": functools.partial(turn, host=True)},
            size="720p",
            streams=count,
        )
        for memory, figures in spreads.items():
            at_rate = round(count / figures.median_ms * 1000 / FRAME_RATE, 1)
            entry = {"effect": effect, "batch": count, "memory": memory}
            entry |= {"ms": figures.median_ms, f"streams_at_{FRAME_RATE}": at_rate}
            bench.report["streams"].append(entry)


def streams_turn(bench: Bench, effect: str, count: int, *, host: bool = False) -> harness.Turn:
    """Steps of a batch, made as the live loop makes them.

    With `host` the frames come from the host's memory and the results go there.
    """
    import jax
    import jax.numpy as jnp

    from segjax.matting.effects import Effect
    from segjax.matting.smoothing import empty_state
    from segjax.matting.step import guided_here, make_step, mask_size

    height, width = SIZES["720p"]
    kind: Any = effect
    on_gpu = harness.on_gpu()
    dtype = "bfloat16" if on_gpu else "float32"
    how: Any = {"dtype": dtype, "guided": guided_here(), "sight": bench.sight}
    step = make_step(bench.released.model, Effect(kind), **how)
    params = bench.params(dtype)
    behind = 0 if effect == "picture" else None
    batched = jax.jit(jax.vmap(step, in_axes=(None, 0, 0, behind)), donate_argnums=1)
    small = mask_size(height, width, bench.sight)
    state = jax.vmap(lambda _: empty_state(*small))(jnp.arange(count))
    rng = np.random.default_rng(0)
    pictures = np.stack([scene(rng, height, width) for _ in range(4)])
    background = jnp.array(pictures[np.arange(count) % 4]) if effect == "picture" else None
    batches = [pictures[np.arange(at, at + count) % 4] for at in range(4)]

    home = functools.partial(jax.sharding.SingleDeviceSharding, jax.devices()[0])
    pinned = home(memory_kind="pinned_host") if host and on_gpu else None
    given: list[Any] = batches if host else [jnp.array(batch) for batch in batches]
    ring = itertools.cycle(jax.device_put(batches, pinned) if pinned else given)
    queued = 4 if on_gpu else 1  # copies in, steps and copies out overlap

    def run() -> Any:
        nonlocal state
        out: Any = None
        for _ in range(queued):
            frames = jax.device_put(next(ring), home()) if pinned else next(ring)
            state, out, _ = batched(params, state, frames, background)
            out = jax.device_put(out, pinned) if pinned else out
        return np.array(out) if host and not pinned else jax.block_until_ready(out)

    return harness.Turn(run, queued)


# --- launches -----------------------------------------------------------------------------------


def launches(bench: Bench) -> None:
    """What a frame launches on a GPU, as the profiler saw it; a CPU launches nothing."""
    import jax

    if not harness.on_gpu():
        return
    sets = bench.sets(*SIZES["720p"])
    for effect in EFFECTS[:2]:
        turn = step_turn(bench, effect, sets, dtype="bfloat16")
        for _ in range(harness.WARM_UP):
            turn.run()
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder):
                for _ in range(TRACED):
                    turn.run()
            (path,) = Path(folder).rglob("*.xplane.pb")
            planes = jax.profiler.ProfileData.from_file(str(path)).planes
            seen = harness.launched(e.name for p in planes for line in p.lines for e in line.events)
        bench.report["launches"][effect] = {kind: n / TRACED for kind, n in seen.items()}


# --- the start ----------------------------------------------------------------------------------


def start(bench: Bench) -> None:
    """Cold and warm starts of `segjax serve` beside the bare imports, and the memory they take."""
    serve = [sys.executable, "-m", "segjax", *SERVE]
    imports = [sys.executable, "-c", IMPORTS]
    seconds: dict[str, list[float]] = {"imports": [], "cold": [], "warm": []}
    peaks = []
    with tempfile.TemporaryDirectory() as filled:
        child(imports, filled)  # the disk's cache
        events = {"cold": counted(filled), "warm": counted(filled)}
        for _ in range(bench.options.starts):
            seconds["imports"].append(child(imports, filled)[0])
            took, peak, _ = child(serve, filled)
            seconds["warm"].append(took)
            peaks.append(peak)
        for _ in range(-(-bench.options.starts // 3)):
            with tempfile.TemporaryDirectory() as empty:
                seconds["cold"].append(child(serve, empty)[0])
    medians = {name: round(float(np.median(values)), 3) for name, values in seconds.items()}
    bench.report["start"] = {
        "seconds": medians,
        "warm_over_imports_s": round(medians["warm"] - medians["imports"], 3),
        "cold_over_imports_s": round(medians["cold"] - medians["imports"], 3),
        "cache_events": events,
        "all_seconds": {name: [round(s, 3) for s in values] for name, values in seconds.items()},
    }
    bench.report["ratios"]["start: warm / imports"] = round(medians["warm"] / medians["imports"], 4)
    bench.report["memory"]["serve_host_mib"] = round(max(peaks) / 2**20)


def counted(home: str) -> dict[str, int]:
    """How many compiled programs came from the cache in a start, and how many did not."""
    _, _, said = child([sys.executable, "-c", COUNTED], home)
    (line,) = (line for line in said.splitlines() if line.startswith("events "))
    events = json.loads(line.removeprefix("events "))
    return {kind: events.get(f"/jax/compilation_cache/cache_{kind}", 0) for kind in CACHE_EVENTS}


def child(command: list[str], home: str) -> tuple[float, int, str]:
    """Runs a command with another home: its seconds, the bytes it held at most, its stderr."""
    environment = {key: text for key, text in os.environ.items() if key != "SEGJAX_CACHE"}
    process = subprocess.run(
        [sys.executable, "-c", WATCHED, *command],
        env=environment | {"HOME": home},
        capture_output=True,
        text=True,
    )
    if process.returncode:
        lines = [line for line in process.stderr.splitlines() if "rror" in line]
        what = f"{command[1:3]} ended with {process.returncode}"
        raise RuntimeError(lines[-1] if lines else what)
    took, peak = json.loads(process.stdout)
    return took, peak * 1024, process.stderr


PARTS = {
    "stages": time_stages,
    "whole": whole,
    "streams": streams,
    "launches": launches,
    "start": start,
}


def show(report: dict[str, Any]) -> None:
    table = Table("what", "who", "ms", "p20–p80", "ratio")
    for group in report["groups"]:
        for row in group["rows"]:
            table.add_row(
                group["name"],
                row["name"],
                f"{row['median_ms']:.4g}",
                f"{row['p20_ms']:.4g}–{row['p80_ms']:.4g}",
                f"{group['rows'][0]['median_ms'] / row['median_ms']:.2f}",
            )
        table.add_section()
    harness.SCREEN.print(table)
    for entry in report["streams"]:
        harness.say(
            f"{entry[f'streams_at_{FRAME_RATE}']:g} streams at {FRAME_RATE} fps: {entry['effect']},"
            f" {entry['batch']} a batch, {entry['memory']}"
        )
    for effect, seen in report["launches"].items():
        told = ", ".join(f"{count:g} {kind}" for kind, count in seen.items())
        harness.say(f"a frame of {effect} launches {told}")
        if not seen["CUDA graphs"]:
            harness.say("no CUDA graph: XLA's command buffers are off, or refuse this step")
    if report["start"]:
        harness.say(f"start: {report['start']['seconds']}, {report['start']['cache_events']}")
    if report["memory"]:
        harness.say(f"peak memory, MiB: {report['memory']}")


if __name__ == "__main__":
    main()
