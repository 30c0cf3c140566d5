import numpy as np
import pytest
from agreement import run_apart
from agreement_guided import check
from test_guided_upsample_blend import lowered

from segjax_kernels.guided_upsample_blend import cases

WIDE, NARROW = (
    next(case for case in cases.AWKWARD if case.name == name) for name in cases.WIDE_AND_NARROW
)


@pytest.fixture(scope="module")
def interpreted(needs, tmp_path_factory):
    """What the Triton kernel gives in Triton's interpreter, by case."""
    needs("triton")
    needs("jax_triton")
    path = tmp_path_factory.mktemp("triton") / "interpreted.npz"
    run_apart("interpreted_guided.py", path)
    return np.load(path)


@pytest.mark.parametrize("case", cases.QUICK, ids=lambda case: case.name)
def test_awkward_sizes_against_the_oracle(case, interpreted):
    check(interpreted[f"{case.name}, frame, False"], cases.inputs(case), "triton")


@pytest.mark.parametrize("background", cases.BACKGROUNDS)
@pytest.mark.parametrize(
    ("case", "room"),
    [(WIDE, False), (WIDE, True), (NARROW, True)],
    ids=["wide", "wide, room", "narrow, room"],
)
def test_backgrounds_against_the_oracle(case, room, background, interpreted):
    inputs = cases.inputs(case, background, room=room)
    check(interpreted[f"{case.name}, {background}, {room}"], inputs, "triton")


def test_small_blocks_and_batches(interpreted):
    check(interpreted["small blocks"], cases.inputs(WIDE), "triton")
    faint = cases.inputs(WIDE, "frame", room=True)
    check(interpreted["faint"], faint, "triton", faint=0.05)
    check(interpreted["in place"], cases.inputs(WIDE), "triton")
    batch = cases.inputs(WIDE, "small", room=True, count=2)
    for at, result in enumerate(interpreted["batch"]):
        each = {name: x[at] for name, x in batch.items()} | {"frame": batch["frame"][0]}
        check(result, each, "triton")


def test_what_is_not_finite_is_the_background(interpreted):
    assert interpreted["broken"][0, :, 0].tolist() == [0, 0, 0, 0, 0, 200]


def test_in_place_gives_the_kernel_the_frame_to_write_to(needs):
    needs("triton")
    needs("jax_triton")
    assert "output_operand_alias" not in lowered("cuda")
    assert "operand_index = 0" in lowered("cuda", in_place=True)


def test_the_kernel_compiles_for_the_gpus_in_use(needs):
    needs("triton")
    needs("jax_triton")
    run_apart("compiled_guided.py")
