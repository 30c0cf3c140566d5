"""What the benchmarks share: turns, statistics, the machine, and how far two runs differ.

Contenders take turns, so that a noisy machine slows all of them alike: believe the ratios before
the milliseconds. Each call gets other buffers than the one before, more bytes in all than the
caches hold, so that memory is measured and no cache.
"""

import functools
import itertools
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track

SCREEN = Console(stderr=True)

WARM_UP = 3
PAUSE_S = 0.005
"""Before each turn, for the threads of the one before: they wait for more work by spinning."""

NOISY = 0.15
"""Ratios of two runs on a quiet machine differ by less."""

GPU_ROUND = 600 << 20
"""Bytes that a contender goes round on a GPU, ten times what the L2 of an H200 holds."""

SWEEPS = 4
"""Of all sets of buffers, queued on a GPU before one is waited for: Python's own time is hidden."""

PACKAGES = (
    *("segjax", "jax", "jaxlib", "flax", "triton", "jax-triton", "numpy", "opencv-python"),
    *("opencv-python-headless", "onnxruntime", "torch", "torchvision"),
)

Thing = TypeVar("Thing")


class Turn(NamedTuple):
    """`run()` makes `calls` calls and returns when their results are there."""

    run: Callable[[], Any]
    calls: int = 1


class Spread(NamedTuple):
    """Milliseconds a call: the median, the 20th and the 80th percentile of `turns` turns."""

    median_ms: float
    p20_ms: float
    p80_ms: float
    turns: int


def spread(milliseconds: Sequence[float]) -> Spread:
    p20, median, p80 = (round(float(p), 5) for p in np.percentile(milliseconds, [20, 50, 80]))
    return Spread(median, p20, p80, len(milliseconds))


def take_turns(
    group: Mapping[str, Turn],
    *,
    seconds: float,
    least: int = 5,
    most: int = 200,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], Any] = time.sleep,
) -> tuple[dict[str, Spread], dict[str, str]]:
    """Measures contenders in turns, once a round, for about `seconds` in all.

    One that is many times slower than the fastest sits out up to 7 of 8 rounds.

    Args:
      group: the contenders by name.
      seconds: after which no further round begins.
      least: turns of each at least, however long they take.
      most: rounds at most.
      clock: gives seconds.
      sleep: waits for seconds.

    Returns:
      What each took, and why those failed that did: one that raises is left out from then on.
    """
    group, failed = dict(group), {}
    times: dict[str, list[float]] = {name: [] for name in group}
    cost = dict.fromkeys(group, 0.0)
    began, every, turn = clock(), dict.fromkeys(group, 1), -(WARM_UP if least > 1 else 1)
    while turn < most:
        if turn == 0:
            fastest = min((cost[name] for name in group), default=0)
            every = {name: _every(cost[name], fastest) for name in group}
            began = clock()
        if turn >= least * max(every.values(), default=1) and clock() - began > seconds:
            break
        for name, (run, calls) in list(group.items()):
            if turn % every[name]:
                continue
            sleep(PAUSE_S)
            start = clock()
            try:
                run()
            except Exception as error:  # one contender's failure must not cost the others' figures
                failed[name] = first_line(error)
                del group[name]
                continue
            cost[name] = clock() - start
            if turn >= 0:
                times[name].append(cost[name] * 1e3 / calls)
        turn += 1
    return {name: spread(times[name]) for name in group}, failed


def _every(cost: float, fastest: float) -> int:
    """A slow contender takes part in every so many rounds, so that it leaves time to the others."""
    return max(1, min(8, round(cost / (4 * fastest)))) if fastest else 1


def first_line(error: BaseException) -> str:
    """An exception as one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


# --- buffers ----------------------------------------------------------------------------------


def sets_needed(bytes_a_call: int, cache: int) -> int:
    """How many sets of buffers a contender goes round, so that none is still in the cache."""
    return max(2, -(-4 * cache // bytes_a_call))


def rotation(bytes_a_call: int) -> int:
    """`sets_needed` on the device at hand."""
    if on_gpu():  # at least 8, for enough work to hide Python; at most 48, for they are compiled
        return min(48, max(8, GPU_ROUND // bytes_a_call))
    return min(64, sets_needed(bytes_a_call, cpu_cache()))


def going_round(function: Callable[..., Any], sets: Sequence[tuple]) -> Turn:
    """A turn of plain Python: one call with the next set, which returns when it is done."""
    ring = itertools.cycle(sets)
    return Turn(lambda: function(*next(ring)))


def jax_turn(
    function: Callable[..., Any], sets: Sequence[tuple], *, in_place: bool = False
) -> Turn:
    """A turn of a function of arrays, jitted: on a CPU one call, on a GPU many of them in a row.

    A call from Python takes longer than many kernels, so on a GPU one compiled program goes through
    all sets, and several of these programs are queued before one is waited for. With `in_place` the
    first array of a set is given away, and the result is what the next round begins with.
    """
    import jax
    import jax.numpy as jnp

    given = (0,) if in_place else ()
    firsts = [jnp.array(arrays[0]) for arrays in sets]
    others = jax.device_put([arrays[1:] for arrays in sets])

    def keep(at: slice, results: list) -> None:
        if in_place:
            firsts[at] = results

    if on_gpu():

        @partial(jax.jit, donate_argnums=given)
        def sweep(firsts: list, others: list) -> list:
            return [function(a, *b) for a, b in zip(firsts, others, strict=True)]

        def run() -> None:
            results = []
            for _ in range(SWEEPS):
                results = sweep(firsts, others)
                keep(slice(None), results)
            jax.block_until_ready(results)

        return Turn(run, SWEEPS * len(sets))

    compiled = jax.jit(function, donate_argnums=given)
    ring = itertools.cycle(range(len(sets)))

    def once() -> None:
        at = next(ring)
        keep(slice(at, at + 1), [jax.block_until_ready(compiled(firsts[at], *others[at]))])

    return Turn(once)


def copy_turn() -> tuple[Turn, int]:
    """The copy that others are measured against: a turn, and the bytes that it reads and writes.

    On a CPU `memcpy` in as many threads as there are cores, on a GPU XLA's elementwise kernel, each
    over far more than the caches hold.
    """
    if on_gpu():
        sets = [(np.full(1 << 28, value, np.uint8).view(np.uint32),) for value in range(4)]
        return jax_turn(lambda x: x ^ 1, sets), 2 << 28
    size = max(2 * cpu_cache(), 64 << 20)
    source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)
    pieces = [slice(at, at + size // threads() + 1) for at in range(0, size, size // threads() + 1)]
    pool = ThreadPoolExecutor(threads())

    def run() -> None:
        list(pool.map(lambda piece: np.copyto(target[piece], source[piece]), pieces))

    return Turn(run), 2 * size


LAUNCHES = {"CUDA graphs": "GraphLaunch", "kernels": "LaunchKernel"}
"""What a profiler calls the driver's functions, cuGraphLaunch, cuLaunchKernelEx and the like."""


def launched(events: Iterable[str]) -> dict[str, int]:
    """How many of each are among a trace's events, given by name."""
    names = list(events)
    return {kind: sum(word in name for name in names) for kind, word in LAUNCHES.items()}


# --- the machine ------------------------------------------------------------------------------


def on_gpu() -> bool:
    import jax

    return jax.default_backend() == "gpu"


def threads() -> int:
    """Cores that this process may use; `taskset -c 0 python …` makes it one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_cache() -> int:
    """Bytes of the largest cache, or 32 MiB where the system does not tell."""
    told = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    return max((int(path.read_text().strip()[:-1]) << 10 for path in told), default=32 << 20)


def cpu_name() -> str:
    """The processor as the system calls it, with the number of cores used."""
    names = [platform.processor() or platform.machine()]
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text()
        names = re.findall(r"^model name\s*: (.*)$", lines, re.MULTILINE) or names
    return f"{names[0].strip()}, {threads()} core{'s' if threads() > 1 else ''}"


def machine() -> dict[str, Any]:
    """Where and when: the device's name, its driver, versions and the date."""
    import jax

    return {
        "device": jax.devices()[0].device_kind if on_gpu() else cpu_name(),
        "platform": jax.default_backend(),
        "driver": _driver(),
        "cpu": cpu_name(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "date": time.strftime("%Y-%m-%d"),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


@functools.cache
def native() -> bool:
    """Whether a CPU has the C functions, which are built if a compiler is here."""
    from segjax_kernels import cpu
    from segjax_kernels.cpu.build import build, library

    try:
        if not on_gpu() and not library().is_file():
            build()
    except RuntimeError as error:
        say(f"without the C functions: {error}")
    return not on_gpu() and cpu.available()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _driver() -> str | None:
    if not on_gpu() or not shutil.which("nvidia-smi"):
        return None
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    told = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()
    return told[0] if told else None


# --- reports ----------------------------------------------------------------------------------


def drift(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """How far the ratios of two runs lie apart, the furthest first: 0.1 is by a factor of 1.1."""
    apart = {
        name: max(after[name] / before[name], before[name] / after[name]) - 1
        for name in before.keys() & after.keys()
        if before[name] > 0 and after[name] > 0
    }
    return dict(sorted(apart.items(), key=lambda item: -item[1]))


def verdict(apart: Mapping[str, float]) -> str:
    """What `drift` says about the machine, in a line and one more for each ratio that moved."""
    if not apart:
        return "no earlier run to compare with"
    moved = {name: by for name, by in apart.items() if by > NOISY}
    if not moved:
        return f"ratios agree with the run before: at most {max(apart.values()):.0%} apart"
    lines = [f"  {by:6.0%}  {name}" for name, by in moved.items()]
    summary = f"the machine was noisy: {len(moved)} of {len(apart)} ratios are more than "
    return "\n".join([f"{summary}{NOISY:.0%} from the run before", *lines])


def progress(things: Iterable[Thing], what: str) -> Iterable[Thing]:
    """Goes through things with a bar on stderr, where that is a terminal."""
    things = list(things)
    return track(things, what, console=SCREEN, disable=not sys.stderr.isatty(), transient=True)


def say(text: str) -> None:
    """A line on stderr, beside the progress bar."""
    SCREEN.print(text, highlight=False, markup=False, soft_wrap=True)
