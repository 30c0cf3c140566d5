"""Memory that the process keeps for its next frame."""

import ctypes
import sys
from typing import Any

import numpy as np

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -3, -4, -8  # glibc's malloc.h
LARGEST_BUFFER = 64 * 1024 * 1024
MOST_KEPT = 256 * 1024 * 1024
ALIGNMENT = 64
"""Bytes. Where NumPy's memory begins at a multiple of it, JAX on a CPU reads it in place."""


def aligned(array: np.ndarray) -> np.ndarray:
    """A copy of its own that JAX on a CPU reads in place. Any other memory it copies first: at 720p
    0.4 ms a frame, and as much for a picture behind the person."""
    room = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def keep_freed_memory() -> None:
    """Lets this process keep up to 256 MiB of what it frees, where malloc is glibc's.

    By default glibc returns a buffer of a frame's size to the system at once, and the next one is
    new memory, which the system hands out page by page as it is touched: at 720p about 1,500 page
    faults a frame, and 3 of 8 ms.
    """
    mallopt = _glibc("mallopt")
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, LARGEST_BUFFER)
        mallopt(TRIM_THRESHOLD, MOST_KEPT)


def keep_all_freed_memory() -> None:
    """Lets this process keep all that it frees from now on, where malloc is glibc's.

    A training step on a CPU takes gigabytes and frees them again, the same every time. By default
    they go back to the system: those above 32 MB always, those of other threads' arenas too, so all
    is one arena now. To be called before other threads allocate.
    """
    mallopt = _glibc("mallopt")
    if mallopt is not None:
        mallopt(ARENA_MAX, 1)
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, -1)


def give_back_memory() -> None:
    """Gives back what is free now, where malloc is glibc's: 60 to 80 MB once a step is compiled.

    That takes 10 to 50 ms, and 1 ms later on, when it is 10 to 15 MB; the next frame's buffers are
    new memory once. Otherwise what compiling left comes and goes by 60 MB for hours, as threads
    take it up and let go of it.
    """
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _glibc(name: str) -> Any:
    """A function of glibc; None where another library, such as musl's, has none."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
