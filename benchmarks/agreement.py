"""Do the shipped weights give the same masks by every implementation and dtype?

    python benchmarks/agreement.py --data ../shared/data/person --list val.txt --list webcam.txt \\
        --report out/agreement.json

Person IoU, boundary F and MAD of `segjax evaluate`, the mask found as the step finds it for a
single picture: preprocess → network → edges → blend, whose RGBA opacity is the mask. The reference
path is the kernels' references around the network by XLA in float32; the others must come within
0.001 of its mean IoU, or the script fails. The row "plain" draws no edges and is there to compare.
"""

import argparse
import contextlib
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import harness
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from rich.console import Console
from rich.progress import track
from rich.table import Table

from segjax import weights
from segjax.data.files import FileSource
from segjax.data.folders import find_pairs, select
from segjax.errors import SegjaxError
from segjax.evaluation.report import score, summarize
from segjax.files import write_json
from segjax.models import convolutions_by
from segjax.prediction import HOLES, decide, sight_of
from segjax_kernels import (
    cpu,
    drop_islands,
    fill_holes,
    guided_coefficients,
    guided_upsample_blend,
    preprocess,
    upsample_blend,
)

TOLERANCE = 0.001
REFERENCE = "reference kernels, XLA, float32"


class Way(NamedTuple):
    """One way from the frame to the mask."""

    kernels: Any = None
    convolution: Callable[..., jax.Array] | None = None
    dtype: Any = jnp.float32
    guided: bool = True


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of images/ and masks/")
    parser.add_argument("--list", action="append", required=True, help="of stems; repeatable")
    parser.add_argument("--model", default="portrait", help="name or path of weights")
    parser.add_argument("--most", type=int, help="only the first so many pictures")
    parser.add_argument("--report", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args()
    try:
        pairs = find_pairs(options.data, select(options.data, options.list))[: options.most]
        report = measure(weights.load(options.model), FileSource(pairs))
    except SegjaxError as error:
        parser.exit(2, f"error: {error}\n")
    write_json(options.report, report)
    show(report)
    sys.exit(bool(report["beyond"]))


def paths() -> dict[str, Way]:
    """All that can run here, the reference first."""
    found = {REFERENCE: Way("reference"), "XLA, float32": Way("xla")}
    if harness.on_gpu():
        found["Triton kernels, float32"] = Way("triton")
        found["Triton kernels, bfloat16"] = Way("triton", dtype=jnp.bfloat16)
    elif cpu.available():
        exact = functools.partial(cpu.convolution, bfloat16=False)
        found["C, float32"] = Way(None, exact)
        found["C, bfloat16 products"] = Way(None, cpu.convolution)
    found["XLA, bfloat16"] = Way("xla", dtype=jnp.bfloat16)
    found["plain"] = Way("xla", guided=False)
    return found


def measure(released: weights.Released, source: FileSource) -> dict[str, Any]:
    """`paths`: {name: figures}, and `beyond`: those further from the reference than allowed."""
    figures = {}
    for name, how in paths().items():
        predict = predictor(released, how)
        order = track(range(len(source)), name, console=Console(stderr=True))
        scores = [score(predict, source, index) for index in order]
        figures[name] = {k: v for k, v in summarize(scores).items() if k != "per_image"}
    reference = figures[REFERENCE]["mean_iou"]
    beyond = [
        name
        for name, row in figures.items()
        if name != "plain" and abs(row["mean_iou"] - reference) > TOLERANCE
    ]
    return {"machine": harness.machine(), "paths": figures, "beyond": beyond}


def predictor(released: weights.Released, how: Way) -> Callable[[np.ndarray], np.ndarray]:
    """uint8 [H, W, 3] → alpha float32 [H, W].

    Three programs: pictures have many sizes and networks' inputs few, and the first and the last
    are the same for several ways.
    """
    graph, state = nnx.split(released.model)
    sight = sight_of(released.config)
    params = jax.tree.map(lambda x: x.astype(how.dtype), state)

    @jax.jit
    def network(params: Any, small: jax.Array) -> jax.Array:
        with convolutions_by(how.convolution) if how.convolution else contextlib.nullcontext():
            logits = nnx.merge(graph, params)(small[None].astype(how.dtype))[0, ..., 0]
        return fill_holes(jax.nn.sigmoid(logits.astype(jnp.float32)), reach=HOLES)

    def predict(pixels: np.ndarray) -> np.ndarray:
        small = shrunk(pixels, sight.size(*pixels.shape[:2]), how.kernels)
        opacity = enlarged(pixels, network(params, small), small, how.kernels, how.guided)
        return np.asarray(opacity).astype(np.float32) / 255

    return predict


@functools.partial(jax.jit, static_argnums=(1, 2))
def shrunk(frame: jax.Array, size: tuple[int, int], kernels: Any) -> jax.Array:
    return preprocess(frame, size, implementation=kernels)


@functools.partial(jax.jit, static_argnums=(3, 4))
def enlarged(
    frame: jax.Array, alpha: jax.Array, small: jax.Array, kernels: Any, guided: bool
) -> jax.Array:
    """The opacity, uint8 [H, W], of the frame cut out by a mask."""
    size = tuple(map(min, alpha.shape, frame.shape))
    if alpha.shape != size:  # a picture smaller than the network's input
        alpha = jax.image.resize(alpha, size, "linear")
        small = jax.image.resize(small, (*size, 3), "linear")
    if not guided:
        return upsample_blend(frame, alpha, None, implementation=kernels)[..., 3]
    lines = guided_coefficients(decide(drop_islands(alpha)), small)
    return guided_upsample_blend(frame, *lines, None, implementation=kernels)[..., 3]


def show(report: dict[str, Any]) -> None:
    table = Table("path", "mean IoU", "boundary F", "MAD × 1000")
    for name, row in report["paths"].items():
        figures = (f"{row[key]:.5f}" for key in ("mean_iou", "boundary_f", "mad"))
        table.add_row(name, *figures)
    Console().print(table)
    for name in report["beyond"]:
        print(f"{name} is more than {TOLERANCE} from the reference path")


if __name__ == "__main__":
    main()
