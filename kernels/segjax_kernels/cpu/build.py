"""Compiles the C files beside it for this processor.

python -m segjax_kernels.cpu.build
"""

import hashlib
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import jax

SOURCES = sorted(Path(__file__).parent.glob("*.[ch]"))
OPTIONS = (
    "-std=gnu11",
    "-O3",
    "-march=native",
    "-ffp-contract=fast",
    "-fPIC",
    "-fvisibility=hidden",
    "-shared",
    "-pthread",
    "-Werror=implicit-function-declaration",
)


def library() -> Path:
    """Where the library lies, or would: another processor, source or jaxlib has another one."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    told = f"{platform.machine()} {_processor()} {version('jaxlib')} {OPTIONS}".encode()
    text = b"".join(source.read_bytes() for source in SOURCES)
    digest = hashlib.sha256(told + text).hexdigest()[:16]
    return base / "segjax" / "native" / f"{digest}.so"


def build(path: Path | None = None) -> Path:
    """Compiles the library to `path` (default `library()`) with $CC or cc; whole or not at all.

    Raises:
      RuntimeError: there is no compiler, or it failed; the message holds what it said.
    """
    path = path or library()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        command = [os.environ.get("CC", "cc"), *OPTIONS, f"-I{jax.ffi.include_dir()}"]
        files = [str(source) for source in SOURCES if source.suffix == ".c"]
        try:
            subprocess.run(
                [*command, *files, "-o", str(made)], check=True, capture_output=True, text=True
            )
        except FileNotFoundError as error:
            raise RuntimeError(
                f"no C compiler: {command[0]} is not there; install GCC or Clang, or set CC"
            ) from error
        except subprocess.CalledProcessError as error:
            raise RuntimeError(f"{command[0]} failed: {error.stderr}") from error
        made.replace(path)
    return path


def _processor() -> str:
    """What names the processor's instructions; a library for others would crash."""
    told = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return " ".join(sorted({line for line in lines if line.startswith(told)}))


if __name__ == "__main__":
    try:
        print(build())
    except RuntimeError as error:
        sys.exit(f"error: {error}")
