"""The search for the fastest config of a kernel on the GPU at hand: `segjax_kernels.autotune`."""

import statistics
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import jax

from segjax_kernels import tuning
from segjax_kernels.tuning import KernelConfig, Shape, Tunable

SIZES: tuple[Shape, ...] = ((720, 1280), (1080, 1920), (2160, 3840))

ROTATED_BYTES = 512 * 2**20
"""Inputs in turn, several times what any GPU's cache holds."""

MOST_ROTATED = 64
"""Calls in one program, back to back, so that their launches hide behind each other."""

Measure = Callable[[Tunable, Shape, KernelConfig], float]
"""Seconds a call; a RuntimeError or ValueError where the config does not compile or run."""


def autotune(
    kernels: Iterable[str] | None = None,
    sizes: Iterable[Shape] = SIZES,
    *,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, dict[Shape, KernelConfig]]:
    """Searches on the GPU at hand and adds what it finds to the device's table.

    Args:
      kernels: their names; None for all.
      sizes: (height, width) of frames.
      say: gets a line for each kernel and size.

    Returns:
      kernel → size → the fastest config.

    Raises:
      NotImplementedError: no NVIDIA GPU is at hand.
      ValueError: a kernel is unknown.
      OSError: the table cannot be written.
    """
    device_kind = tuning.gpu_kind()
    if not device_kind:
        raise NotImplementedError(
            "autotune searches on the NVIDIA GPU at hand, and JAX finds none here; "
            "install segjax[gpu] on a machine with one"
        )
    names = list(tuning.TUNABLES) if kernels is None else list(kernels)
    table = {name: {size: search(name, size, measure, say) for size in sizes} for name in names}
    path = tuning.save_table(device_kind, table)
    say(f"kept in {path}")
    return table


def search(
    kernel: str, shape: Shape, measure: Measure, say: Callable[[str], None] = lambda _: None
) -> KernelConfig:
    """The config of the kernel's space that `measure` finds fastest; the heuristic's on a tie.

    A config that does not run (of too many registers, say) is passed over.

    Raises:
      ValueError: the kernel is unknown, or none of its configs runs.
    """
    estimate = tuning.heuristic(kernel, shape, tuning.gpu_kind())
    tunable = tuning.TUNABLES[kernel]
    seconds: dict[KernelConfig, float] = {}
    problem = "its space is empty"
    for config in dict.fromkeys((estimate, *tunable.space(shape))):
        try:
            seconds[config] = measure(tunable, shape, config)
        except (RuntimeError, ValueError) as error:
            problem = str(error)
    if not seconds:
        raise ValueError(f"no config of {kernel} runs on {tuning.gpu_kind()}: {problem}")
    best = min(seconds, key=lambda config: seconds[config])
    before = f", estimated {seconds[estimate] * 1e6:.1f}" if estimate in seconds else ""
    say(f"{kernel} {shape[0]}x{shape[1]}: {seconds[best] * 1e6:.1f} µs{before}, {best}")
    return best


def measure(tunable: Tunable, shape: Shape, config: KernelConfig) -> float:
    """The median of 10 turns, each of many calls back to back, on inputs that no cache holds."""
    run, inputs = _problem(tunable, shape)

    @jax.jit
    def every(inputs: Any) -> Any:
        return [run(config, *each) for each in inputs]

    jax.block_until_ready(every(inputs))
    seconds = []
    for _ in range(10):
        began = time.perf_counter()
        jax.block_until_ready(every(inputs))
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds) / len(inputs)


@lru_cache(maxsize=1)
def _problem(tunable: Tunable, shape: Shape) -> tuple[Callable[..., Any], list[Any]]:
    run, arrays = tunable.problem(shape)
    count = min(MOST_ROTATED, 1 + ROTATED_BYTES // sum(array.nbytes for array in arrays))
    return run, [[jax.device_put(array) for array in arrays] for _ in range(count)]
