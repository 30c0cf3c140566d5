"""Runs the Triton kernels of `upsample_blend` in Triton's interpreter, on NumPy's memory.

`python interpreted.py OUT.npz` saves one result for each awkward case and background. It is a
process of its own because TRITON_INTERPRET counts when the kernel's module is imported.
"""

import os
import sys
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"

import numpy as np

from segjax_kernels.tuning import KernelConfig
from segjax_kernels.upsample_blend import cases, reference, triton_kernel

CONFIG = KernelConfig(block=1024, warps=2, rows=8)

SMALL_BLOCKS = KernelConfig(block=128, warps=1, rows=2)
"""So that small frames have many blocks, and bands several parts."""


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


def upsample_blend(
    *inputs: Any, config: KernelConfig = CONFIG, faint: float = 0.0, in_place: bool = False
):
    """Frames [N, H, W, 3], masks [N, h, w] and backgrounds with a leading axis, N or 1 of each."""
    arrays = [array for array in inputs if array is not None]
    if faint:
        arrays[1] = np.asarray(reference.lowered(arrays[1], faint))
    kernel, grid, constants = triton_kernel.launch(config, *arrays, lowered=faint > 0)
    channels = 3 if len(arrays) == 3 else 4
    shape = (max(len(array) for array in arrays), *arrays[0].shape[1:3], channels)
    size = int(np.prod(shape))
    # Bytes beyond the result's must stay as they are.
    out = np.full(size + 64, 77, np.uint8)
    if in_place:
        out[:size] = arrays[0].reshape(-1)
        arrays[0] = out
    kernel[grid](*map(Tensor, arrays), Tensor(out), **constants)
    if (out[size:] != 77).any():
        sys.exit(f"the kernel wrote behind a result of {shape}")
    return out[:size].reshape(shape)


def single(case: cases.Case, background: str, **options: Any) -> np.ndarray:
    inputs = (None if x is None else x[None] for x in cases.inputs(case, background))
    return upsample_blend(*inputs, **options)[0]


if __name__ == "__main__":
    results = {}
    for case in cases.AWKWARD:
        for background in cases.BACKGROUNDS:
            results[f"{case.name}, {background}"] = single(case, background)
    case = next(case for case in cases.AWKWARD if case.name == "rows of no multiple of 16 bytes")
    for background in cases.BACKGROUNDS:
        results[f"small blocks, {background}"] = single(case, background, config=SMALL_BLOCKS)
        results[f"faint, {background}"] = single(case, background, faint=0.05)
        frames, masks, backs = cases.inputs(case, background, count=2)
        results[f"batch, {background}"] = upsample_blend(frames, masks, backs)
        shared = None if backs is None else backs[:1]
        results[f"shared, {background}"] = upsample_blend(frames[:1], masks, shared)
    results["in place"] = single(case, "frame", in_place=True)
    frame, alpha, background = cases.out_of_range()
    results["out of range"] = upsample_blend(frame[None], alpha[None], background[None])[0]
    np.savez(sys.argv[1], **results)
