"""Compiles the Triton kernel of `upsample_blend` for GPUs that are not here, and checks the PTX.

A process of its own: Triton's compiler and its interpreter exclude each other in one.
"""

import os
import re
import tempfile

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from segjax_kernels.upsample_blend import cases, triton_kernel


def compile_ptx(capability: int, case: cases.Case, colour: bool) -> str:
    _, constants = triton_kernel.launch(*case[1:], colour)
    signature = {
        "frame_ptr": "*u8",
        "alpha_ptr": "*fp32",
        "background_ptr": "*u8",
        "out_ptr": "*u8",
    } | dict.fromkeys(constants, "constexpr")
    # What jax-triton promises as well: XLA's buffers start at multiples of 16 bytes.
    aligned = {(i,): [["tt.divisibility", 16]] for i in range(4)}
    source = ASTSource(triton_kernel.upsample_blend_kernel, signature, constants, aligned)
    target = GPUTarget("cuda", capability, 32)
    options = {"num_warps": triton_kernel.WARPS}
    return triton.compile(source, target=target, options=options).asm["ptx"]


def check(capability: int, case: cases.Case, colour: bool) -> None:
    ptx = compile_ptx(capability, case, colour)
    (version,) = re.findall(r"^\.version (\d+)\.(\d+)", ptx, re.MULTILINE)
    # The ptxas of CUDA 12.9 and 13.0 refuses more, and would do so at a user's first frame.
    assert tuple(map(int, version)) <= (8, 7), version
    assert f".target sm_{capability}" in ptx
    if 3 * case.width % 16 == 0:
        stores = set(re.findall(r"st\.global[.\w]*", ptx))
        assert stores == {"st.global.v4.b32"}, f"16 bytes at a time are expected: {stores}"
        assert "ld.global.v4.b32" in ptx


if __name__ == "__main__":
    named = {case.name: case for case in (*cases.AWKWARD, *cases.REAL)}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TRITON_CACHE_DIR"] = cache
        for capability in (80, 90):
            check(capability, named["1080p"], colour=False)
            check(capability, named["720p"], colour=True)
            check(capability, named["rows of no multiple of 16 bytes"], colour=False)
