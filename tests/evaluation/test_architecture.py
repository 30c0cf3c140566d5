"""What a network is said to cost, against numbers worked out by hand and published ones."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from segjax.evaluation import architecture
from segjax.evaluation.architecture import (
    Part,
    count_live_bytes,
    count_macs,
    describe,
    find_receptive_field,
    measure,
)
from segjax.models import Segmenter, create_model
from segjax.models.blocks import Conv, ConvNorm, conv, depthwise_conv, max_pool, resize_bilinear
from segjax.models.encoders import ENCODERS
from segjax.models.features import CENTRED, FeatureInfo
from segjax.models.initial import Keys, shapes_of

pytestmark = pytest.mark.usefixtures("quick_compile")


class Layers(nnx.Module):
    """An encoder of layers in a row, as coarse as `stride`."""

    multiple = 2
    normalization = CENTRED

    def __init__(self, layers: list[Any], features: int, stride: int):
        self.layers = nnx.List(layers)
        self.info = FeatureInfo((stride,), (stride,), (features,))

    def __call__(self, x: jax.Array) -> list[jax.Array]:
        for layer in self.layers:
            x = layer(x)
        return [x]


class Nearest(nnx.Module):
    """A classifier, each of whose pixels fills a square; with `pooled` it sees the whole map."""

    levels = ()
    multiple = 1

    def __init__(self, features: int, classes: int, *, pooled: bool = False):
        self.classifier = Conv(features, classes, rngs=Keys(1))
        self.pooled = pooled

    def __call__(self, features: list[jax.Array], size: tuple[int, int]) -> jax.Array:
        (x,) = features
        if self.pooled:
            x = x + jnp.mean(x, axis=(1, 2), keepdims=True)
        x = self.classifier(x)
        for axis in (1, 2):
            x = jnp.repeat(x, size[axis - 1] // x.shape[axis], axis)
        return x


class Pool(nnx.Module):
    def __call__(self, x: jax.Array) -> jax.Array:
        return max_pool(x, 3)


def small(*, pooled: bool = False) -> Segmenter:
    rngs = Keys(0)
    layers = [
        ConvNorm(3, 4, stride=2, rngs=rngs),
        ConvNorm(4, 8, rngs=rngs),
        ConvNorm(8, 8, depthwise=True, rngs=rngs),
    ]
    return Segmenter(Layers(layers, 8, 2), Nearest(8, 5, pooled=pooled))


# --- multiply-adds ----------------------------------------------------------------------------


def shaped(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


@pytest.mark.parametrize("count", [1, 2])
def test_a_convolution_multiplies_each_kernel_number_at_each_output(count: int) -> None:
    # 9×11 at stride 2 gives 5×6 pixels; each is 7 sums over 3×3×5.
    macs = count_macs(
        lambda x, k: conv(x, k, stride=2), shaped(count, 9, 11, 5), shaped(3, 3, 5, 7)
    )
    assert macs == count * (5 * 6) * 7 * (3 * 3 * 5)


def test_ways_that_a_cpu_goes_are_not_counted() -> None:
    # Both would go as something else there: by Winograd's products, and as sums of shifted maps.
    dense = count_macs(conv, shaped(1, 8, 8, 48), shaped(3, 3, 48, 64))
    assert dense == 8 * 8 * 9 * 48 * 64
    depthwise = count_macs(depthwise_conv, shaped(1, 8, 8, 48), shaped(3, 3, 1, 48))
    assert depthwise == 8 * 8 * 9 * 48


def test_a_transposed_convolution_multiplies_no_zeros() -> None:
    # 4×4 kernels at stride 2: of the 16 numbers a quarter meets pixels, at each of 6×10 outputs.
    macs = count_macs(
        lambda x, k: lax.conv_transpose(x, k, (2, 2), "SAME"),
        shaped(1, 3, 5, 2),
        shaped(4, 4, 2, 7),
    )
    assert macs == 6 * 10 * (16 // 4) * 2 * 7


def test_products_of_data_count_and_those_with_constants_do_not() -> None:
    def attention(x: jax.Array) -> jax.Array:
        return jax.nn.softmax(x @ x.T) @ x

    assert count_macs(attention, shaped(6, 4)) == 6 * 6 * 4 + 6 * 4 * 6
    assert count_macs(lambda x: resize_bilinear(x, (7, 9)), shaped(1, 3, 4, 5)) == 0
    assert count_macs(lambda x: jnp.einsum("ij,jk->ik", x, jnp.ones((4, 9))), shaped(6, 4)) == 0


def test_what_a_loop_repeats_is_counted_each_time() -> None:
    def power(x: jax.Array) -> jax.Array:
        return lax.fori_loop(0, 5, lambda _, y: y @ x, x)

    assert count_macs(power, shaped(3, 3)) == 5 * 27


@pytest.mark.parametrize(
    ("name", "published", "left"),
    [
        ("resnet50", 4.089e9, 2048 * 1000),
        ("mobilenet_v3_large", 0.217e9, 960 * 1280 + 1280 * 1000),
    ],
)
def test_published_operations_at_224(name: str, published: float, left: int) -> None:
    """torchvision's, of whole classifiers: what is left is their linear layers."""
    encoder: Any = shapes_of(lambda: ENCODERS[name](rngs=Keys(0)))
    encoder.eval()
    graph, state = nnx.split(encoder)
    macs = count_macs(lambda state, x: nnx.merge(graph, state)(x), state, shaped(1, 224, 224, 3))
    assert macs + left == pytest.approx(published, rel=0.005)


def test_published_operations_of_a_whole_model() -> None:
    """SegFormer-B0 at 512×512 with 150 classes: 8.4 billion in the paper's Table 1."""
    model = shapes_of(lambda: create_model("segformer", num_classes=150))
    assert describe(model, (512, 512)).macs == pytest.approx(8.4e9, rel=0.005)


# --- parts ------------------------------------------------------------------------------------


def test_a_network_s_parts_by_hand() -> None:
    found = describe(small(), (10, 12))
    # Kernels, and a scale and a shift of each norm; the classifier has biases.
    parts = [
        Part("encoder.layers.0", ((5, 6, 4),), 9 * 3 * 4 + 2 * 4, 30 * 9 * 3 * 4),
        Part(
            "encoder.layers.1–2",
            ((5, 6, 8),),
            (9 * 4 * 8 + 2 * 8) + (9 * 8 + 2 * 8),
            30 * 9 * 4 * 8 + 30 * 9 * 8,
        ),
        Part("decoder.classifier", ((5, 6, 5),), 8 * 5 + 5, 30 * 8 * 5),
    ]
    assert found.parts == parts
    assert found.parameters == sum(part.parameters for part in parts)
    assert found.macs == sum(part.macs for part in parts)


def test_looking_at_a_network_leaves_it_as_it_was() -> None:
    model = small()
    model.train()
    called = ConvNorm.__call__
    describe(model, (10, 12))
    assert ConvNorm.__call__ is called
    assert not model.encoder.layers[0].norm.use_running_average


def test_a_size_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 2; 10x12 would fit"):
        describe(small(), (10, 13))


def test_live_bytes_by_hand() -> None:
    def f(x: jax.Array) -> jax.Array:
        a = x + 1  # alive until the last line
        b = a * 2
        c = b[:3]  # from here on b is not needed
        return a[:3] - c

    # Most are alive when c has been cut out: a and b of 100 numbers, c of 3.
    assert count_live_bytes(jax.make_jaxpr(f)(shaped(100)).jaxpr) == 4 * (100 + 100 + 3)


def test_what_a_function_within_needs_is_alive_too() -> None:
    @jax.jit
    def inner(x: jax.Array) -> jax.Array:
        return jnp.sum(x[:, None] * x[None, :])

    def f(x: jax.Array) -> jax.Array:
        y = x * 2
        return inner(x) + y.sum()

    # The outer product of 10×10, its operands seen as 10×1 and 1×10, and y.
    found = count_live_bytes(jax.make_jaxpr(f)(shaped(10)).jaxpr)
    assert 4 * (100 + 10) <= found <= 4 * (100 + 10 + 20)


# --- receptive field --------------------------------------------------------------------------


@pytest.fixture
def short_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(architecture, "STRIP", (64, 8))


@pytest.mark.usefixtures("short_strip")
def test_a_receptive_field_by_hand() -> None:
    rngs = Keys(0)
    layers = [
        ConvNorm(3, 8, 5, rngs=rngs),  # 5 rows
        ConvNorm(8, 8, dilation=3, rngs=rngs),  # 3 more on both sides: 11
        Pool(),  # 13
        ConvNorm(8, 8, stride=2, rngs=rngs),  # 15, and from here on a row is two
        ConvNorm(8, 8, depthwise=True, dilation=2, rngs=rngs),  # 4 more on both sides: 23
    ]
    assert find_receptive_field(Segmenter(Layers(layers, 8, 2), Nearest(8, 1))) == 23


@pytest.mark.usefixtures("short_strip")
def test_a_mean_of_the_map_sees_the_whole_picture() -> None:
    assert find_receptive_field(small()) == 3 + 4 + 4
    assert find_receptive_field(small(pooled=True)) is None


# --- measuring --------------------------------------------------------------------------------


def test_a_measurement_warms_up_and_ends_in_time() -> None:
    now = iter(range(1000))
    # Each look at the clock is a second: a run takes one, and a round with its own look three.
    found = measure(small(), (10, 12), seconds=20, clock=lambda: float(next(now)))
    assert (found.median_ms, found.p20_ms, found.p80_ms) == (1000, 1000, 1000)
    assert 5 < found.runs < 15
    # Folded: three kernels with a bias for each output, the classifier, and the picture.
    weights = (9 * 3 * 4 + 4) + (9 * 4 * 8 + 8) + (9 * 8 + 8) + (8 * 5 + 5)
    assert found.weight_bytes == 4 * (weights + 10 * 12 * 3)
    assert found.temporary_bytes > 0


def test_a_slow_network_is_run_five_times() -> None:
    now = iter(range(0, 100_000, 100))
    assert measure(small(), (10, 12), seconds=1, clock=lambda: float(next(now))).runs == 5


def test_random_weights_keep_maps_finite() -> None:
    model = architecture._with_numbers(small())
    logits = model(jnp.ones((1, 10, 12, 3)))
    assert np.isfinite(logits).all() and np.any(logits)
