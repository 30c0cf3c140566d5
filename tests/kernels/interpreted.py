"""Runs the Triton kernel of `upsample_blend` in Triton's interpreter, on NumPy's memory.

`python interpreted.py OUT.npz` saves one result for each awkward case and background. It is a
process of its own because TRITON_INTERPRET counts when the kernel's module is imported.
"""

import os
import sys
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"

import numpy as np

from segjax_kernels.upsample_blend import cases, triton_kernel


class Tensor:
    """What the interpreter asks of a torch tensor, over an array that is on the host already."""

    def __init__(self, array: np.ndarray):
        self.array = array
        self.dtype = array.dtype.name

    def data_ptr(self):
        return self.array.ctypes.data

    def untyped_storage(self):
        return self

    def cpu(self):
        return self

    def new_empty(self, *_, **__):
        return Tensor(self.array)

    def storage_offset(self):
        return 0

    def size(self):
        return self.array.shape

    def stride(self):
        return self.array.strides

    def set_(self, *_):
        pass

    def copy_(self, _):
        pass


def upsample_blend(frame: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> np.ndarray:
    sizes = frame.shape[0], frame.shape[1], alpha.shape[0], alpha.shape[1]
    grid, constants = triton_kernel.launch(*sizes, background.ndim == 1)
    # Bytes beyond the frame's must stay as they are.
    out = np.full(frame.size + 64, 77, np.uint8)
    kernel: Any = triton_kernel.upsample_blend_kernel
    kernel[grid](*map(Tensor, (frame, alpha, background, out)), **constants)
    if (out[frame.size :] != 77).any():
        sys.exit(f"the kernel wrote behind a frame of {frame.shape}")
    return out[: frame.size].reshape(frame.shape)


if __name__ == "__main__":
    results = {}
    for case in cases.AWKWARD:
        for colour in (False, True):
            inputs = cases.inputs(case, colour=colour)
            results[f"{case.name}, {colour}"] = upsample_blend(*inputs)
    results["out of range"] = upsample_blend(*cases.out_of_range())
    np.savez(sys.argv[1], **results)
