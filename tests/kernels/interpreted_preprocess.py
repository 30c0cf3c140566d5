"""Runs the Triton kernel of `preprocess` in Triton's interpreter: see `interpreted.py`.

`python interpreted_preprocess.py OUT.npz` saves one result for each awkward case.
"""

import sys
from typing import Any

import numpy as np
from interpreted import Tensor  # sets TRITON_INTERPRET: before the kernel

from segjax_kernels.preprocess import cases, triton_kernel
from segjax_kernels.tuning import KernelConfig

SMALL_BLOCKS = KernelConfig(block=128, warps=1, rows=3)
"""So that small frames have several blocks, and rows beyond the last one."""


def preprocess(frames: np.ndarray, size: tuple[int, int], config: KernelConfig | None):
    pictures, height, width, _ = frames.shape
    grid, constants, _ = triton_kernel.launch(height, width, *size, pictures, config)
    # What lies behind the result must stay as it is.
    count = len(frames) * 3 * size[0] * size[1]
    out = np.full(count + 64, 77, np.float32)
    kernel: Any = triton_kernel.preprocess_kernel
    kernel[grid](Tensor(frames), Tensor(out), **constants)
    if (out[count:] != 77).any():
        sys.exit(f"the kernel wrote behind a picture of {size}")
    return out[:count].reshape(len(frames), *size, 3)


if __name__ == "__main__":
    results = {}
    for case in cases.AWKWARD:
        results[case.name] = preprocess(cases.inputs(case)[None], case[3:], None)
        if case.name in ("half factors", "one pixel left"):
            frames = np.stack([cases.inputs(case, seed=seed) for seed in (0, 1)])
            results[f"{case.name}, small blocks"] = preprocess(frames, case[3:], SMALL_BLOCKS)
    np.savez(sys.argv[1], **results)
