"""Does the plain install resolve, as wheels alone, on every system that segjax supports?

    make platforms

uv works out which packages a system and a Python need (pip judges markers by the machine it runs
on), once by constraints.txt and once by the newest releases; pip's dry run then confirms that each
has a wheel for that system. Nothing is installed but uv. Needs the package registry.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from segjax.files import write_json

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13")
GLIBC = (17, 24, 26, 27, 28)  # a system with glibc 2.28 takes wheels made for older ones
SYSTEMS = {  # uv's name, pip's names
    "Linux x86-64": ("x86_64-manylinux_2_28", [f"manylinux_2_{n}_x86_64" for n in GLIBC]),
    "Linux arm64": ("aarch64-manylinux_2_28", [f"manylinux_2_{n}_aarch64" for n in GLIBC]),
    "macOS 14 arm64": ("aarch64-apple-darwin", ["macosx_14_0_arm64"]),
    "Windows x86-64": ("x86_64-pc-windows-msvc", ["win_amd64"]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, default=Path("out/platforms.json"))
    report = parser.parse_args().report
    pip("install", "--quiet", "uv")
    rows = [
        check(system, python, pinned)
        for system in SYSTEMS
        for python in PYTHONS
        for pinned in (True, False)
    ]
    write_json(report, rows)
    sys.exit(any(row["error"] for row in rows))


def check(system: str, python: str, pinned: bool) -> dict:
    """One row: the packages that the plain install needs there, or the first error."""
    uv_name, pip_names = SYSTEMS[system]
    row = {"system": system, "python": python, "pinned": pinned, "packages": [], "error": ""}
    try:
        resolved = run(
            *("uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"),
            *("--only-binary", ":all:", "--python-platform", uv_name, "--python-version", python),
            *(("--constraint", "constraints.txt") if pinned else ()),
            "pyproject.toml",
        )
        row["packages"] = resolved.split()
        with tempfile.TemporaryDirectory() as folder:
            pip(
                *("install", "--dry-run", "--quiet", "--no-deps", "--only-binary", ":all:"),
                "--ignore-requires-python",  # pip means the one it runs on; uv has looked already
                *("--target", folder, "--python-version", python, "--implementation", "cp"),
                *(f"--platform={name}" for name in pip_names),
                *row["packages"],
            )
    except subprocess.CalledProcessError as error:
        row["error"] = error.stderr.strip().splitlines()[-1]
    outcome = f"FAILED: {row['error']}" if row["error"] else f"{len(row['packages'])} wheels"
    print(f"{system:15} {python}  {'pinned' if pinned else 'newest'}  {outcome}", flush=True)
    return row


def pip(*arguments: str) -> str:
    return run(sys.executable, "-m", "pip", *arguments)


def run(*command: str) -> str:
    # The pins that make exports would decide the newest releases too.
    inherited = {key: text for key, text in os.environ.items() if "CONSTRAINT" not in key}
    path = f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}"
    environment = inherited | {"PATH": path, "MACOSX_DEPLOYMENT_TARGET": "14.0"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout


if __name__ == "__main__":
    main()
