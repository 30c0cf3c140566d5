"""The C functions: convolutions against XLA's; the others are held to what XLA's are."""

import contextlib
import functools
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

import segjax
from segjax import weights
from segjax.matting import smoothing
from segjax.models import convolutions_by
from segjax_kernels import cpu
from segjax_kernels.cpu import api, build

RNG = np.random.default_rng(0)


def normal(*shape: int) -> jax.Array:
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def reference(x, kernel, bias, add, stride, dilation, depthwise, relu):
    pad = dilation * (kernel.shape[0] - 1) // 2
    y = lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(pad, pad)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1] if depthwise else 1,
    )
    y = y + bias if add is None else y + bias + add
    return jax.nn.relu(y) if relu else y


@pytest.mark.usefixtures("with_c")
@pytest.mark.parametrize("relu", [False, True], ids=["linear", "relu"])
@pytest.mark.parametrize(
    ("size", "channels", "features", "kernel", "stride"),
    [
        ((9, 16), 128, 256, 1, 1),
        ((5, 8), 8, 40, 1, 1),
        ((1, 1), 5, 8, 1, 1),
        ((7, 13), 24, 48, 1, 2),
        ((18, 32), 48, 24, 3, 1),
        ((5, 3), 8, 16, 3, 1),
        ((1, 9), 40, 8, 3, 1),
        ((11, 21), 12, 24, 3, 2),
        ((6, 5), 3, 56, 5, 1),
        ((9, 35), 7, 72, 5, 2),
    ],
)
def test_a_dense_convolution(
    size: tuple[int, int], channels: int, features: int, kernel: int, stride: int, relu: bool
) -> None:
    x = normal(1, *size, channels)
    taps = normal(kernel, kernel, channels, features) / np.sqrt(kernel**2 * channels)
    bias = normal(features)
    add = normal(1, -(-size[0] // stride), -(-size[1] // stride), features) if relu else None
    options = {"stride": stride, "relu": relu}
    wanted = reference(x, taps, bias, add, stride, 1, False, relu)
    ours = jax.jit(lambda *a: cpu.convolution(*a, **options, bfloat16=False))(x, taps, bias, add)
    # Winograd's sums reach 100 times the numbers of its result, in steps of 2^-24 each.
    np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=5e-5)

    ours = jax.jit(lambda *a: cpu.convolution(*a, **options))(x, taps, bias, add)
    prepared = cpu.prepare_kernel(np.asarray(taps), stride=stride)
    again = jax.jit(lambda *a: cpu.convolution(*a, **options))(x, taps, bias, add, prepared)
    np.testing.assert_allclose(again, ours, rtol=1e-4, atol=5e-5)
    # Both numbers of a product are rounded to 8 bits: off by 2^-8 each, in the worst case.
    products = reference(abs(x), abs(taps), 0, None, stride, 1, False, False)
    assert (abs(ours - wanted) <= products * 2.01 * 2**-8 + 5e-5).all()


@pytest.mark.usefixtures("with_c")
@pytest.mark.parametrize("relu", [False, True], ids=["linear", "relu"])
@pytest.mark.parametrize(
    ("size", "channels", "kernel", "stride", "dilation"),
    [
        ((9, 16), 64, 5, 1, 1),
        ((9, 16), 16, 5, 1, 4),
        ((5, 7), 32, 3, 2, 1),
        ((3, 2), 16, 5, 2, 2),
        ((1, 1), 16, 3, 1, 1),
        ((4, 20), 16, 5, 1, 1),
        ((4, 36), 48, 3, 1, 1),
        ((7, 43), 16, 5, 2, 1),
        ((3, 21), 16, 7, 1, 1),
    ],
)
def test_a_depthwise_convolution(
    size: tuple[int, int], channels: int, kernel: int, stride: int, dilation: int, relu: bool
) -> None:
    x, taps = normal(1, *size, channels), normal(kernel, kernel, 1, channels)
    bias = normal(channels)
    options = {"stride": stride, "dilation": dilation, "depthwise": True, "relu": relu}
    ours = jax.jit(lambda *a: cpu.convolution(*a, **options))(x, taps, bias)
    wanted = reference(x, taps, bias, None, **options)
    np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-5)


def layers_of(channels: int, expanded: int, features: int, kernel: int) -> list[tuple]:
    shapes = ((1, 1, channels, expanded), (kernel, kernel, 1, expanded), (1, 1, expanded, features))
    return [(normal(*s) / np.sqrt(s[0] * s[1] * s[2]), normal(s[3]), None) for s in shapes]


def one_by_one(x, expand, spatial, project, stride, shortcut):
    y = cpu.convolution(x, *expand[:2], relu=True)
    y = cpu.convolution(y, *spatial[:2], stride=stride, depthwise=True, relu=True)
    return cpu.convolution(y, project[0], project[1], x if shortcut else None)


@pytest.mark.usefixtures("by_tiles")
@pytest.mark.parametrize(
    ("size", "channels", "expanded", "features", "kernel", "stride"),
    [
        ((11, 19), 112, 672, 112, 5, 1),
        ((22, 38), 40, 240, 80, 3, 2),
        ((9, 16), 24, 144, 24, 3, 1),
        ((7, 5), 16, 48, 40, 5, 2),
        ((3, 70), 8, 16, 8, 5, 1),
        ((40, 2), 32, 32, 32, 3, 1),
        ((40, 1), 40, 80, 24, 5, 2),
        ((1, 33), 8, 80, 8, 3, 2),
        ((1, 1), 16, 16, 16, 5, 1),
    ],
)
def test_an_inverted_residual_is_its_layers(
    size: tuple[int, int], channels: int, expanded: int, features: int, kernel: int, stride: int
) -> None:
    x, layers = normal(1, *size, channels), layers_of(channels, expanded, features, kernel)
    shortcut = stride == 1 and channels == features
    options = {"stride": stride, "shortcut": shortcut}
    wanted = jax.jit(functools.partial(one_by_one, **options))(x, *layers)
    at_once = jax.jit(functools.partial(cpu.inverted_residual, **options))
    np.testing.assert_array_equal(at_once(x, *layers), wanted)
    prepared = [
        (kernel, bias, cpu.prepare_kernel(np.asarray(kernel), depthwise=at == 1))
        for at, (kernel, bias, _) in enumerate(layers)
    ]
    for _ in range(3):  # also in memory that was used before
        np.testing.assert_array_equal(at_once(x, *prepared), wanted)


@pytest.mark.usefixtures("by_tiles")
def test_an_inverted_residual_keeps_what_is_not_a_number() -> None:
    x = normal(1, 12, 12, 16).at[0, 2, 2, 0].set(np.nan)
    y = cpu.inverted_residual(x, *layers_of(16, 48, 16, 3))
    assert np.isnan(y[0, 1:4, 1:4]).all()
    assert np.isfinite(y[0, 6:, 6:]).all()


@pytest.mark.usefixtures("by_tiles")
@pytest.mark.parametrize(
    ("x", "layers", "options", "words"),
    [
        ((2, 8, 8, 8), (8, 16, 8, 3), {}, "one picture in float32"),
        ((1, 8, 8, 8), (8, 24, 8, 3), {}, "got 24 channels by 3×3 of stride 1 and dilation 1"),
        ((1, 8, 8, 8), (8, 16, 8, 7), {}, "16 channels by 7×7"),
        ((1, 8, 8, 8), (8, 16, 8, 3), {"stride": 3}, "stride 3"),
        ((1, 8, 8, 8), (8, 16, 8, 3), {"dilation": 2}, "dilation 2"),
    ],
)
def test_other_blocks_are_left_to_their_layers(
    x: tuple[int, ...], layers: tuple[int, int, int, int], options: dict, words: str
) -> None:
    with pytest.raises(NotImplementedError, match=re.escape(words)):
        cpu.inverted_residual(normal(*x), *layers_of(*layers), **options)


@pytest.mark.usefixtures("with_c")
def test_without_tiles_no_block_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_tiles", False)
    with pytest.raises(NotImplementedError, match="no AMX here"):
        cpu.inverted_residual(normal(1, 8, 8, 8), *layers_of(8, 16, 8, 3))


@pytest.mark.usefixtures("with_c")
def test_a_batch_by_vmap_is_picture_after_picture() -> None:
    x, kernel, bias = normal(3, 1, 9, 8, 16), normal(1, 1, 16, 8), normal(8)
    found = jax.jit(jax.vmap(lambda x: cpu.convolution(x, kernel, bias)))(x)
    wanted = [cpu.convolution(one, kernel, bias) for one in x]
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.usefixtures("with_c")
def test_calls_from_several_threads_do_not_disturb_each_other() -> None:
    """They share one team of helpers; who finds it busy works alone."""
    shapes = [(16, 32), (24, 48), (33, 65), (40, 9)]
    calls = []
    for height, width in shapes:
        x, kernel, bias = normal(1, height, width, 16), normal(3, 3, 16, 16), normal(16)
        run = jax.jit(cpu.convolution).lower(x, kernel, bias).compile()
        calls.append((functools.partial(run, x, kernel, bias), np.asarray(run(x, kernel, bias))))

    def repeat(call: Callable[[], jax.Array], wanted: np.ndarray) -> bool:
        return all(np.array_equal(call(), wanted) for _ in range(50))

    with ThreadPoolExecutor(len(calls)) as pool:
        assert all(pool.map(lambda pair: repeat(*pair), calls))


@pytest.mark.usefixtures("with_c")
def test_the_shipped_network_gives_the_same_mask() -> None:
    released = weights.load("portrait")
    graph, state = nnx.split(released.model)
    picture = cv2.imread(str(Path(segjax.__file__).parent / "assets/sample/astronaut.jpg"))
    assert picture is not None
    x = cv2.resize(picture[..., ::-1], (256, 144), interpolation=cv2.INTER_AREA)[None] / 255
    x = jnp.asarray(x, jnp.float32)

    def logits(*by: Callable[..., jax.Array]) -> np.ndarray:
        with convolutions_by(*by) if by else contextlib.nullcontext():
            return np.asarray(jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, x))

    wanted = logits()
    exact = logits(functools.partial(cpu.convolution, bfloat16=False))
    np.testing.assert_allclose(exact, wanted, rtol=1e-4, atol=1e-4)
    rounded = logits(cpu.convolution)
    np.testing.assert_array_equal(logits(cpu.convolution, cpu.inverted_residual), rounded)
    both, either = (f(rounded > 0, wanted > 0).sum() for f in (np.logical_and, np.logical_or))
    assert either > 1000 and both / either > 0.995


@pytest.mark.usefixtures("with_c")
@pytest.mark.parametrize("kernel", [1, 3])
def test_what_is_not_a_number_stays_so(kernel: int) -> None:
    x = normal(1, 8, 8, 8).at[0, 4, 4, 0].set(np.nan)
    y = cpu.convolution(x, normal(kernel, kernel, 8, 8), normal(8), relu=True)
    assert np.isnan(y[0, 4, 4]).all()
    assert np.isfinite(y[0, 0, 0]).all()


@pytest.mark.usefixtures("with_c")
@pytest.mark.parametrize(
    ("x", "kernel", "options", "words"),
    [
        ((2, 8, 8, 8), (3, 3, 8, 8), {}, "one picture in float32"),
        ((1, 8, 8, 8), (3, 3, 8, 12), {}, "got 8 → 12 channels; multiples of 8"),
        ((1, 8, 8, 12), (3, 3, 12, 8), {}, "got 12 → 8 channels"),
        ((1, 8, 8, 24), (3, 3, 1, 24), {"depthwise": True}, "of 16 if depthwise"),
        ((1, 8, 8, 8), (3, 3, 8, 8), {"dilation": 2}, "a dense 3×3 of dilation 2"),
        ((1, 8, 8, 8), (2, 2, 8, 8), {}, "a dense 2×2"),
    ],
)
def test_the_rest_is_left_to_xla(
    x: tuple[int, ...], kernel: tuple[int, ...], options: dict, words: str
) -> None:
    with pytest.raises(NotImplementedError, match=re.escape(words)):
        cpu.convolution(normal(*x), normal(*kernel), normal(kernel[-1]), **options)


def test_without_the_library_nothing_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_loaded", None)
    monkeypatch.setattr(build, "library", lambda: Path("nowhere"))
    assert not cpu.available()
    with pytest.raises(NotImplementedError, match=r"python -m segjax_kernels\.cpu\.build"):
        cpu.convolution(normal(1, 8, 8, 8), normal(1, 1, 8, 8), normal(8))


def test_a_compiler_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(RuntimeError, match="no C compiler: no-such-compiler is not there"):
        build.build(tmp_path / "native.so")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("with_c")
@pytest.mark.parametrize("size", [(37, 53), (2, 3), (1, 1)])
def test_smoothing_remembers_and_shows_the_same(size):
    by_c, by_xla = (jax.jit(smoothing.IMPLEMENTATIONS[name].run) for name in ("c", "xla"))
    rng = np.random.default_rng(8)
    scene = rng.random((3, *size))
    ours = theirs = smoothing.empty_state(*size)
    mask = rng.random(size, np.float32)
    for t in range(12):
        # Every third mask is another one; the others, and all pictures, differ by noise.
        mask = mask + rng.normal(0, 0.1, size) if t % 3 else rng.random(size)
        mask = np.clip(mask, 0, 1).astype(np.float32)
        planes = np.clip(scene + rng.normal(0, 0.02, scene.shape), 0, 1).astype(np.float32)
        ours, shown = by_c(ours, mask, planes)
        theirs, wanted = by_xla(theirs, mask, planes)
        for one, other in zip((*ours, shown), (*theirs, wanted), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.usefixtures("with_c")
def test_a_donated_state_is_written_in_its_place_and_any_other_is_left() -> None:
    run = smoothing.IMPLEMENTATIONS["c"].run
    rng = np.random.default_rng(8)
    mask, planes = rng.random((37, 53), np.float32), rng.random((3, 37, 53), np.float32)
    first = smoothing.empty_state(37, 53)
    plain, donated = jax.jit(run), jax.jit(run, donate_argnums=0)
    second, _ = plain(first, mask, planes)
    before = [np.array(part) for part in second]
    third, shown = plain(second, mask / 2, planes)
    for part, was in zip(second, before, strict=True):
        np.testing.assert_array_equal(part, was)

    text = donated.lower(first, mask, planes).compile().as_text()
    assert text is not None and " copy(" not in text
    state, _ = donated(first, mask, planes)
    lies = [part.unsafe_buffer_pointer() for part in state]
    state, same = donated(state, mask / 2, planes)
    assert [part.unsafe_buffer_pointer() for part in state] == lies
    for ours, theirs in zip((*state, same), (*third, shown), strict=True):
        np.testing.assert_array_equal(ours, theirs)
