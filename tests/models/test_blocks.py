import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from segjax.models.blocks import (
    Conv,
    ConvNorm,
    InvertedResidual,
    SqueezeExcite,
    conv,
    conv_bias,
    convolutions_by,
    depth_to_space,
    depthwise_conv,
    fold_norms,
    prepare_kernels,
    space_to_depth,
    upsample2x,
)
from segjax.models.decoders.skip_aspp import SubpixelHead

pytestmark = pytest.mark.usefixtures("quick_compile")

RNG = np.random.default_rng(0)


def normal(*shape: int) -> jax.Array:
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def grouped(x: jax.Array, kernel: jax.Array, stride: int, dilation: int) -> jax.Array:
    """The definition of a depthwise convolution, by XLA's own."""
    pad = dilation * (kernel.shape[0] - 1) // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(pad, pad)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


# --- convolutions ---------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2])
def test_a_convolution_of_one_pixel_mixes_channels(count: int) -> None:
    x, kernel = normal(count, 3, 5, 4), normal(1, 1, 4, 6)
    wanted = np.einsum("nhwc,cf->nhwf", x, kernel[0, 0])
    np.testing.assert_allclose(conv(x, kernel), wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(conv(x, kernel, stride=2), wanted[:, ::2, ::2], rtol=1e-5, atol=1e-5)


def test_a_dilated_convolution_by_hand() -> None:
    # One bright pixel in the middle of 5×5: a kernel of dilation 2 spreads its nine numbers,
    # turned by 180 degrees, over the corners, the middles of the sides and the centre.
    x = jnp.zeros((1, 5, 5, 1)).at[0, 2, 2, 0].set(1)
    kernel = jnp.arange(1.0, 10.0).reshape(3, 3, 1, 1)
    expected = [
        [9, 0, 8, 0, 7],
        [0, 0, 0, 0, 0],
        [6, 0, 5, 0, 4],
        [0, 0, 0, 0, 0],
        [3, 0, 2, 0, 1],
    ]
    np.testing.assert_array_equal(conv(x, kernel, dilation=2)[0, ..., 0], expected)
    np.testing.assert_array_equal(depthwise_conv(x, kernel, dilation=2)[0, ..., 0], expected)


@pytest.mark.parametrize("size", [(6, 8), (7, 5)])
def test_a_stride_samples_the_even_pixels_of_any_size(size: tuple[int, int]) -> None:
    x, kernel = normal(1, *size, 3), normal(3, 3, 3, 4)
    np.testing.assert_allclose(
        conv(x, kernel, stride=2), conv(x, kernel)[:, ::2, ::2], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("shape", [(2, 7, 10, 4), (1, 7, 10, 32)], ids=["batch", "picture"])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [3, 5])
def test_depthwise_on_a_cpu_is_the_grouped_convolution(
    side: int, stride: int, dilation: int, shape: tuple[int, ...]
) -> None:
    x, kernel = normal(*shape), normal(side, side, 1, shape[-1])

    @jax.jit
    def both(x, kernel):
        ours, pull = jax.vjp(
            lambda x, k: depthwise_conv(x, k, stride=stride, dilation=dilation), x, kernel
        )
        theirs, pull_theirs = jax.vjp(lambda x, k: grouped(x, k, stride, dilation), x, kernel)
        return (ours, *pull(theirs)), (theirs, *pull_theirs(theirs))

    for found, wanted in zip(*both(x, kernel), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("differentiated", [False, True])
def test_depthwise_is_a_convolution_on_cuda_and_tpu_alone(differentiated: bool) -> None:
    def f(x, kernel):
        return depthwise_conv(x, kernel, dilation=2).sum()

    traced = jax.jit(jax.grad(f, (0, 1)) if differentiated else f).trace(
        normal(1, 8, 8, 16), normal(3, 3, 1, 16)
    )

    def convolutions(platform: str) -> int:
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        return len(re.findall(r"stablehlo\.convolution", text))

    assert convolutions("cpu") == 0
    assert convolutions("cuda") == convolutions("tpu") == (2 if differentiated else 1)


def test_depthwise_needs_as_many_channels_out_as_in() -> None:
    with pytest.raises(ValueError, match="got 4 → 8 channels; must be equal"):
        ConvNorm(4, 8, depthwise=True, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("act", [False, True])
def test_folding_keeps_the_map(depthwise: bool, act: bool) -> None:
    block = ConvNorm(
        4, 4, stride=2, depthwise=depthwise, act=jax.nn.relu if act else None, rngs=nnx.Rngs(0)
    )
    norm = block.norm
    assert norm is not None and norm.scale is not None and norm.bias is not None
    norm.mean[...], norm.bias[...] = normal(4), normal(4)
    norm.var[...], norm.scale[...] = jnp.exp(normal(4)), 1 + normal(4)
    block.eval()
    x = normal(1, 6, 6, 4)
    before = block(x)
    for _ in range(2):  # a second folding finds nothing left to do
        fold_norms(block)
        np.testing.assert_allclose(block(x), before, rtol=1e-5, atol=1e-5)
    assert block.norm is None


@pytest.mark.parametrize("act", [None, jax.nn.relu, jax.nn.hard_swish])
def test_a_faster_convolution_serves_what_it_can_on_a_cpu_alone(act: Any) -> None:
    def faster(x, kernel, bias, add, prepared, *, stride, dilation, depthwise, relu):
        assert prepared is None
        if stride == 2:
            raise NotImplementedError
        y = conv(x, kernel) + bias if add is None else conv(x, kernel) + bias + add
        return jnp.sin(jax.nn.relu(y) if relu else y)  # a mark that it was here

    x, kernel, bias = normal(1, 6, 6, 4), normal(3, 3, 4, 4), normal(4)

    def f(stride: int) -> Callable[[jax.Array], jax.Array]:
        add = x[:, ::stride, ::stride]
        return lambda x: conv_bias(x, kernel, bias, add, act=act, stride=stride)

    for stride in (1, 2):
        plain = f(stride)(x)
        with convolutions_by(faster):
            found = f(stride)(x)
            traced = jax.jit(f(stride)).trace(x)
        if stride == 1:
            y = conv(x, kernel) + bias + x
            wanted = jnp.sin(jax.nn.relu(y) if act is jax.nn.relu else y)
            wanted = act(wanted) if act is jax.nn.hard_swish else wanted
        else:
            wanted = plain
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(f(stride)(x), plain)
        for platform in ("cuda", "tpu"):
            text = traced.lower(lowering_platforms=(platform,)).as_text()
            assert "stablehlo.sine" not in text


def test_what_was_prepared_of_kernels_reaches_the_faster_convolution() -> None:
    class Two(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.first = ConvNorm(4, 4, stride=2, rngs=rngs)
            self.second = Conv(4, 8, rngs=rngs)
            self.third = ConvNorm(8, 8, depthwise=True, rngs=rngs)

        def __call__(self, x: jax.Array) -> jax.Array:
            return self.third(self.second(self.first(x)))

    def prepare(kernel: np.ndarray, *, stride: int, depthwise: bool) -> np.ndarray | None:
        return None if depthwise else 10 * stride + kernel[0, 0, 0, :1]

    def faster(x, kernel, bias, add, prepared, *, stride, dilation, depthwise, relu):
        if depthwise:
            assert prepared is None
            raise NotImplementedError
        np.testing.assert_array_equal(prepared, 10 * stride + kernel[0, 0, 0, :1])
        y = conv(x, kernel, stride=stride) + bias
        return jax.nn.relu(y) if relu else y

    model = Two(nnx.Rngs(0))
    model.eval()
    fold_norms(model)
    x = normal(1, 6, 6, 4)
    plain = model(x)
    prepare_kernels(model, prepare)
    assert model.first.prepared is not None and model.second.prepared is not None
    assert model.third.prepared is None
    np.testing.assert_array_equal(model(x), plain)
    with jax.disable_jit(), convolutions_by(faster):
        np.testing.assert_allclose(model(x), plain, rtol=1e-5, atol=1e-5)


def sine_of_residual(x, expand, spatial, project, *, stride, dilation, shortcut):
    """A result by which it is known who computed it."""
    if dilation > 1:
        raise NotImplementedError
    y = jax.nn.relu(conv(x, expand[0]) + expand[1])
    y = jax.nn.relu(depthwise_conv(y, spatial[0], stride=stride) + spatial[1])
    y = conv(y, project[0]) + project[1]
    return jnp.sin(y + x if shortcut else y)


def unserved(*operands: Any, **options: Any) -> jax.Array:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("options", "at_once"),
    [
        ({}, True),
        ({"stride": 2}, True),
        ({"shortcut": False}, True),
        ({"dilation": 2}, False),
        ({"expand": False, "expanded": 8}, False),
        ({"act": jax.nn.hard_swish}, False),
        ({"squeeze": True}, False),
    ],
    ids=["plain", "stride", "no shortcut", "dilated", "not expanded", "hard swish", "squeeze"],
)
def test_an_inverted_residual_is_computed_at_once_where_that_is_served(
    options: dict, at_once: bool
) -> None:
    rngs = nnx.Rngs(0)
    if options.pop("squeeze", False):
        options["squeeze"] = SqueezeExcite(16, 4, rngs=rngs)
    block = InvertedResidual(8, 8, **{"expanded": 16, **options}, rngs=rngs)
    block.eval()
    x = normal(1, 6, 7, 8)
    unfolded = block(x)
    with convolutions_by(unserved, sine_of_residual):
        np.testing.assert_array_equal(block(x), unfolded)
    fold_norms(block)
    plain = block(x)
    with convolutions_by(unserved, sine_of_residual):
        found = block(x)
        traced = jax.jit(lambda x: block(x)).trace(x)
    np.testing.assert_allclose(found, jnp.sin(plain) if at_once else plain, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(block(x), plain)
    for platform in ("cuda", "tpu"):
        assert "stablehlo.sine" not in traced.lower(lowering_platforms=(platform,)).as_text()


# --- pixels ---------------------------------------------------------------------------------


def test_space_to_depth_by_hand() -> None:
    x = jnp.arange(16).reshape(1, 4, 4, 1)
    expected = [[[0, 1, 4, 5], [2, 3, 6, 7]], [[8, 9, 12, 13], [10, 11, 14, 15]]]
    np.testing.assert_array_equal(space_to_depth(x, 2)[0], expected)


def test_depth_to_space_by_hand() -> None:
    # Two channels of one pixel, times 2×2: each channel's four pixels are apart by its stride.
    x = jnp.asarray([0, 10, 1, 11, 2, 12, 3, 13]).reshape(1, 1, 1, 8)
    y = depth_to_space(x, 2)
    np.testing.assert_array_equal(y[0, ..., 0], [[0, 1], [2, 3]])
    np.testing.assert_array_equal(y[0, ..., 1], [[10, 11], [12, 13]])


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_the_two_undo_each_other(factor: int) -> None:
    x = normal(2, 3 * factor, 2 * factor, 5)
    np.testing.assert_array_equal(depth_to_space(space_to_depth(x, factor), factor), x)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 3), (7, 6)])
def test_upsampling_is_bilinear(size: tuple[int, int]) -> None:
    x = normal(2, *size, 3)
    wanted = jax.image.resize(x, (2, 2 * size[0], 2 * size[1], 3), "bilinear")
    np.testing.assert_allclose(upsample2x(x), wanted, rtol=1e-6, atol=1e-6)


def test_the_head_gives_finer_logits_by_a_convolution() -> None:
    head = SubpixelHead(6, 2, factor=4, rngs=nnx.Rngs(0))
    head.bias[...] = jnp.arange(32.0)
    assert head(normal(2, 3, 5, 6)).shape == (2, 12, 20, 2)
    # Of a map of zeros only the bias is left: class 0 gets the even numbers, row by row.
    y = head(jnp.zeros((1, 1, 1, 6)))
    np.testing.assert_array_equal(y[0, ..., 0], np.arange(0, 32, 2).reshape(4, 4))
    np.testing.assert_array_equal(y[0, ..., 1], np.arange(1, 32, 2).reshape(4, 4))
