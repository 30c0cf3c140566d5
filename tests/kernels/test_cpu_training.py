"""A batch's convolutions in C and their gradients, against XLA's."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_cpu import reference

from segjax_kernels.cpu import training
from segjax_kernels.cpu.training import convolve

RNG = np.random.default_rng(0)


pytestmark = pytest.mark.usefixtures("trains_by_c")


def normal(*shape: int) -> jax.Array:
    """Numbers that bfloat16 has, so that rounding them changes nothing."""
    return jnp.asarray(RNG.normal(size=shape), jnp.bfloat16).astype(jnp.float32)


def by_xla(
    x: jax.Array, kernel: jax.Array, *, stride: int = 1, dilation: int = 1, depthwise: bool = False
) -> jax.Array:
    return reference(x, kernel, 0, None, stride, dilation, depthwise, relu=False)


def assert_near(found: jax.Array, wanted: jax.Array) -> None:
    """Sums of up to thousands in another order: a bfloat16 would be apart 400 times as far."""
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, 0, 1e-5 * float(jnp.abs(wanted).max()))


@pytest.mark.parametrize("plain", [0, 1], ids=["tiles", "vectors"])
@pytest.mark.parametrize(
    ("count", "size", "channels", "features", "kernel", "stride", "dilation"),
    [
        (2, (5, 7), 16, 16, 3, 1, 1),
        (3, (6, 8), 48, 32, 3, 1, 2),
        (2, (9, 33), 32, 80, 1, 1, 1),
        (2, (70, 60), 16, 48, 3, 1, 1),  # more than a stretch of pixels
        (1, (12, 16), 96, 64, 3, 1, 12),  # zeros on all sides of the middle
        (2, (10, 11), 3, 11, 7, 1, 1),  # channels to be filled up
        (2, (9, 12), 24, 40, 3, 2, 1),
        (1, (1, 1), 16, 16, 3, 1, 1),
    ],
)
def test_dense_ones_against_xla(
    count: int,
    size: tuple[int, int],
    channels: int,
    features: int,
    kernel: int,
    stride: int,
    dilation: int,
    plain: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "PLAIN", plain)
    x, weights = normal(count, *size, channels), normal(kernel, kernel, channels, features)
    check(x, weights, stride=stride, dilation=dilation, depthwise=False)


@pytest.mark.parametrize(
    ("count", "size", "channels", "kernel", "stride", "dilation"),
    [
        (2, (5, 7), 16, 3, 1, 1),
        (3, (12, 21), 48, 3, 1, 4),
        (2, (9, 16), 40, 5, 2, 1),
        (1, (8, 3), 32, 7, 1, 1),
        (2, (1, 1), 16, 3, 1, 2),
    ],
)
def test_depthwise_ones_against_xla(
    count: int, size: tuple[int, int], channels: int, kernel: int, stride: int, dilation: int
) -> None:
    x, weights = normal(count, *size, channels), normal(kernel, kernel, 1, channels)
    check(x, weights, stride=stride, dilation=dilation, depthwise=True)


def check(x: jax.Array, kernel: jax.Array, **options: Any) -> None:
    found, backward = jax.vjp(jax.jit(lambda x, k: convolve(x, k, **options)), x, kernel)
    wanted, backward_by_xla = jax.vjp(lambda x, k: by_xla(x, k, **options), x, kernel)
    assert_near(found, wanted)
    dy = normal(*wanted.shape)
    for one, other in zip(backward(dy), backward_by_xla(dy), strict=True):
        assert_near(one, other)


def test_what_is_multiplied_is_rounded_to_bfloat16() -> None:
    x = jnp.full((1, 2, 2, 16), 1 + 2**-9, jnp.float32)  # 1 is nearer than 1 + 2⁻⁷
    kernel = jnp.eye(16)[None, None]
    np.testing.assert_array_equal(convolve(x, kernel), jnp.ones_like(x))
    depthwise = jnp.ones((1, 1, 1, 16))
    np.testing.assert_array_equal(convolve(x, depthwise, depthwise=True), x)


@pytest.mark.parametrize("depthwise", [False, True], ids=["dense", "depthwise"])
def test_a_gradient_is_the_same_whatever_the_order_of_the_threads(depthwise: bool) -> None:
    x, dy = normal(16, 24, 24, 32), normal(16, 24, 24, 32)
    kernel = normal(3, 3, 1 if depthwise else 32, 32)
    gradient = jax.jit(
        lambda: jax.vjp(lambda k: convolve(x, k, depthwise=depthwise), kernel)[1](dy)[0]
    )
    first = gradient()
    for _ in range(20):
        np.testing.assert_array_equal(gradient(), first)


def test_not_a_number_is_not_lost() -> None:
    x = normal(2, 6, 6, 16).at[1, 3, 3, 5].set(jnp.nan)
    y = convolve(x, normal(3, 3, 16, 16))
    assert jnp.isfinite(y[0]).all() and jnp.isnan(y[1, 2:5, 2:5]).all()


@pytest.mark.parametrize(
    ("x", "kernel"),
    [
        (jnp.ones((2, 4, 4, 16), jnp.bfloat16), jnp.ones((3, 3, 16, 16), jnp.bfloat16)),
        (jnp.ones((2, 4, 4, 16)), jnp.ones((2, 2, 16, 16))),
        (jnp.ones((1, 4, 4, 2896)), jnp.ones((1, 1, 2896, 2897))),
    ],
    ids=["bfloat16", "an even kernel", "a huge kernel"],
)
def test_what_is_beyond_it_is_left_to_xla(x: jax.Array, kernel: jax.Array) -> None:
    with pytest.raises(NotImplementedError, match="float32 with an odd kernel of at most 8388608"):
        convolve(x, kernel)


@pytest.mark.parametrize(
    ("kernel", "depthwise"),
    [
        ((3, 3, 32, 16), False),
        ((3, 1, 16, 16), False),
        ((3, 3, 1, 32), True),
        ((3, 3, 16, 16), True),
    ],
)
def test_what_does_not_fit_is_refused(kernel: tuple[int, ...], depthwise: bool) -> None:
    with pytest.raises(ValueError, match=r"maps of \(2, 4, 4, 16\) and a kernel of .* do not fit"):
        convolve(jnp.ones((2, 4, 4, 16)), jnp.ones(kernel), depthwise=depthwise)


def test_no_picture_has_no_gradient() -> None:
    gradient = jax.grad(lambda k: convolve(jnp.ones((0, 4, 4, 16)), k).sum())
    np.testing.assert_array_equal(gradient(jnp.ones((3, 3, 16, 16))), 0)
