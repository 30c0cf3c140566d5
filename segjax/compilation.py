"""Compiled code on disk, so that the second start is fast."""

import hashlib
import os
import platform
from importlib.metadata import version
from pathlib import Path

import jax

LARGEST_BYTES = 512 * 1024 * 1024


def use_cache(folder: Path | str | None = None) -> Path | None:
    """Lets XLA keep its programs under `folder` (default `~/.cache/segjax/xla`), for this process.

    One sub-folder a machine type and version: a program compiled for another CPU can crash. The
    oldest programs go when the cache holds more than 512 MiB. An entry that is damaged or cannot
    be written is compiled anew, with a warning from JAX. `SEGJAX_CACHE=off` switches it off.

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
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_compilation_cache_max_size", LARGEST_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return path


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
