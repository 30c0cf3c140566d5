import subprocess
import sys
from functools import partial
from pathlib import Path

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from segjax_kernels import upsample_blend
from segjax_kernels.upsample_blend import cases
from segjax_kernels.upsample_blend.api import IMPLEMENTATIONS

HERE = Path(__file__).parent
ON_CPU = ("xla", "reference")

# The share of bytes that may be off by 1 and by 2. Floats err only where the exact result lies
# halfway between two bytes; the integers round alpha to bytes twice, and by weights of 8 bits.
OFF = {"triton": (0.001, 0), "reference": (0.001, 0), "xla": (1, 0.01)}


def oracle(frame, alpha, background):
    """The exact result, and the alpha of every pixel, in float64."""

    def along(values, size):
        source = values.shape[-1]
        position = (np.arange(size) + 0.5) * source / size - 0.5
        return np.stack([np.interp(position, np.arange(source), row) for row in values])

    alpha = along(along(np.float64(alpha), frame.shape[1]).T, frame.shape[0]).T[..., None]
    return alpha * frame + (1 - alpha) * background, alpha


@pytest.fixture(scope="session")
def interpreted(needs, tmp_path_factory):
    """What the Triton kernel gives in Triton's interpreter, by case."""
    needs("triton")
    needs("jax_triton")
    path = tmp_path_factory.mktemp("triton") / "interpreted.npz"
    run_apart("interpreted.py", path)
    return np.load(path)


def run_apart(script, *arguments):
    """Runs a script of this folder in a process of its own; returns what it printed."""
    command = [sys.executable, HERE / script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("colour", [False, True], ids=["picture", "colour"])
@pytest.mark.parametrize("case", cases.AWKWARD, ids=lambda case: case.name)
def test_awkward_sizes_against_the_oracle(implementation, colour, case, request):
    inputs = cases.inputs(case, colour=colour)
    if implementation == "triton":
        result = request.getfixturevalue("interpreted")[f"{case.name}, {colour}"]
    else:
        result = np.asarray(upsample_blend(*inputs, implementation=implementation))
    check(result, inputs, implementation)


@pytest.mark.parametrize("colour", [False, True], ids=["picture", "colour"])
def test_a_real_size_against_the_oracle(colour):
    inputs = cases.inputs(next(c for c in cases.REAL if c.name == "720p"), colour=colour)
    check(np.asarray(upsample_blend(*inputs)), inputs, "xla")


def check(result, inputs, implementation):
    frame, _, background = inputs
    exact, alpha = oracle(*inputs)
    assert result.shape == frame.shape and result.dtype == np.uint8
    off = np.abs(result - np.rint(exact))
    by_one, by_two = OFF[implementation]
    assert off.max() <= (2 if by_two else 1)
    assert (off == 1).mean() <= by_one
    assert (off == 2).mean() <= by_two
    background = np.broadcast_to(background, frame.shape)
    for value, source in ((0, background), (1, frame)):
        where = np.broadcast_to(alpha == value, frame.shape)
        np.testing.assert_array_equal(result[where], source[where])


def test_by_hand():
    # A mask [0, 1] four pixels wide: positions -0.25, 0.25, 0.75, 1.25 give 0, 1/4, 3/4, 1.
    frame = np.full((1, 4, 3), 200, np.uint8)
    alpha = np.array([[0, 1]], np.float32)
    background = np.array([0, 40, 200], np.uint8)
    for implementation in ON_CPU:
        result = upsample_blend(frame, alpha, background, implementation=implementation)
        expected = [[0, 40, 200], [50, 80, 200], [150, 160, 200], [200, 200, 200]]
        np.testing.assert_array_equal(result[0], expected)


bytes_of = partial(arrays.arrays, np.uint8)
SHAPES = [((6, 7), (2, 3)), ((5, 11), (5, 4))]  # few, since each compiles


@pytest.mark.parametrize("implementation", ON_CPU)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_the_result_lies_between_its_inputs(implementation, data):
    size, mask_size = data.draw(st.sampled_from(SHAPES))
    frame, background = (data.draw(bytes_of((*size, 3))) for _ in range(2))
    alpha = data.draw(arrays.arrays(np.float32, mask_size, elements=st.floats(0, 1, width=32)))
    result = np.asarray(upsample_blend(frame, alpha, background, implementation=implementation))
    assert (result >= np.minimum(frame, background)).all()
    assert (result <= np.maximum(frame, background)).all()
    assert np.abs(result - oracle(frame, alpha, background)[0]).max() <= 2.5


@pytest.mark.parametrize("implementation", ON_CPU)
@settings(deadline=None, max_examples=60)
@given(value=st.floats(0, 1, width=32), shapes=st.sampled_from(SHAPES))
def test_a_constant_mask_survives(implementation, value, shapes):
    size, mask_size = shapes
    frame = np.full((*size, 3), 255, np.uint8)
    alpha = np.full(mask_size, value, np.float32)
    result = upsample_blend(frame, alpha, np.zeros(3, np.uint8), implementation=implementation)
    (level,) = np.unique(result)
    # The integer path rounds twice: to 1/256 of a byte, then to a byte.
    assert abs(level - 255 * value) <= 0.5 + 0.5 / 256 + 1e-4


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_alpha_out_of_range(implementation, request):
    inputs = cases.out_of_range()
    if implementation == "triton":
        result = request.getfixturevalue("interpreted")["out of range"]
    else:
        result = upsample_blend(*inputs, implementation=implementation)
    assert result[0, :, 0].tolist() == [0, 200, 0, 200, 0]


@pytest.mark.parametrize("implementation", ON_CPU)
def test_vmap_is_a_loop(implementation):
    first, second = (cases.inputs(cases.AWKWARD[3], seed=seed) for seed in (1, 2))
    frames, masks, _ = map(np.stack, zip(first, second, strict=True))
    blend = partial(upsample_blend, implementation=implementation)
    together = jax.vmap(blend, in_axes=(0, 0, None))(frames, masks, first[2])
    apart = [blend(*each[:2], first[2]) for each in (first, second)]
    np.testing.assert_array_equal(together, apart)


def test_no_derivative():
    frame, alpha, background = cases.inputs(cases.AWKWARD[3])

    def loss(alpha, scale):
        return (scale * upsample_blend(frame, alpha, background)).sum()

    with pytest.raises(NotImplementedError, match="bytes, which have no derivative; stop the grad"):
        jax.grad(loss)(jnp.asarray(alpha), 1.0)
    assert jax.grad(loss, argnums=1)(alpha, 1.0) > 0  # by something else, it has no part in it


FRAME, MASK, BACK = ((4, 6, 3), np.uint8), ((2, 3), np.float32), ((4, 6, 3), np.uint8)


@pytest.mark.parametrize(
    ("frame", "alpha", "background", "message"),
    [
        (((4, 6, 3), np.float32), MASK, BACK, r"got a frame of float32\[4, 6, 3\]; it is uint8"),
        (((4, 6, 4), np.uint8), MASK, BACK, r"frame of uint8\[4, 6, 4\]"),
        (((1, 4, 6, 3), np.uint8), MASK, BACK, "jax.vmap for a batch"),
        (((0, 6, 3), np.uint8), MASK, ((3,), np.uint8), "at least one pixel"),
        (FRAME, ((2, 3), np.uint8), BACK, r"got an alpha of uint8\[2, 3\]; it is float32"),
        (FRAME, ((2, 3, 1), np.float32), BACK, r"alpha of float32\[2, 3, 1\]"),
        (FRAME, ((5, 3), np.float32), BACK, "at most as high and as wide; resize it first"),
        (FRAME, MASK, ((4, 5, 3), np.uint8), r"got a background of uint8\[4, 5, 3\] for a frame"),
        (FRAME, MASK, ((3,), np.int32), "it is uint8 and of the frame's shape, or .3."),
    ],
)
def test_errors_say_what_was_got_the_rule_and_the_remedy(frame, alpha, background, message):
    inputs = [np.zeros(shape, dtype) for shape, dtype in (frame, alpha, background)]
    with pytest.raises(ValueError, match=message):
        upsample_blend(*inputs)


def test_none_is_xla_on_a_cpu():
    inputs = cases.inputs(cases.AWKWARD[4])
    np.testing.assert_array_equal(
        upsample_blend(*inputs), upsample_blend(*inputs, implementation="xla")
    )
    result = upsample_blend(*inputs, implementation="reference")
    assert (upsample_blend(*inputs) != result).any(), "the integers are told from the floats"


def lowered(implementation, platform, batch=(), height=45):
    avals = [
        jax.ShapeDtypeStruct((*batch, *shape), dtype)
        for shape, dtype in (
            ((height, 64, 3), jnp.uint8),
            ((9, 16), jnp.float32),
            ((3,), jnp.uint8),
        )
    ]
    function = partial(upsample_blend, implementation=implementation)
    function = jax.jit(jax.vmap(function) if batch else function)
    return function.trace(*avals).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("batch", [(), (2,)], ids=["one", "vmap"])
@pytest.mark.parametrize("implementation", [None, "triton"])
def test_a_jitted_call_lowers_to_triton_for_cuda(implementation, batch, needs):
    needs("triton")
    needs("jax_triton")
    assert "triton_kernel_call" in lowered(implementation, "cuda", batch)


def test_other_platforms_lower_without_triton():
    assert "triton_kernel_call" not in lowered("xla", "cuda")
    for platform in ("cpu", "tpu"):
        assert "triton_kernel_call" not in lowered(None, platform)


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
        lowered("triton", "cuda", height=47)
    assert "triton_kernel_call" not in lowered(None, "cuda", height=47)


def test_the_kernel_compiles_for_the_gpus_in_use(needs):
    needs("triton")
    needs("jax_triton")
    run_apart("compiled.py")
