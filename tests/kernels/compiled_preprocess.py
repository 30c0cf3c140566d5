"""Compiles the Triton kernel of `preprocess` for GPUs that are not here, and checks the PTX.

A process of its own: Triton's compiler and its interpreter exclude each other in one.
"""

import math
import os
import re
import tempfile

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from segjax_kernels.preprocess import cases, triton_kernel


def compile_ptx(capability: int, case: cases.Case, dtype: str) -> str:
    _, constants, config = triton_kernel.launch(*case[1:])
    signature = {"frames_ptr": "*u8", "out_ptr": f"*{dtype}"}
    signature |= dict.fromkeys(constants, "constexpr")
    # What jax-triton promises as well: XLA's buffers start at multiples of 16 bytes.
    aligned = {(i,): [["tt.divisibility", 16]] for i in range(2)}
    source = ASTSource(triton_kernel.preprocess_kernel, signature, constants, aligned)
    target = GPUTarget("cuda", capability, 32)
    return triton.compile(source, target=target, options={"num_warps": config.warps}).asm["ptx"]


def check(capability: int, case: cases.Case, dtype: str) -> None:
    ptx = compile_ptx(capability, case, dtype)
    (version,) = re.findall(r"^\.version (\d+)\.(\d+)", ptx, re.MULTILINE)
    # The ptxas of CUDA 12.9 refuses more, and would do so at a user's first frame.
    assert tuple(map(int, version)) <= (8, 8), version
    assert f".target sm_{capability}" in ptx
    if 3 * case.width % 16 == 0:
        loads = set(re.findall(r"ld\.global[.\w]*", ptx))
        assert loads == {"ld.global.v4.b32"}, f"16 bytes at a time are expected: {loads}"
        assert per_pixel(ptx, case) <= 70, f"{per_pixel(ptx, case):.0f} instructions a pixel"


def per_pixel(ptx: str, case: cases.Case) -> float:
    """PTX instructions that all threads run for a pixel of the frame; no loop runs twice here."""
    grid, _, config = triton_kernel.launch(*case[1:])
    count = len(re.findall(r"^\t(?:@%p\d+ )?[a-z][\w.]* ", ptx, re.MULTILINE))
    return count * math.prod(grid) * 32 * config.warps / (case.height * case.width)


if __name__ == "__main__":
    named = {case.name: case for case in (*cases.AWKWARD, *cases.REAL)}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TRITON_CACHE_DIR"] = cache
        for capability in (80, 90, 100):
            check(capability, named["1080p"], "fp32")
            check(capability, named["720p"], "bf16")
            check(capability, named["odd"], "bf16")
