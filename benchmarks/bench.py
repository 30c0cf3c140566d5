"""All benchmarks in one call, each in a process of its own; then whether the machine was quiet.

    make bench                                              on a CPU, under 10 minutes
    make bench-gpu                                          on an NVIDIA GPU, under 8 minutes
    PYTHONPATH=.:kernels python benchmarks/bench.py --gpu --out results         from the tree

Writes kernels.json, step.json, compare_peers.json (CPU), and from them benchmarks.md and
roofline.png. Run again with the same --out, it says how far the ratios lie from those before.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import figures
import harness

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ("kernels", "step", "compare_peers")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for all that is written")
    parser.add_argument("--gpu", action="store_true", help="on an NVIDIA GPU; an error without one")
    parser.add_argument("--peers", type=Path, default=Path("../shared/peers"), help=".onnx files")
    parser.add_argument("--only", action="append", choices=REPORTS, help="repeatable")
    options = parser.parse_args()
    began = time.monotonic()
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # PyTorch needs memory beside JAX
    if options.gpu and not harness.on_gpu():
        parser.exit(2, "error: JAX sees no GPU here; install segjax[gpu], or leave out --gpu\n")
    wanted = list(options.only or REPORTS)
    if "compare_peers" in wanted and (options.gpu or not options.peers.is_dir()):
        wanted.remove("compare_peers")
        why = "it is for CPUs" if options.gpu else f"no folder {options.peers}"
        print(f"skipped compare_peers: {why}")
    before = {name: set_aside(options.out / f"{name}.json") for name in wanted}
    problems = [problem for name in wanted if (problem := run(name, options))]
    after = {name: read(options.out / f"{name}.json") for name in wanted}

    figures.write(options.out, {name: report for name, report in after.items() if report})
    apart = harness.drift(all_ratios(before), all_ratios(after))
    print(harness.verdict(apart))
    for problem in problems:
        print(problem)
    print(f"took {time.monotonic() - began:.0f} s; the tables: {options.out / 'benchmarks.md'}")
    sys.exit(bool(problems))


def run(name: str, options: argparse.Namespace) -> str | None:
    """One benchmark as a child process: None, or what went wrong; the others go on."""
    out, peers = str(options.out), str(options.peers)
    arguments, seconds = {
        "kernels": (["--out", out, "--deadline", "200" if options.gpu else "170"], 230),
        "step": (["--out", out, "--peers", peers], 210),
        "compare_peers": (["--peers", peers, "--report", f"{out}/compare_peers.json"], 160),
    }[name]
    print(f"== {name}", flush=True)
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *arguments]
    try:
        status = subprocess.run(command, timeout=seconds, check=False).returncode
    except subprocess.TimeoutExpired:
        return f"{name} was stopped after {seconds} s; its report holds what it had measured"
    return f"{name} ended with {status}, see above" if status else None


def set_aside(path: Path) -> dict[str, Any]:
    """The report of the run before, moved out of the way so that it cannot pass for a new one."""
    report = read(path)
    if report:
        path.replace(path.with_suffix(".before.json"))
    return report


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.is_file() else {}


def all_ratios(reports: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Every ratio in the reports, by a name that tells the device too."""
    ratios = {}
    for name, report in reports.items():
        machine = report.get("machine", {})
        where = f"{machine.get('device') or machine.get('cpu')}, {name}"
        found = dict(report.get("ratios", {}))
        if name == "compare_peers":
            found = {
                f"{threads} threads, {key}": value
                for threads, part in report.items()
                for key, value in part.items()
                if "_ratio" in key and isinstance(value, float)
            }
        ratios |= {f"{where}: {key}": value for key, value in found.items()}
    return ratios


if __name__ == "__main__":
    main()
