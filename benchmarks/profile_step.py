"""A trace of the step, every stage named, for Perfetto and TensorBoard.

    python benchmarks/profile_step.py --out out/profile
    python benchmarks/profile_step.py --out out/profile --effect picture --size 1920x1080

Writes `step.trace.json.gz`, which ui.perfetto.dev opens: each operation of the compiled step with
its stage in front of its name, a track a stage for each of the device's threads or streams. The
profiler's own files lie beside it, for `tensorboard --logdir`. The table at the end adds up what
the trace holds: on a GPU the kernels' true times; on a CPU tracing slows loops down many times, so
take times from benchmarks/step.py.
"""

import argparse
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import harness
import numpy as np
from rich.table import Table

from segjax.files import replacing

STAGES = ("preprocess", "network", "smooth", "refine", "background", "blend")
"""The names that the step gives its parts (`jax.named_scope`)."""


class Event(NamedTuple):
    """An operation of the compiled step that ran once; times in nanoseconds."""

    stage: str
    operation: str
    thread: str
    start: float
    duration: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--effect", default="blur", help="an effect, such as blur or bokeh")
    parser.add_argument("--size", default="1280x720", help="WIDTHxHEIGHT of the frames")
    parser.add_argument("--model", default="portrait", help="name or path of weights (portrait)")
    parser.add_argument("--frames", type=int, default=10, help="frames traced (10)")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    events = profile(options, height, width)
    path = options.out / "step.trace.json.gz"
    write_trace(path, events)
    show(events, options.frames)
    harness.say(f"wrote {path}: open it at ui.perfetto.dev")


def profile(options: argparse.Namespace, height: int, width: int) -> list[Event]:
    """Runs the step under the profiler and gives each operation its stage."""
    import jax
    from flax import nnx

    from segjax import weights
    from segjax.matting.effects import Effect
    from segjax.matting.smoothing import empty_state
    from segjax.matting.step import guided_here, make_step, mask_size
    from segjax.prediction import sight_of

    released = weights.load(options.model)
    params = jax.device_put(jax.tree.leaves(nnx.split(released.model)[1]))
    sight = sight_of(released.config)
    state = empty_state(*mask_size(height, width, sight))
    frame = jax.numpy.array(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))
    background = frame if options.effect == "picture" else None
    jitted: Any = make_step(
        released.model, Effect(options.effect), guided=guided_here(), sight=sight
    )
    step = jitted.lower(params, state, frame, background).compile()
    for _ in range(harness.WARM_UP):
        state, out, _ = step(params, state, frame, background)
        jax.block_until_ready(out)
    with jax.profiler.trace(str(options.out)):
        for number in range(options.frames):
            with jax.profiler.StepTraceAnnotation("frame", step_num=number):
                state, out, _ = step(params, state, frame, background)
                jax.block_until_ready(out)
    newest = max(options.out.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    return list(read(newest, stages_of(step.as_text())))


def stages_of(program: str) -> dict[str, str]:
    """The stage of each operation of a compiled program, by its name there."""
    known = re.findall(r"%?([\w.-]+) = .*?op_name=\"([^\"]*)\"", program)
    return {
        operation: next((part for part in path.split("/") if part in STAGES), "other")
        for operation, path in known
    }


def read(path: Path, stages: dict[str, str]) -> Iterator[Event]:
    import jax

    for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
        for line in plane.lines:
            for event in line.events:
                operation = dict(event.stats).get("hlo_op")
                if operation is not None:
                    stage = stages.get(str(operation), "other")
                    thread = f"{plane.name} {line.name}"
                    yield Event(stage, str(operation), thread, event.start_ns, event.duration_ns)


def write_trace(path: Path, events: list[Event]) -> None:
    """Chrome's trace format: complete events, in microseconds."""
    began = min((event.start for event in events), default=0)
    rows: list[dict[str, Any]] = [
        {
            "name": f"{event.stage}: {event.operation}",
            "cat": event.stage,
            "ph": "X",
            "ts": (event.start - began) / 1e3,
            "dur": event.duration / 1e3,
            "pid": event.thread,
            "tid": event.stage,
        }
        for event in events
    ]
    with replacing(path) as beside:
        beside.write_bytes(gzip.compress(json.dumps({"traceEvents": rows}).encode()))


def show(events: list[Event], frames: int) -> None:
    totals: dict[str, float] = dict.fromkeys((*STAGES, "other"), 0.0)
    for event in events:
        totals[event.stage] += event.duration / 1e6 / frames
    table = Table("stage", "traced ms a frame", "share")
    for stage, total in totals.items():
        share = total / max(sum(totals.values()), 1e-9)
        table.add_row(stage, f"{total:.3f}", f"{share:.0%}")
    harness.SCREEN.print(table)


if __name__ == "__main__":
    main()
