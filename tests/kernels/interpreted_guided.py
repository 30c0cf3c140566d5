"""Runs the Triton kernel of `guided_upsample_blend` in Triton's interpreter: see `interpreted.py`.

`python interpreted_guided.py OUT.npz` saves one result for each awkward case and background.
"""

import sys
from typing import Any

import numpy as np
from interpreted import Tensor  # sets TRITON_INTERPRET: before the kernel

from segjax_kernels.guided_upsample_blend import cases, triton_kernel
from segjax_kernels.tuning import KernelConfig

CONFIG = KernelConfig(block=4096, warps=8, rows=8)
"""Few programs: the interpreter's time follows them."""

SMALL_BLOCKS = KernelConfig(block=512, warps=1, rows=6)
"""So that small frames have many blocks."""


def run(
    inputs: dict[str, Any],
    config: KernelConfig = CONFIG,
    faint: float = 0.0,
    in_place: bool = False,
):
    """Every input has a leading axis, of N or 1."""
    pictures = [inputs[name] for name in ("background", "room") if inputs.get(name) is not None]
    arrays = [inputs["frame"], inputs["slope"], inputs["offset"]]
    transparent = inputs["background"] is None
    grid, constants, others = triton_kernel.launch(
        config, *arrays, *pictures, transparent=transparent, faint=faint, in_place=in_place
    )
    shape = (grid[2], *arrays[0].shape[1:3], 4 if transparent else 3)
    size = int(np.prod(shape))
    # Bytes beyond the result's must stay as they are. Words need memory that begins with one.
    out = np.full(size // 4 * 4 + 64, 77, np.uint8)
    if in_place:
        out[:size] = arrays[0].reshape(-1)
        arrays[0] = out
    kernel: Any = triton_kernel.guided_upsample_blend_kernel
    kernel[grid](*map(Tensor, (*arrays, *others)), Tensor(out), **constants)
    if (out[size:] != 77).any():
        sys.exit(f"the kernel wrote behind a result of {shape}")
    return out[:size].reshape(shape)


def single(case: cases.Case, background: str, room: bool, **options: Any) -> np.ndarray:
    inputs = cases.inputs(case, background, room=room)
    return run({k: None if x is None else x[None] for k, x in inputs.items()}, **options)[0]


if __name__ == "__main__":
    results = {}
    named = {case.name: case for case in cases.AWKWARD}
    for case in cases.QUICK:
        results[f"{case.name}, frame, False"] = single(case, "frame", False)
    wide, narrow = (named[name] for name in cases.WIDE_AND_NARROW)
    for background in cases.BACKGROUNDS:
        for case in (wide, narrow):
            results[f"{case.name}, {background}, True"] = single(case, background, True)
        results[f"{wide.name}, {background}, False"] = single(wide, background, False)
    batch = cases.inputs(wide, "small", room=True, count=2)
    batch["frame"] = batch["frame"][:1]
    results["batch"] = run(batch)
    results["faint"] = single(wide, "frame", True, faint=0.05)
    results["small blocks"] = single(wide, "frame", False, config=SMALL_BLOCKS)
    results["in place"] = single(wide, "frame", False, config=SMALL_BLOCKS, in_place=True)
    broken = cases.broken()
    results["broken"] = run({name: x[None] for name, x in broken.items()})[0]
    np.savez(sys.argv[1], **results)
