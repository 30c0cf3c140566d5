"""Compiles the Triton kernels of `upsample_blend` for GPUs that are not here, and checks the code.

A process of its own: Triton's compiler and its interpreter exclude each other in one.
"""

import math
import os
import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from segjax_kernels import tuning
from segjax_kernels.upsample_blend import cases, triton_kernel

TOOLS = Path(triton.__file__).parent / "backends/nvidia/bin"
TYPES = {"uint8": "*u8", "float32": "*fp32"}

# Machine instructions for a pixel, all threads together.
MOST_INSTRUCTIONS = {"frame": 50, "colour": 50, "small": 68, "none": 32}

MOST_REGISTERS = 168
"""So that 6 programs of 64 threads fit a multiprocessor."""


class Code(NamedTuple):
    """What a kernel became: its PTX, the names of its machine instructions, and its resources."""

    ptx: str
    instructions: Counter[str]
    registers: int
    spilled: int
    """Bytes of stack and local memory."""


def compile_code(
    kernel: Any, types: list[str], constants: Any, warps: int, capability: int
) -> Code:
    """Compiles a kernel whose first arguments are pointers of `types`, the others constants."""
    signature = dict(zip(kernel.arg_names, types, strict=False))
    signature |= dict.fromkeys(constants, "constexpr")
    # What jax-triton promises as well: XLA's buffers start at multiples of 16 bytes.
    aligned = {(i,): [["tt.divisibility", 16]] for i in range(len(types))}
    source = ASTSource(kernel, signature, constants, aligned)
    target = GPUTarget("cuda", capability, 32)
    asm = triton.compile(source, target=target, options={"num_warps": warps}).asm
    with tempfile.NamedTemporaryFile(suffix=".cubin") as cubin:
        Path(cubin.name).write_bytes(asm["cubin"])
        usage = _tool("cuobjdump", "--dump-resource-usage", cubin.name)
        sass = _tool("nvdisasm", cubin.name)
    names = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?([A-Z][A-Z0-9_.]*)", sass)
    # Behind the last exit lies padding.
    names = names[: len(names) - names[::-1].index("EXIT")]
    registers, stack, local = (
        int(re.findall(rf"{name}:(\d+)", usage)[0]) for name in ("REG", "STACK", "LOCAL")
    )
    return Code(asm["ptx"], Counter(names), registers, stack + local)


def _tool(name: str, *arguments: str) -> str:
    return subprocess.run(
        [TOOLS / name, *arguments], capture_output=True, text=True, check=True
    ).stdout


def accesses(ptx: str, kind: str) -> set[int]:
    """Bytes at a time of the global loads ("ld") or stores ("st")."""
    found = re.findall(rf"{kind}\.global(?:\.v(\d))?\.b(\d+)", ptx)
    return {int(count or 1) * int(bits) // 8 for count, bits in found}


def check_version(code: Code, capability: int) -> None:
    (version,) = re.findall(r"^\.version (\d+)\.(\d+)", code.ptx, re.MULTILINE)
    # ptxas refuses what is newer, and would do so at a user's first frame: that of CUDA 12.8 and
    # later takes 8.7. Blackwell needs 12.9, which takes 8.8.
    assert tuple(map(int, version)) <= ((8, 8) if capability >= 100 else (8, 7)), version
    assert re.search(rf"\.target sm_{capability}a?\b", code.ptx)


def check(capability: int, case: cases.Case, background: str, most: int | None = None) -> None:
    inputs = [x[None] for x in cases.inputs(case, background) if x is not None]
    config = tuning.heuristic("upsample_blend", case[1:3])
    kernel, _, constants = triton_kernel.launch(config, *inputs, lowered=True)  # as the step does
    types = [TYPES[x.dtype.name] for x in inputs] + ["*u8"]
    code = compile_code(kernel, types, constants, config.warps, capability)
    about = f"{case.name}, {background}, sm_{capability}"

    check_version(code, capability)
    assert code.spilled == 0, f"{about}: {code.spilled} bytes spilled"
    assert code.registers <= MOST_REGISTERS, f"{about}: {code.registers} registers"

    # No loop and no branch is left: every thread runs every instruction once.
    channels = 4 if background == "none" else 3
    pixels = config.block * constants["ROWS"] / channels / (32 * config.warps)
    count = code.instructions.total() / pixels
    print(f"{about}: {count:.1f} instructions a pixel, {code.registers} registers")
    assert count <= (most or MOST_INSTRUCTIONS[background]), f"{about}: {count:.1f} instructions"

    # As wide as the alignment of a row allows, but for what is looked up.
    width = math.gcd(channels * case.width, 16)
    loads, stores = accesses(code.ptx, "ld"), accesses(code.ptx, "st")
    assert stores == {width}, f"{about}: stores of {stores} bytes"
    looked_up = {4} | ({1} if background in ("colour", "none") else set())
    wide = set() if background == "none" else {width}
    assert loads == looked_up | wide, f"{about}: loads of {loads} bytes"


if __name__ == "__main__":
    named = {case.name: case for case in (*cases.AWKWARD, *cases.REAL)}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TRITON_CACHE_DIR"] = cache
        for background in cases.BACKGROUNDS:
            check(90, named["1080p"], background)
        for capability in (80, 100):
            check(capability, named["1080p"], "frame")
            check(capability, named["1080p"], "small")
        check(90, named["720p"], "frame")
        check(90, named["4K"], "frame")
        check(90, named["768p"], "frame", most=75)
        check(90, named["prime"], "none", most=50)
