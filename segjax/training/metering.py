"""How fast a run is, and of what its devices could do how much."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

PEAKS = {
    "NVIDIA B200": (2250.0, 1125.0),
    "NVIDIA H200": (989.4, 494.7),
    "NVIDIA H100": (989.4, 494.7),
    "NVIDIA H100 PCIe": (756.0, 378.0),
    "NVIDIA A100": (312.0, 156.0),
    "NVIDIA L40S": (362.0, 183.0),
    "NVIDIA L40": (181.0, 90.5),
    "NVIDIA L4": (121.0, 60.0),
    "NVIDIA A10": (125.0, 62.5),
    "NVIDIA GeForce RTX 4090": (165.2, 82.6),
    "NVIDIA GeForce RTX 3090": (71.0, 35.6),
    "TPU v6 lite": (918.0, 918.0),
    "TPU v5 lite": (197.0, 197.0),
    "TPU v5": (459.0, 459.0),
    "TPU v4": (275.0, 275.0),
}
"""TFLOP/s of dense products by data sheet: of bfloat16, and of float32 as JAX computes it by
default there (TF32 on GPUs, bfloat16 passes on TPUs)."""

SIDE = 1024
"""Of the square matrices whose product measures a device that is not in the table."""


class Meter:
    """Time a step, how much of it was spent waiting for data, and how much of the peak it used.

    Args:
      images_per_step: over all devices.
      compute: dtype of the network's products.
      counted: the step by XLA alone: what others compute it does not count.
      convolve: what computes its convolutions, if that is not XLA; see `make_train_step`.
    """

    def __init__(
        self,
        images_per_step: int,
        compute: str,
        counted: Any,
        convolve: Callable[..., jax.Array] | None = None,
    ):
        self._images = images_per_step
        self._peak, self._peak_of = peak(compute, convolve)
        self._counted = counted
        self._flops: dict[Any, float] = {}
        self.restart()

    def restart(self) -> None:
        """Forgets what was measured, after something that is no step."""
        self._since, self._waited = time.perf_counter(), 0.0
        self._steps, self._done = 0, 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around getting a batch; the device may be busy meanwhile with the step before."""
        began = time.perf_counter()
        yield
        self._waited += time.perf_counter() - began

    def call(self, step_fn: Any, state: Any, batch: Any) -> Any:
        """`step_fn(state, batch)`, whose operations are counted: those of the program as written.

        That is before the compiler changed it, so that the figure is the same on each device.
        """
        shapes = tuple(value.shape for value in batch.values())
        if shapes not in self._flops:
            cost = self._counted.lower(state, batch).cost_analysis() or {}
            self._flops[shapes] = cost.get("flops", 0.0)
        self._done += self._flops[shapes]
        return step_fn(state, batch)

    def step(self) -> None:
        """A step was made."""
        self._steps += 1

    def read(self) -> dict[str, Any]:
        """Figures since the last reading; `peak_share` is that of `peak_of`."""
        seconds = time.perf_counter() - self._since
        figures = {
            "step_ms": round(seconds / self._steps * 1e3, 2),
            "images_per_s": round(self._steps * self._images / seconds, 2),
            "waiting_share": round(self._waited / seconds, 4),
            "peak_share": float(f"{self._done / seconds / self._peak:.3g}"),
            "peak_of": self._peak_of,
        }
        self.restart()
        return figures


def peak(compute: str, convolve: Callable[..., jax.Array] | None = None) -> tuple[float, str]:
    """FLOP/s of all devices together at matrix products of a dtype, and in words what it is of.

    By data sheet for the GPUs and TPUs that are known here; else, and on CPUs, by the best of a few
    products of 1024×1024 matrices, or by `convolve` of 3×3 convolutions of 128 channels; that takes
    some milliseconds.
    """
    kind = jax.devices()[0].device_kind
    known = [name for name in PEAKS if name in kind]
    if known:
        name, count = max(known, key=len), jax.device_count()
        one = PEAKS[name][0 if compute == "bfloat16" else 1] * 1e12
        how = "data sheet"
    else:
        # Devices of a CPU are all the same processor.
        on_cpu = jax.default_backend() == "cpu"
        name, count = kind, jax.process_count() if on_cpu else jax.device_count()
        one, how = _measured(compute, convolve), "measured"
    return one * count, f"{count} x {name}, {one / 1e12:.4g} TFLOP/s each in {compute}, {how}"


class Profile:
    """Records the first to the last of `steps` (none if 0) by `jax.profiler`, for TensorBoard."""

    def __init__(self, folder: Path, steps: tuple[int, int]):
        self._folder, (self._first, self._last) = folder, steps
        self._running = False

    def before(self, step: int) -> None:
        """To be called before a step."""
        if step == self._first:
            jax.profiler.start_trace(self._folder)
            self._running = True

    def after(self, step: int, figures: Any) -> None:
        """To be called when a step was sent to the devices, with what it will give."""
        if self._running and step >= self._last:
            jax.block_until_ready(figures)
            self.close()

    def close(self) -> None:
        """Writes what was recorded."""
        if self._running:
            jax.profiler.stop_trace()
            self._running = False


def _measured(compute: str, convolve: Callable[..., jax.Array] | None) -> float:
    one = jnp.ones((SIDE, SIDE), "float32" if convolve else compute)
    product: Callable[..., jax.Array] = jax.jit(convolve or jnp.dot)
    # Of maps as large as a network's, in which a kernel is little.
    operands = (one.reshape(8, 64, -1, 128), jnp.ones((3, 3, 128, 128))) if convolve else (one, one)
    operations = 2 * one.size * (9 * 128 if convolve else SIDE)
    product(*operands).block_until_ready()
    times = []
    for _ in range(5):
        began = time.perf_counter()
        product(*operands).block_until_ready()
        times.append(time.perf_counter() - began)
    return operations / min(times)
