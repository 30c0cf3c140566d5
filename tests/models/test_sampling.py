"""Pixels between maps of different sizes: values worked by hand, and definitions by other means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from segjax.models.blocks import conv, resize_bilinear
from segjax.models.sampling import (
    ConvTranspose,
    LearnedUpsampling,
    bilinear_kernel,
    conv_transpose,
    max_pool_indices,
    max_unpool,
)

pytestmark = pytest.mark.usefixtures("quick_compile")

RNG = np.random.default_rng(0)


def normal(*shape: int) -> jax.Array:
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


# --- pooling and unpooling ------------------------------------------------------------------

MAP = jnp.asarray(
    [
        [1, 9, 2, 2, 5],
        [3, 4, 2, 2, 6],
        [-7, -8, 0, 1, 0],
        [-9, -6, 8, 3, 0],
        [4, 7, -1, -2, -3],
    ],
    jnp.float32,
)


def test_maxima_and_their_places_by_hand() -> None:
    pooled, places = max_pool_indices(MAP[None, :, :, None])
    np.testing.assert_array_equal(pooled[0, ..., 0], [[9, 2, 6], [-6, 8, 0], [7, -1, -3]])
    # 0 1 / 2 3 in a window; of equal values the first; a window of one column or row has its own.
    np.testing.assert_array_equal(places[0, ..., 0], [[1, 0, 2], [3, 2, 0], [1, 0, 0]])


def test_unpooling_puts_values_back_by_hand() -> None:
    _, places = max_pool_indices(MAP[None, :, :, None])
    values = jnp.arange(1.0, 10).reshape(1, 3, 3, 1)
    expected = [
        [0, 1, 2, 0, 0],
        [0, 0, 0, 0, 3],
        [0, 0, 0, 0, 6],
        [0, 4, 5, 0, 0],
        [0, 7, 8, 0, 9],
    ]
    np.testing.assert_array_equal(max_unpool(values, places, (5, 5))[0, ..., 0], expected)


@pytest.mark.parametrize("size", [(1, 1), (4, 6), (5, 7)])
def test_unpooled_maxima_are_the_map_where_it_was_largest(size: tuple[int, int]) -> None:
    x = normal(2, *size, 3)
    back = max_unpool(*max_pool_indices(x), size)
    assert back.shape == x.shape
    kept = np.asarray(back != 0)
    np.testing.assert_array_equal(np.asarray(back)[kept], np.asarray(x)[kept])
    assert kept.sum() == 2 * 3 * -(-size[0] // 2) * -(-size[1] // 2)


def test_gradients_go_to_the_maxima_alone() -> None:
    x = normal(1, 5, 7, 2)
    gradient = jax.grad(lambda x: max_pool_indices(x)[0].sum())(x)
    np.testing.assert_array_equal(gradient, max_unpool(*max_pool_indices(x), (5, 7)) != 0)


# --- transposed convolutions ----------------------------------------------------------------


def test_a_transposed_convolution_by_hand() -> None:
    # Two pixels paint the kernel two pixels apart; where the prints overlap they add up.
    x = jnp.asarray([[[1.0], [10.0]]])[None]
    kernel = jnp.arange(1.0, 10).reshape(3, 3, 1, 1)
    expected = [[1, 2, 3 + 10, 20, 30], [4, 5, 6 + 40, 50, 60], [7, 8, 9 + 70, 80, 90]]
    np.testing.assert_array_equal(conv_transpose(x, kernel, stride=2)[0, ..., 0], expected)


@pytest.mark.parametrize(
    ("size", "stride"), [(1, 1), (2, 2), (3, 2), (4, 2), (5, 3), (16, 8), (2, 3)]
)
def test_a_transposed_convolution_is_the_gradient_of_a_convolution(size: int, stride: int) -> None:
    x, kernel = normal(2, 3, 4, 5), normal(size, size, 5, 6)
    shape = (2, stride * 2 + size, stride * 3 + size, 6)

    def strided(y: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(
            y,
            kernel.transpose(0, 1, 3, 2),
            (stride, stride),
            "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    (wanted,) = jax.vjp(strided, jnp.zeros(shape))[1](x)
    np.testing.assert_allclose(
        conv_transpose(x, kernel, stride=stride), wanted, rtol=1e-4, atol=1e-4
    )


def test_the_bilinear_start_by_hand() -> None:
    hat = np.asarray([0.25, 0.75, 0.75, 0.25])
    kernel = bilinear_kernel(2, 3)
    np.testing.assert_allclose(kernel[:, :, 1, 1], np.outer(hat, hat))
    assert not np.any(kernel[:, :, 0, 1])  # no class paints another's scores
    hat = np.asarray([1, 3, 5, 7, 7, 5, 3, 1]) / 8
    np.testing.assert_allclose(bilinear_kernel(4, 1)[..., 0, 0], np.outer(hat, hat))


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_learned_upsampling_starts_as_bilinear_interpolation(factor: int) -> None:
    x = normal(2, 3, 4, 2)
    up = LearnedUpsampling(2, factor)
    wanted = resize_bilinear(x, (3 * factor, 4 * factor))
    np.testing.assert_allclose(up(x, wanted.shape[1:3]), wanted, rtol=1e-5, atol=1e-5)
    # An odd side left a last pixel that stands for fewer: the same pixels, cut.
    cut = (2 * factor + 1, 3 * factor + 1)
    np.testing.assert_allclose(up(x, cut), wanted[:, : cut[0], : cut[1]], rtol=1e-5, atol=1e-5)


def test_an_up_convolution_paints_each_pixel_alone() -> None:
    up = ConvTranspose(3, 2, rngs=nnx.Rngs(0))
    up.bias[...] = bias = jnp.asarray([1.0, 2.0])
    x = normal(1, 2, 3, 3)
    wanted = np.einsum("hwc,abcf->hawbf", x[0], up.kernel[...]).reshape(4, 6, 2) + bias
    np.testing.assert_allclose(up(x)[0], wanted, rtol=1e-5, atol=1e-5)


# --- resizing, and holes --------------------------------------------------------------------


def test_resizing_by_hand() -> None:
    x = jnp.asarray([0.0, 6.0]).reshape(1, 1, 2, 1)
    # Half-pixel centres: a third of a pixel apart, and constant beyond the outer centres.
    np.testing.assert_allclose(
        resize_bilinear(x, (1, 6))[0, 0, :, 0], [0, 0, 2, 4, 6, 6], atol=1e-5
    )
    # Without antialiasing a smaller map is sampled: of three pixels the one in the middle.
    y = jnp.arange(6.0).reshape(1, 1, 6, 1)
    np.testing.assert_allclose(resize_bilinear(y, (1, 2))[0, 0, :, 0], [1, 4])
    assert resize_bilinear(x, (1, 2)) is x


@pytest.mark.parametrize("rate", [2, 3])
def test_an_atrous_kernel_is_the_kernel_with_zeros_between(rate: int) -> None:
    x, kernel = normal(2, 11, 13, 4), normal(3, 3, 4, 5)
    side = 2 * rate + 1
    holes = jnp.zeros((side, side, 4, 5)).at[::rate, ::rate].set(kernel)
    np.testing.assert_allclose(conv(x, kernel, dilation=rate), conv(x, holes), rtol=1e-4, atol=1e-4)
    assert conv(x, kernel, dilation=rate, padding=0).shape == (2, 11 - 2 * rate, 13 - 2 * rate, 5)
