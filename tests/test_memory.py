"""What is freed is kept for the next frame, until it is given back."""

import ctypes
import platform
import subprocess
import sys

import jax
import numpy as np
import pytest

from segjax import memory

PRIVATE_MB = """
import re
from pathlib import Path
import numpy as np
from segjax import memory

def private_mb():
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(map(int, re.findall(r"^Private_\\w+:\\s+(\\d+) kB", text, re.M))) / 1024
"""

FREED_MB = """
memory.keep_freed_memory()
frames = [np.ones(2_700_000, np.uint8) for _ in range(40)]
del frames
kept = private_mb()
memory.give_back_memory()
print(kept - private_mb())
"""

STEPS_MB = """
import threading

def step():
    maps = [np.ones(100_000_000, np.uint8) for _ in range(3)]

memory.keep_all_freed_memory()
for _ in range(2):
    step()
    thread = threading.Thread(target=step)
    thread.start()
    thread.join()
print(private_mb())
"""

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is not glibc's")


def printed(code: str) -> float:
    """What a process of its own prints."""
    done = subprocess.run([sys.executable, "-c", PRIVATE_MB + code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(7, 5, 3), (1,), (0, 4), ()])
def test_an_aligned_copy_is_read_where_it_lies(shape: tuple[int, ...], dtype: type) -> None:
    original = np.asarray(np.random.default_rng(0).integers(0, 256, shape), dtype)
    for given in (original, original.T):
        copy = memory.aligned(given)
        assert copy.dtype == dtype and copy.flags.c_contiguous and copy.flags.writeable
        np.testing.assert_array_equal(copy, given)
        assert not np.shares_memory(copy, given)
        if copy.size:
            assert copy.ctypes.data % 64 == 0
            on_device = jax.device_put(copy, jax.devices("cpu")[0], may_alias=True)
            assert on_device.unsafe_buffer_pointer() == copy.ctypes.data


@glibc
def test_freed_frames_are_kept_and_then_given_back() -> None:
    assert printed(FREED_MB) > 90, "of 40 frames of 2.7 MB"


@glibc
def test_a_step_s_maps_are_kept_for_the_next_whichever_thread_makes_it() -> None:
    assert 280 < printed(STEPS_MB) < 600, "of three maps of 100 MB at a time"


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    memory.keep_freed_memory()
    memory.keep_all_freed_memory()
    memory.give_back_memory()
