"""What is freed is kept for the next frame, until it is given back."""

import ctypes
import platform
import subprocess
import sys

import pytest

from segjax import memory

FREED_MB = """
import re
from pathlib import Path
import numpy as np
from segjax import memory

def private_mb():
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(map(int, re.findall(r"^Private_\\w+:\\s+(\\d+) kB", text, re.M))) / 1024

memory.keep_freed_memory()
frames = [np.ones(2_700_000, np.uint8) for _ in range(40)]
del frames
kept = private_mb()
memory.give_back_memory()
print(kept - private_mb())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is not glibc's")
def test_freed_frames_are_kept_and_then_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", FREED_MB], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 90, "of 40 frames of 2.7 MB"


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    memory.keep_freed_memory()
    memory.give_back_memory()
