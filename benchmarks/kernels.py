"""The kernels against their other implementations and against what others do, from 360p to 4K.

    python benchmarks/kernels.py --out out
    python benchmarks/kernels.py --out out --kernel upsample_blend --size 720p --size 4K

Everything that is timed is first compared with the reference, on a GPU at awkward sizes too. Then
the contenders take turns (benchmarks/harness.py), and beside them a plain copy, whose bandwidth is
what the memory can give. Writes kernels.json: for each kernel, variant and size the milliseconds a
call, the bytes that must move, and the share of the copy's bandwidth that this makes.
"""

import argparse
import functools
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import harness
import numpy as np
import peers
from rich.table import Table

import segjax_kernels
from segjax.files import write_json
from segjax.geometry import network_size
from segjax.memory import keep_freed_memory
from segjax_kernels.upsample_blend.cases import AWKWARD, Case

SIZES = {
    name: Case(name, height, width, *network_size(height, width))
    for name, height, width in (
        ("360p", 360, 640),
        ("854x480", 480, 854),
        ("720p", 720, 1280),
        ("720p upright", 1280, 720),
        ("1366x768", 768, 1366),
        ("1080p", 1080, 1920),
        ("4K", 2160, 3840),
    )
}

TOLERANCE = {
    False: {"upsample_blend": 2, "guided_upsample_blend": 5, "preprocess": 1e-5},
    True: {"upsample_blend": 1, "guided_upsample_blend": 1, "preprocess": 1e-5},
}
"""Largest difference to the reference that passes, on a GPU and not: a CPU blends in integers."""

NAMED = {case.name: case for case in AWKWARD}
ON_GPU_CHECKED = [
    NAMED[name]
    for name in (
        *("one pixel", "prime", "mask nearly as large"),
        *("rows of no multiple of 16 bytes", "rows of two blocks and a bit"),
    )
]
"""Of the awkward sizes those that differ most; each is two compilations for each use."""

Arrays = tuple[np.ndarray, ...]


class Use(NamedTuple):
    """A kernel called in one of its ways.

    Attributes:
      kernel: its name in segjax_kernels.
      variant: of the background and the like.
      arrays: (rng, case) → one set of arguments.
      call: (kernel, case, *arrays) → its result.
      peers: the same work by others, as functions of the same arrays; by kind of machine.
      in_place: whether the result takes the frame's memory.
    """

    kernel: str
    variant: str
    arrays: Callable[[np.random.Generator, Case], Arrays]
    call: Callable[..., Any]
    peers: Callable[[Case], dict[str, dict[str, Callable[..., Any]]]] = lambda case: {}
    in_place: bool = False

    @property
    def name(self) -> str:
        return f"{self.kernel}, {self.variant}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for kernels.json")
    parser.add_argument("--kernel", action="append", help="only this one; repeatable")
    parser.add_argument("--size", action="append", choices=SIZES, help="only this; repeatable")
    parser.add_argument("--seconds", type=float, default=3, help="for each use and size (3)")
    parser.add_argument("--least", type=int, default=5, help="turns at least, even so (5)")
    parser.add_argument("--deadline", type=float, default=1e9, help="begin no more after seconds")
    report = measure(parser.parse_args())
    sys.exit(any(entry["failed"] for entry in report["checks"].values()))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Checks and times everything, and writes the report after each part of it."""
    began = time.monotonic()
    gpu = harness.on_gpu()
    keep_freed_memory()  # as the live loop does
    report: dict[str, Any] = {"machine": harness.machine(), "checks": {}, "skipped": {}}
    report |= {"groups": [], "ratios": {}}
    path = options.out / "kernels.json"
    uses = [use for use in USES if not options.kernel or use.kernel in options.kernel]

    if gpu:
        for use in harness.progress(uses, "checking"):
            if implementations(use, report):
                check(use, "triton", ON_GPU_CHECKED, report)
        write_json(path, report)
        say_checks(report)

    copy, copied = harness.copy_turn()
    groups = list(plan(uses, options.size, gpu))
    for use, case in harness.progress(groups, "timing"):
        name = f"{use.name}, {case.name}"
        if time.monotonic() - began > options.deadline:
            report["skipped"][name] = "out of time"
            continue
        group = time_group(use, case, copy, copied, report, options)
        if group:
            report["groups"].append(group)
            ours = group["rows"][0]
            for row in group["rows"]:
                if not row["ours"]:
                    pair = f"{name}: {ours['name']} / {row['name']}"
                    report["ratios"][pair] = round(ours["median_ms"] / row["median_ms"], 4)
        write_json(path, report)
    show(report)
    if not gpu:
        say_checks(report)
    for name, reason in report["skipped"].items():
        harness.say(f"skipped {name}: {reason}")
    return report


def plan(uses: list[Use], sizes: list[str] | None, gpu: bool) -> Iterator[tuple[Use, Case]]:
    """The first variant of a kernel at every size, the others at one or two."""
    every = ["4K", "1080p", "720p", "1366x768"] if gpu else list(SIZES)
    few = ["4K"] if gpu else ["720p"]
    seen = set()
    for use in uses:
        for name in sizes or every:
            if use.kernel not in seen or name in few:
                yield use, SIZES[name]
        seen.add(use.kernel)


# --- implementations ----------------------------------------------------------------------------


def implementations(use: Use, report: dict[str, Any]) -> tuple[str, ...]:
    """Their names by preference, as `implementation=None` tries them on this machine."""
    if not callable(getattr(segjax_kernels, use.kernel, None)):
        report["skipped"][use.kernel] = "not in segjax_kernels"
        return ()
    if harness.on_gpu():  # XLA's implementations are the references there, or faster
        return ("triton", "xla")
    known = importlib.import_module(f"segjax_kernels.{use.kernel}.api").IMPLEMENTATIONS
    native = ("c",) if "c" in known and harness.native() else ()
    return (*native, "xla", "reference")


def function(use: Use, case: Case, implementation: str) -> Callable[..., Any]:
    """A use of a kernel as a function of arrays."""
    kernel = getattr(segjax_kernels, use.kernel)
    return functools.partial(
        use.call, functools.partial(kernel, implementation=implementation), case
    )


def check(use: Use, implementation: str, cases: Any, report: dict[str, Any]) -> bool:
    """Compares an implementation with the reference, and enters what came out.

    One that is not here (`NotImplementedError`) is skipped by name, any other failure is a verdict.
    """
    import jax

    name = f"{use.name}: {implementation}"
    entry = report["checks"].setdefault(name, {"agree": 0, "largest_difference": 0, "failed": {}})
    rng = np.random.default_rng(1)
    for case in cases:
        arrays = use.arrays(rng, case)
        try:
            got = np.asarray(jax.jit(function(use, case, implementation))(*arrays))
            wanted = np.asarray(jax.jit(function(use, case, "reference"))(*arrays))
        except NotImplementedError as error:
            del report["checks"][name]
            report["skipped"][name] = harness.first_line(error)
            return False
        except Exception as error:  # whatever a kernel does on a new machine, the rest goes on
            entry["failed"][case.name] = harness.first_line(error)
            continue
        apart = difference(got, wanted)
        entry["largest_difference"] = max(entry["largest_difference"], apart)
        if apart <= TOLERANCE[harness.on_gpu()][use.kernel]:
            entry["agree"] += 1
        else:
            entry["failed"][case.name] = f"differs by {apart:g}"
    if implementation == "reference" and not entry["failed"]:
        del report["checks"][name]  # it agrees with itself
    return not entry["failed"]


def difference(got: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference; of RGBA's colours only where both show something."""
    apart = np.abs(got.astype(np.float64) - wanted.astype(np.float64))
    if wanted.shape[-1] == 4:
        apart[..., :3] *= (got[..., 3:] > 0) & (wanted[..., 3:] > 0)
    return float(apart.max())


def say_checks(report: dict[str, Any]) -> None:
    """The verdict: a line for each implementation that failed, and one for all."""
    failed = {name: entry["failed"] for name, entry in report["checks"].items() if entry["failed"]}
    for name, cases in failed.items():
        for case, reason in cases.items():
            harness.say(f"WRONG {name}, {case}: {reason}")
    agree = sum(entry["agree"] for entry in report["checks"].values())
    word = f"FAILED ({len(failed)} implementations)" if failed else "PASSED"
    harness.say(
        f"correctness {word}: {agree} cases of {len(report['checks'])} implementations agree "
        f"with the reference on {report['machine']['device']}"
    )


# --- timing -------------------------------------------------------------------------------------


def time_group(
    use: Use,
    case: Case,
    copy: harness.Turn,
    copied: int,
    report: dict[str, Any],
    options: argparse.Namespace,
) -> dict[str, Any] | None:
    """Everybody's figures for one use at one size, ours first; None where we have none."""
    import jax

    rng = np.random.default_rng(0)
    first = use.arrays(rng, case)
    ours = [name for name in implementations(use, report) if check(use, name, [case], report)]
    if not ours:
        return None
    out = jax.eval_shape(function(use, case, ours[0]), *first)
    moved = sum(array.nbytes for array in first) + out.size * out.dtype.itemsize
    sets = [first, *(use.arrays(rng, case) for _ in range(harness.rotation(moved) - 1))]

    turns = {"copy": copy}
    prepare: dict[str, Callable[[], harness.Turn]] = {
        name: functools.partial(
            harness.jax_turn, function(use, case, name), sets, in_place=use.in_place
        )
        for name in ours
    }
    rivals = use.peers(case)
    for name, peer in rivals.get("jax", {}).items():
        prepare[name] = functools.partial(harness.jax_turn, peer, sets)
    if not harness.on_gpu():
        for name, peer in rivals.get("numpy", {}).items():
            prepare[name] = functools.partial(harness.going_round, peer, sets)
    else:
        for name, peer in rivals.get("torch", {}).items():
            for compiled in (False, True):
                label = f"{name}, {'torch.compile' if compiled else 'eager'}"
                prepare[label] = functools.partial(peers.torch_turn, peer, sets, compiled=compiled)
    for name, build in prepare.items():
        try:
            turns[name] = build()
        except Exception as error:  # a peer that is not installed, or cannot do this
            report["skipped"][f"{use.name}, {case.name}: {name}"] = harness.first_line(error)
    spreads, failed = harness.take_turns(turns, seconds=options.seconds, least=options.least)
    for name, reason in failed.items():
        report["skipped"][f"{use.name}, {case.name}: {name}"] = reason

    bandwidth = copied / spreads.pop("copy").median_ms / 1e6
    rows = []
    for name, figures in spreads.items():
        speed = moved / figures.median_ms / 1e6
        rows.append({"name": name, "ours": name in ours} | figures._asdict())
        rows[-1] |= {"gb_s": round(speed, 2), "copy_share": round(speed / bandwidth, 4)}
    if not rows or not rows[0]["ours"]:
        return None
    return {
        "kernel": use.kernel,
        "variant": use.variant,
        "case": case.name,
        "frame": [case.height, case.width],
        "mask": [case.mask_height, case.mask_width],
        "bytes": moved,
        "sets": len(sets),
        "copy_gb_s": round(bandwidth, 2),
        "rows": rows,
    }


def show(report: dict[str, Any]) -> None:
    table = Table("kernel", "size", "implementation", "ms", "p20–p80", "GB/s", "of a copy", "ratio")
    for group in report["groups"]:
        ours = group["rows"][0]["median_ms"]
        for row in group["rows"]:
            table.add_row(
                f"{group['kernel']}, {group['variant']}",
                group["case"],
                row["name"],
                f"{row['median_ms']:.4g}",
                f"{row['p20_ms']:.4g}–{row['p80_ms']:.4g}",
                f"{row['gb_s']:.4g}",
                f"{row['copy_share']:.0%}",
                f"{ours / row['median_ms']:.2f}",
            )
        table.add_section()
    harness.SCREEN.print(table)


# --- the uses -----------------------------------------------------------------------------------


def picture(rng: np.random.Generator, case: Case) -> np.ndarray:
    """Noise: no value of it matters to the time."""
    return rng.integers(0, 256, (case.height, case.width, 3), np.uint8)


def mask(rng: np.random.Generator, case: Case) -> np.ndarray:
    """A few large shapes, 0 and 1 in most places, as masks are; float32 [h, w]."""
    coarse = rng.uniform(-2, 3, (case.mask_height // 16 + 1, case.mask_width // 16 + 1))
    rows, columns = (
        np.linspace(0, n - 1, size)
        for n, size in zip(coarse.shape, (case.mask_height, case.mask_width), strict=True)
    )
    across = np.array([np.interp(columns, np.arange(coarse.shape[1]), row) for row in coarse])
    whole = np.array([np.interp(rows, np.arange(coarse.shape[0]), col) for col in across.T]).T
    return np.clip(whole, 0, 1).astype(np.float32)


def small_picture(rng: np.random.Generator, case: Case) -> np.ndarray:
    """Half the mask's size, as the blurred room is; float32 in [0, 1]."""
    shape = (max(case.mask_height // 2, 1), max(case.mask_width // 2, 1), 3)
    return rng.random(shape, np.float32)


def colour(rng: np.random.Generator, case: Case) -> np.ndarray:
    return rng.integers(0, 256, 3, np.uint8)


def frame_and_mask(rng: np.random.Generator, case: Case) -> Arrays:
    return picture(rng, case), mask(rng, case)


def frame_and_coefficients(rng: np.random.Generator, case: Case) -> Arrays:
    """The frame, and slope and offset of a soft mask that follows it."""
    frame, alpha = frame_and_mask(rng, case)
    slope = rng.random(alpha.shape, np.float32) - np.float32(0.5)
    return frame, slope, alpha - slope / 2


def frame_alone(rng: np.random.Generator, case: Case) -> Arrays:
    return (picture(rng, case),)


def together(
    front: Callable[..., Arrays], *behind: Callable[..., np.ndarray]
) -> Callable[..., Arrays]:
    return lambda rng, case: (*front(rng, case), *(one(rng, case) for one in behind))


def streams(count: int, arrays: Callable[..., Arrays]) -> Callable[..., Arrays]:
    def batch(rng: np.random.Generator, case: Case) -> Arrays:
        return tuple(map(np.stack, zip(*(arrays(rng, case) for _ in range(count)), strict=True)))

    return batch


def plain(kernel: Callable[..., Any], case: Case, *arrays: Any) -> Any:
    return kernel(*arrays)


def in_place(kernel: Callable[..., Any], case: Case, *arrays: Any) -> Any:
    return kernel(*arrays, in_place=True)


def transparent(kernel: Callable[..., Any], case: Case, *arrays: Any) -> Any:
    return kernel(*arrays, None)


def decontaminated(kernel: Callable[..., Any], case: Case, *arrays: Any) -> Any:
    return kernel(*arrays[:-1], room=arrays[-1])


def shrunk(kernel: Callable[..., Any], case: Case, frame: Any) -> Any:
    return kernel(frame, (case.mask_height, case.mask_width))


def blend_peers(case: Case) -> dict[str, dict[str, Callable[..., Any]]]:
    return {
        "numpy": {
            "OpenCV resize + blendLinear": peers.blend_linear,
            "OpenCV in bytes": peers.blend_bytes,
            "OpenCV resize + NumPy": peers.blend_numpy,
        },
        "jax": {"XLA, unfused": peers.unfused_blend},
        "torch": {"PyTorch": peers.torch_blend},
    }


def guided_peers(case: Case) -> dict[str, dict[str, Callable[..., Any]]]:
    return {
        "numpy": {"OpenCV resize + blendLinear": peers.guided_opencv},
        "jax": {"XLA, unfused": peers.unfused_guided},
        "torch": {"PyTorch": peers.torch_guided},
    }


def area_peers(case: Case) -> dict[str, dict[str, Callable[..., Any]]]:
    size = {"height": case.mask_height, "width": case.mask_width}
    return {
        "numpy": {"OpenCV INTER_AREA": functools.partial(peers.area_opencv, **size)},
        "torch": {"PyTorch": functools.partial(peers.torch_area, **size)},
    }


def _uses() -> Iterator[Use]:
    blend, over_picture = "upsample_blend", together(frame_and_mask, picture)
    yield Use(blend, "picture", over_picture, plain, blend_peers)
    yield Use(blend, "picture, in place", over_picture, in_place, in_place=True)
    yield Use(blend, "colour", together(frame_and_mask, colour), plain)
    yield Use(blend, "blurred room", together(frame_and_mask, small_picture), plain)
    yield Use(blend, "transparent", frame_and_mask, transparent)
    yield Use(blend, "4 streams", streams(4, over_picture), plain)

    guided, over_picture = "guided_upsample_blend", together(frame_and_coefficients, picture)
    cleaned = together(frame_and_coefficients, picture, small_picture)
    yield Use(guided, "picture", over_picture, plain, guided_peers)
    yield Use(guided, "blurred room", together(frame_and_coefficients, small_picture), plain)
    yield Use(guided, "transparent", frame_and_coefficients, transparent)
    yield Use(guided, "decontaminated", cleaned, decontaminated)

    yield Use("preprocess", "float32", frame_alone, shrunk, area_peers)


USES = tuple(_uses())

if __name__ == "__main__":
    main()
