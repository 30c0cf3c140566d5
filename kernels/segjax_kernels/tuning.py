"""How a GPU kernel is cut into programs: a config given by hand, found by a search, or estimated.

A kernel takes `config: KernelConfig | None = None` as a static argument, and asks

    config = tuning.choose("upsample_blend", (height, width), config)

where its grid is made. That is the config itself if there is one; else what `autotune` kept for
this device and the nearest size; else the heuristic. For all this it registers once, in `api.py`,
since none of it needs Triton:

    tuning.register(
        tuning.Tunable(
            name="upsample_blend",
            heuristic=lambda shape, device_kind: KernelConfig(1024, 2, 8),
            space=lambda shape: tuning.grid_of(blocks=(512, 1024), warps=(2, 4), rows=(4, 8)),
            problem=_problem,
        )
    )

`problem((height, width))` gives `(run, arrays)`: `run(config, *arrays)` is what one frame costs,
under `jax.jit`; `arrays` are NumPy's, real in size and kind. `choose` is called while a function is
traced, so a table counts for what is compiled after it was written.
"""

import itertools
import json
import math
import os
import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax

Shape = tuple[int, int]
"""(height, width) of the full-size frame: what a kernel's cost follows."""


@dataclass(frozen=True)
class KernelConfig:
    """How a kernel is cut into programs.

    Attributes:
      block: bytes (or numbers) of a row that a program takes, a power of two of at least 32.
      warps: of 32 threads in a program, 1, 2, 4, 8, 16 or 32.
      rows: of the frame that a program takes at most.

    Raises:
      ValueError: a value is none of these.
    """

    block: int
    warps: int
    rows: int

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{field.name}: got {value!r}; it is a whole number from 1 on")
        if self.block & (self.block - 1) or self.block < 32:
            raise ValueError(f"block: got {self.block}; it is a power of two of at least 32")
        if self.warps not in (1, 2, 4, 8, 16, 32):
            raise ValueError(f"warps: got {self.warps}; it is 1, 2, 4, 8, 16 or 32")


class Tunable(NamedTuple):
    """What the search and the choice know of a kernel; the module's docstring shows one."""

    name: str
    heuristic: Callable[[Shape, str], KernelConfig]
    space: Callable[[Shape], Iterable[KernelConfig]]
    problem: Callable[[Shape], tuple[Callable[..., Any], tuple[Any, ...]]]


TUNABLES: dict[str, Tunable] = {}
"""By name."""


def register(tunable: Tunable) -> None:
    """Makes a kernel known to `choose`, `heuristic` and `segjax_kernels.autotune`."""
    TUNABLES[tunable.name] = tunable


def grid_of(
    *, blocks: Iterable[int], warps: Iterable[int], rows: Iterable[int]
) -> list[KernelConfig]:
    """Every combination of them."""
    return [KernelConfig(*each) for each in itertools.product(blocks, warps, rows)]


def heuristic(kernel: str, shape: Shape, device_kind: str = "") -> KernelConfig:
    """The estimate for a kernel, a frame's (height, width) and a device by its JAX name.

    Raises:
      ValueError: no such kernel is registered.
    """
    if kernel not in TUNABLES:
        raise ValueError(f"got kernel={kernel!r}; the known ones are {', '.join(TUNABLES)}")
    return TUNABLES[kernel].heuristic(shape, device_kind)


def choose(kernel: str, shape: Shape, config: KernelConfig | None = None) -> KernelConfig:
    """`config`, or what a search kept for this GPU and the nearest size, or the heuristic."""
    if config is not None:
        return config
    device_kind = gpu_kind()
    if device_kind:
        kept = load_table(device_kind).get(kernel)
        if kept:
            size = math.log(shape[0] * shape[1])
            return kept[min(kept, key=lambda s: (abs(math.log(s[0] * s[1]) - size), s != shape))]
    return heuristic(kernel, shape, device_kind)


@cache
def gpu_kind() -> str:
    """JAX's name for the NVIDIA GPU at hand ("NVIDIA H100 80GB HBM3"), or "" if there is none."""
    try:
        return jax.devices("cuda")[0].device_kind
    except RuntimeError:
        return ""


def table_path(device_kind: str) -> Path:
    """Where the table of a device lies, in the user's cache folder."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = re.sub(r"[^A-Za-z0-9]+", "-", device_kind).strip("-")
    return base / "segjax" / "kernels" / f"{name}.json"


@cache
def load_table(device_kind: str) -> dict[str, dict[Shape, KernelConfig]]:
    """The table of a device: kernel → frame's (height, width) → config; {} if there is none.

    Read once a process. A file that cannot be read as one is ignored, with a warning.
    """
    path = table_path(device_kind)
    try:
        return {
            kernel: {read_shape(size): KernelConfig(**config) for size, config in configs.items()}
            for kernel, configs in json.loads(path.read_text()).items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        warnings.warn(
            f"{path} is no table of kernel configs ({error}); it is ignored: "
            "remove it, or run python -m segjax_kernels.autotune",
            stacklevel=2,
        )
        return {}


def save_table(device_kind: str, table: dict[str, dict[Shape, KernelConfig]]) -> Path:
    """Adds to the table of a device, beside it and then renamed; returns where it lies."""
    path = table_path(device_kind)
    merged = dict(load_table(device_kind))
    for kernel, configs in table.items():
        merged[kernel] = merged.get(kernel, {}) | configs
    text = {
        kernel: {f"{height}x{width}": asdict(c) for (height, width), c in sorted(configs.items())}
        for kernel, configs in sorted(merged.items())
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        beside.write_text(json.dumps(text, indent=1) + "\n")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    load_table.cache_clear()
    return path


def read_shape(text: str) -> Shape:
    """Of "HEIGHTxWIDTH".

    Raises:
      ValueError: it is not that.
    """
    height, width = map(int, text.split("x"))
    if height < 1 or width < 1:
        raise ValueError(f"got a frame of {text}")
    return height, width
