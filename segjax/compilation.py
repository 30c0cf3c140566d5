"""Compiled code on disk, so that the second start is fast."""

import contextlib
import hashlib
import os
import platform
from importlib.metadata import version
from pathlib import Path

import jax

LARGEST_BYTES = 512 * 1024 * 1024


def use_cache(folder: Path | str | None = None) -> Path | None:
    """Lets XLA keep its programs under `folder` (default `~/.cache/segjax/xla`), for this process.

    One sub-folder a machine type and version: a program compiled for another CPU can crash. Of more
    than 512 MiB, those not used for longest go here, at the start: JAX's own limit looks at every
    program whenever it adds one, a second each where there are thousands. An entry that is damaged
    or cannot be written is compiled anew, with a warning from JAX. `SEGJAX_CACHE=off` switches it
    off.

    Returns:
      The folder in use, or None if there is none.
    """
    if os.environ.get("SEGJAX_CACHE") == "off":
        return None
    base = Path(folder) if folder else Path.home() / ".cache" / "segjax" / "xla"
    path = base / f"{platform.machine()}-{_cpu()}-jaxlib-{version('jaxlib')}"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    with contextlib.suppress(OSError):  # it can only be read, or somebody else makes room
        _make_room(path)
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return path


def _make_room(folder: Path) -> None:
    """Removes the programs that were not used for longest, until the others are few enough."""
    files = [(path.stat(), path) for path in folder.iterdir()]
    total = sum(status.st_size for status, _ in files)
    for status, path in sorted(files, key=lambda file: file[0].st_atime_ns):
        if total <= LARGEST_BYTES:
            return
        path.unlink()
        total -= status.st_size


def _cpu() -> str:
    """A digest of the processor's model and instructions, as far as the system tells them.

    The model is not enough: a virtual machine may hide instructions that another one shows.
    """
    told = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        known = sorted({line for line in lines if line.startswith(told)})
    except OSError:
        known = [platform.system(), platform.processor()]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:12]
