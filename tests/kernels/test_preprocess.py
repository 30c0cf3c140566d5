import subprocess
import sys
from functools import partial
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax_kernels import preprocess
from segjax_kernels.preprocess import cases
from segjax_kernels.preprocess.api import DTYPES
from segjax_kernels.tuning import KernelConfig

HERE = Path(__file__).parent
NAMED = {case.name: case for case in (*cases.AWKWARD, *cases.GROWING, *cases.REAL)}


def weights(size, resized):
    """float64 [resized, size]: the share of each pixel in each result."""
    pixels = np.arange(size)
    if resized > size:
        place = np.clip((np.arange(resized) + 0.5) * size / resized - 0.5, 0, size - 1)
        return np.maximum(0, 1 - np.abs(place[:, None] - pixels))
    edges = np.arange(resized + 1) * (size / resized)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.maximum(0, overlap) * (resized / size)


def oracle(frames, size):
    """The exact result in float64."""
    rows, columns = (weights(*sides) for sides in zip(frames.shape[-3:-1], size, strict=True))
    return np.einsum("hr,vw,...rwc->...hvc", rows, columns, frames / 255.0, optimize=True)


@pytest.fixture(scope="session")
def interpreted(needs, tmp_path_factory):
    """What the Triton kernel gives in Triton's interpreter, by case."""
    needs("triton")
    needs("jax_triton")
    path = tmp_path_factory.mktemp("triton") / "interpreted.npz"
    run_apart("interpreted_preprocess.py", path)
    return np.load(path)


def run_apart(script, *arguments):
    """Runs a script of this folder in a process of its own."""
    command = [sys.executable, HERE / script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [case.name for case in (*cases.AWKWARD, *cases.GROWING)])
def test_awkward_sizes_against_the_oracle(implementation, name):
    frame, size = cases.inputs(NAMED[name]), NAMED[name][3:]
    if implementation == "c" and NAMED[name] in cases.GROWING:
        with pytest.raises(NotImplementedError, match="where a side grows, take None"):
            preprocess(frame, size, implementation=implementation)
        return
    small = preprocess(frame, size, implementation=implementation)
    assert small.shape == (*size, 3) and small.dtype == np.float32
    np.testing.assert_allclose(small, oracle(frame, size), atol=1e-6)


@pytest.mark.parametrize("name", [case.name for case in cases.AWKWARD])
def test_the_triton_kernel_against_the_oracle(name, interpreted):
    frame = cases.inputs(NAMED[name])[None]
    np.testing.assert_allclose(interpreted[name], oracle(frame, NAMED[name][3:]), atol=1e-6)


@pytest.mark.parametrize("name", ["half factors", "one pixel left"])
def test_the_triton_kernel_in_small_blocks_of_two_frames(name, interpreted):
    frames = np.stack([cases.inputs(NAMED[name], seed=seed) for seed in (0, 1)])
    result = interpreted[f"{name}, small blocks"]
    np.testing.assert_allclose(result, oracle(frames, NAMED[name][3:]), atol=1e-6)


@pytest.mark.parametrize("name", ["720p", "1080p"])  # whole factors, and others
def test_real_sizes_against_the_oracle(name):
    frame, size = cases.inputs(NAMED[name]), NAMED[name][3:]
    np.testing.assert_allclose(preprocess(frame, size), oracle(frame, size), atol=1e-6)


def test_it_is_what_the_network_was_trained_on():
    frame = np.random.default_rng(1).integers(0, 256, (240, 427, 3), np.uint8)
    expected = cv2.resize(frame, (48, 32), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(255 * preprocess(frame, (32, 48)), expected, atol=0.51)


def test_extremes_are_exact(implementation):
    frame = np.full((50, 90, 3), 255, np.uint8)
    small = partial(preprocess, size=(16, 32), implementation=implementation)
    np.testing.assert_array_equal(np.round(small(frame), 6), 1)
    np.testing.assert_array_equal(small(0 * frame), 0)


def test_bfloat16_is_the_rounded_float(implementation):
    frame, size = cases.inputs(NAMED["odd"]), NAMED["odd"][3:]
    small = preprocess(frame, size, dtype=jnp.bfloat16, implementation=implementation)
    assert small.dtype == jnp.bfloat16
    expected = preprocess(frame, size, implementation=implementation).astype(jnp.bfloat16)
    np.testing.assert_array_equal(small, expected)


def test_a_batch_however_it_is_made(implementation):
    frames = np.stack([cases.inputs(NAMED["odd"], seed=seed) for seed in range(4)])
    shrink = partial(preprocess, size=(18, 32), implementation=implementation)
    apart = np.stack([shrink(frame) for frame in frames])
    for small in (
        shrink(frames),
        jax.vmap(shrink)(frames),
        jax.vmap(shrink)(frames.reshape(2, 2, *frames.shape[1:])).reshape(apart.shape),
    ):
        np.testing.assert_allclose(small, apart, atol=1e-6)


def test_bytes_have_no_derivative_and_stop_none():
    frame = jnp.asarray(cases.inputs(NAMED["odd"]))

    def loss(scale, frame):
        return (scale * preprocess(frame, (18, 32))).sum()

    with pytest.raises(TypeError, match=r"real- or complex-valued inputs .*uint8"):
        jax.grad(loss, argnums=1)(1.0, frame)
    expected = oracle(np.asarray(frame), (18, 32)).sum()
    assert jax.grad(loss)(1.0, frame) == pytest.approx(expected, rel=1e-5)


FRAME = ((8, 9, 3), np.uint8)


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (
            ((8, 9, 3), np.float32),
            {},
            r"got a frame of float32\[8, 9, 3\]; it is .*; convert it",
        ),
        (((8, 9, 4), np.uint8), {}, r"frame of uint8\[8, 9, 4\]"),
        (((8, 9), np.uint8), {}, r"frame of uint8\[8, 9\]"),
        (((0, 9, 3), np.uint8), {}, r"\[0, 9, 3\] .* both have at least one pixel"),
        (FRAME, {"size": (4, 0)}, r"size=\(4, 0\); both have at least one pixel"),
        (FRAME, {"dtype": jnp.float16}, "got dtype=float16; it is float32 or bfloat16"),
        (FRAME, {"implementation": "quick"}, "got implementation='quick'; the known ones are"),
    ],
)
def test_errors_say_what_was_got_the_rule_and_the_remedy(frame, options, message):
    with pytest.raises(ValueError, match=message):
        preprocess(np.zeros(*frame), **{"size": (4, 4), **options})


def lowered(implementation, platform, *, shape=(45, 64, 3), size=(16, 32), **options):
    function = partial(preprocess, size=size, implementation=implementation, **options)
    frame = jax.ShapeDtypeStruct(shape, jnp.uint8)
    function = jax.jit(function if len(shape) < 5 else jax.vmap(function))
    return function.trace(frame).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)], ids=["one", "batch", "batches"])
@pytest.mark.parametrize("implementation", [None, "triton"])
def test_a_jitted_call_is_one_triton_kernel_for_cuda(implementation, batch, dtype, needs):
    needs("triton")
    needs("jax_triton")
    text = lowered(implementation, "cuda", shape=(*batch, 45, 64, 3), dtype=dtype)
    assert text.count("triton_kernel_call") == 1


def test_the_config_reaches_the_kernel(needs):
    needs("triton")
    needs("jax_triton")
    texts = {
        lowered("triton", "cuda", config=KernelConfig(block=block, warps=1, rows=2))
        for block in (128, 256)
    }
    assert len(texts) == 2


def test_other_platforms_lower_without_triton():
    assert "triton_kernel_call" not in lowered("xla", "cuda")
    for platform in ("cpu", "tpu"):
        assert "triton_kernel_call" not in lowered(None, platform)


def test_on_a_tpu_it_is_two_matrix_products():
    text = lowered(None, "tpu")
    assert text.count("dot_general") == 2 and "while" not in text


@pytest.mark.parametrize("platform", ["cpu", "tpu"])
def test_a_module_holds_no_large_constants(platform):
    assert len(lowered(None, platform, shape=(720, 1280, 3), size=(144, 256))) < 100_000


def test_triton_says_why_not(needs):
    with pytest.raises(NotImplementedError, match=r"implementation='triton' (runs on cuda|needs)"):
        preprocess(cases.inputs(NAMED["odd"]), (18, 32), implementation="triton")
    needs("triton")
    needs("jax_triton")
    with pytest.raises(NotImplementedError, match="a frame of 45x64 would grow to 16x80"):
        lowered("triton", "cuda", size=(16, 80))
    assert "triton_kernel_call" not in lowered(None, "cuda", size=(16, 80))
    with pytest.raises(NotImplementedError, match="counts in 32 bits"):
        lowered("triton", "cuda", shape=(30_000, 30_000, 3))


def test_without_triton_the_rest_works(monkeypatch):
    package = "segjax_kernels.preprocess"
    monkeypatch.setitem(sys.modules, "jax_triton", None)
    monkeypatch.delitem(sys.modules, f"{package}.triton_kernel", raising=False)
    monkeypatch.delattr(sys.modules[package], "triton_kernel", raising=False)
    # A size that nothing else has, since what was traced with Triton is kept.
    with pytest.raises(NotImplementedError, match=r"needs triton and jax-triton .* install segjax"):
        lowered("triton", "cuda", size=(15, 31))
    assert "triton_kernel_call" not in lowered(None, "cuda", size=(15, 31))


def test_the_kernel_compiles_for_the_gpus_in_use(needs):
    needs("triton")
    needs("jax_triton")
    run_apart("compiled_preprocess.py")
