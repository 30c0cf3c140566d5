import re
import sys
import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import check, run_apart

from segjax_kernels import upsample_blend
from segjax_kernels.tuning import KernelConfig
from segjax_kernels.upsample_blend import cases


@pytest.fixture(scope="module")
def interpreted(needs, tmp_path_factory):
    """What the Triton kernels give in Triton's interpreter, by case."""
    needs("triton")
    needs("jax_triton")
    path = tmp_path_factory.mktemp("triton") / "interpreted.npz"
    run_apart("interpreted.py", path)
    return np.load(path)


@pytest.mark.parametrize("background", cases.BACKGROUNDS)
@pytest.mark.parametrize("case", cases.AWKWARD, ids=lambda case: case.name)
def test_awkward_sizes_against_the_oracle(background, case, interpreted):
    result = interpreted[f"{case.name}, {background}"]
    check(result, cases.inputs(case, background), "triton")


@pytest.mark.parametrize("background", cases.BACKGROUNDS)
def test_small_blocks_and_batches_against_the_oracle(background, interpreted):
    case = next(case for case in cases.AWKWARD if case.name == "rows of no multiple of 16 bytes")
    result = interpreted[f"small blocks, {background}"]
    check(result, cases.inputs(case, background), "triton")

    result = interpreted[f"faint, {background}"]
    check(result, cases.inputs(case, background), "triton", faint=0.05)

    frames, masks, backs = cases.inputs(case, background, count=2)
    for at in range(2):
        inputs = frames[at], masks[at], None if backs is None else backs[at]
        check(interpreted[f"batch, {background}"][at], inputs, "triton")
        inputs = frames[0], masks[at], None if backs is None else backs[0]
        check(interpreted[f"shared, {background}"][at], inputs, "triton")


def test_written_over_the_frame(interpreted):
    expected = interpreted["rows of no multiple of 16 bytes, frame"]
    np.testing.assert_array_equal(interpreted["in place"], expected)


def test_alpha_out_of_range(interpreted):
    assert interpreted["out of range"][0, :, 0].tolist() == [0, 200, 0, 200, 0]


def test_the_kernels_compile_for_the_gpus_in_use(needs):
    needs("triton")
    needs("jax_triton")
    run_apart("compiled.py")


def lowered(background="frame", *, donate=False, platform="cuda", height=45, batch=(), **options):
    """StableHLO of a jitted call on a frame of [height, 64]."""
    case = cases.Case("", height, 64, 9, 16)
    arrays = [x for x in cases.inputs(case, background) if x is not None]
    avals = [jax.ShapeDtypeStruct((*batch, *x.shape), x.dtype) for x in arrays]

    def blend(frame, alpha, background=None):
        return upsample_blend(frame, alpha, background, **options)

    function = jax.jit(jax.vmap(blend) if batch else blend, donate_argnums=0 if donate else ())
    return function.trace(*avals).lower(lowering_platforms=(platform,)).as_text()


CALL = "triton_kernel_call"


@pytest.fixture(params=cases.BACKGROUNDS)
def background(request, needs):
    needs("triton")
    needs("jax_triton")
    return request.param


@pytest.mark.parametrize("implementation", [None, "triton"])
@pytest.mark.parametrize("batch", [(), (2,)], ids=["one", "vmap"])
def test_a_jitted_call_is_one_kernel_on_cuda(implementation, batch, background):
    text = lowered(background, batch=batch, implementation=implementation)
    assert text.count(CALL) == 1


@pytest.mark.parametrize("background", cases.BACKGROUNDS[:3])
def test_in_place_is_one_kernel_and_no_copy(background, needs):
    needs("triton")
    needs("jax_triton")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # JAX warns of a donated buffer that has no use
        text = lowered(background, donate=True, in_place=True)
    assert re.search(r"%arg0: tensor<45x64x3xui8> {[^}]*tf.aliasing_output = 0", text)
    alias = r"output_operand_alias<output_tuple_indices = \[\],\s*operand_index = 0"
    assert re.search(alias, text)
    # The case has one branch; an axis of 1 is put on and taken off, which moves nothing.
    done = set(re.findall(r"stablehlo\.(\w+)[ \"]", text)) - {"constant", "case", "return"}
    assert done == {"custom_call", "broadcast_in_dim", "reshape"} and text.count(CALL) == 1
    assert "output_operand_alias<" not in lowered(background)


def test_a_config_reaches_the_kernel(needs):
    needs("triton")
    needs("jax_triton")
    one, other = (lowered(config=KernelConfig(block, 1, 8)) for block in (256, 512))
    assert one != other


def test_other_platforms_lower_without_triton(background):
    assert CALL not in lowered(background, implementation="xla")
    for platform in ("cpu", "tpu"):
        assert CALL not in lowered(background, platform=platform)


def test_a_frame_beyond_32_bits_goes_elsewhere(needs):
    needs("triton")
    needs("jax_triton")
    avals = [
        jax.ShapeDtypeStruct(shape, dtype)
        for shape, dtype in (
            ((30000, 30000, 3), jnp.uint8),
            ((9, 16), jnp.float32),
            ((3,), jnp.uint8),
        )
    ]
    with pytest.raises(NotImplementedError, match="too few for 1 frames of 30000x30000"):
        jax.eval_shape(partial(upsample_blend, implementation="triton"), *avals)
    assert jax.eval_shape(upsample_blend, *avals).shape == (30000, 30000, 3)


def test_triton_on_a_cpu_says_why_not():
    inputs = cases.inputs(cases.AWKWARD[3])
    with pytest.raises(NotImplementedError, match=r"implementation='triton' (runs on cuda|needs)"):
        upsample_blend(*inputs, implementation="triton")


def test_without_triton_the_rest_works(monkeypatch):
    package = "segjax_kernels.upsample_blend"
    monkeypatch.setitem(sys.modules, "jax_triton", None)
    monkeypatch.delitem(sys.modules, f"{package}.triton_kernel", raising=False)
    monkeypatch.delattr(sys.modules[package], "triton_kernel", raising=False)
    # A height that nothing else has, since what was traced with Triton is kept.
    with pytest.raises(NotImplementedError, match=r"needs triton and jax-triton .* install segjax"):
        lowered(implementation="triton", height=47)
    assert CALL not in lowered(height=47)
