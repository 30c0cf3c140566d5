"""Compiles the Triton kernel of `guided_upsample_blend`, and checks the code: see `compiled.py`."""

import os
import tempfile

from compiled import TYPES, Code, accesses, check_version, compile_code

from segjax_kernels.guided_upsample_blend import cases, triton_kernel
from segjax_kernels.tuning import KernelConfig

CONFIG = KernelConfig(block=1024, warps=2, rows=8)

# By background and room. With 168 registers, 6 programs of 64 threads fit a multiprocessor.
MOST_REGISTERS = {("frame", False): 104, ("frame", True): 168, ("small", False): 144}

MOST_INSTRUCTIONS = 60
"""For a pixel, all threads together, without a room."""


def compile_case(
    case: cases.Case,
    background: str,
    room: bool,
    capability: int,
    in_place: bool = False,
    rows: int | None = None,
) -> Code:
    """The kernel as it is launched, or with so many rows and no loop over them."""
    inputs = cases.inputs(case, background, room=room)
    arrays = [x[None] for x in inputs.values() if x is not None]
    _, constants, others = triton_kernel.launch(
        CONFIG, *arrays, transparent=False, faint=0.05, in_place=in_place
    )
    types = [TYPES[x.dtype.name] for x in (*arrays[:3], *others)] + ["*u8"]
    constants |= {"ROWS": rows, "PART": rows} if rows else {}
    kernel = triton_kernel.guided_upsample_blend_kernel
    return compile_code(kernel, types, constants, CONFIG.warps, capability)


def check(
    case: cases.Case, background: str, room: bool, capability: int, in_place: bool = False
) -> None:
    code = compile_case(case, background, room, capability, in_place)
    about = f"{case.name}, {background}, {room}, sm_{capability}"
    print(f"{about}: {code.registers} registers")
    check_version(code, capability)
    assert code.spilled == 0, f"{about}: {code.spilled} bytes spilled"
    most = MOST_REGISTERS[background, room]
    assert code.registers <= most, f"{about}: {code.registers} registers"
    assert (code.instructions["BAR.SYNC.DEFER_BLOCKING"] > 0) == in_place, about

    stores, loads = accesses(code.ptx, "st"), accesses(code.ptx, "ld")
    if 3 * case.width % 16 == 0:
        # Lines, small pictures and the words of neighbours are looked up.
        assert stores == {16}, f"{about}: stores of {stores} bytes"
        assert loads == {4, 16}, f"{about}: loads of {loads} bytes"


def count_instructions(case: cases.Case) -> None:
    # Two rows and four: what is left when the rows' own are taken off is there once.
    two, four = (
        compile_case(case, "frame", False, 90, rows=rows).instructions.total() for rows in (2, 4)
    )
    pixels = CONFIG.block // 16 // 3 * 16 * CONFIG.rows
    total = two + (CONFIG.rows - 2) * (four - two) / 2
    count = total * 32 * CONFIG.warps / pixels
    print(f"{case.name}: {count:.1f} instructions a pixel")
    assert count <= MOST_INSTRUCTIONS, f"{case.name}: {count:.1f} instructions"


if __name__ == "__main__":
    named = {case.name: case for case in (*cases.AWKWARD, *cases.REAL)}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TRITON_CACHE_DIR"] = cache
        for background, room in MOST_REGISTERS:
            check(named["1080p"], background, room, 90)
        count_instructions(named["1080p"])
        check(named["1080p"], "frame", False, 90, in_place=True)
        check(named["720p"], "frame", False, 80)
        check(named["4K"], "frame", False, 100)
        check(named["rows of no multiple of 16 bytes"], "frame", False, 90)
