"""SegFormer: published sizes, its attention and its Mix-FFN by hand, stochastic depth."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from segjax.models import create_model
from segjax.models.blocks import seed_dropout
from segjax.models.encoders import ENCODERS
from segjax.models.encoders.mix_transformer import Block, EfficientSelfAttention, MixFFN
from segjax.models.initial import Keys, shapes_of

pytestmark = pytest.mark.usefixtures("quick_compile")

RNG = np.random.default_rng(0)


def normal(*shape: int) -> jax.Array:
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def parameters(module: nnx.Module) -> int:
    leaves: Any = jax.tree.leaves(nnx.state(module, nnx.Param))
    return sum(math.prod(leaf.shape) for leaf in leaves)


@nnx.jit
def run(module: Any, x: jax.Array) -> Any:
    return module(x)


@pytest.mark.parametrize(
    ("name", "width", "encoder", "model"),
    [
        ("mit_b0", 256, 3.4, 3.8),
        ("mit_b1", 256, 13.1, 13.7),
        ("mit_b2", 768, 24.2, 27.5),
        ("mit_b3", 768, 44.0, 47.3),
        ("mit_b4", 768, 60.8, 64.1),
        ("mit_b5", 768, 81.4, 84.7),
    ],
)
def test_millions_of_parameters_are_those_of_the_papers_table_1(
    name: str, width: int, encoder: float, model: float
) -> None:
    made = shapes_of(
        lambda: create_model(
            "segformer", encoder=name, num_classes=150, decoder_options={"width": width}
        )
    )
    # One decimal is what the paper gives; it rounds B0's 3.32 up and B3's 44.07 down.
    assert abs(parameters(made.encoder) / 1e6 - encoder) <= 0.1
    assert abs(parameters(made) / 1e6 - model) <= 0.05


def test_b0_has_as_many_parameters_as_the_published_checkpoint() -> None:
    assert parameters(shapes_of(lambda: create_model("segformer", num_classes=150))) == 3_752_694


@pytest.mark.parametrize("size", [(33, 47), (64, 32), (5, 7)])
def test_stages_halve_whatever_the_size(size: tuple[int, int]) -> None:
    encoder = shapes_of(lambda: ENCODERS["mit_b0"](rngs=Keys(0)))
    maps = nnx.eval_shape(lambda encoder, x: encoder(x), encoder, jnp.zeros((2, *size, 3)))
    shapes = [
        (2, *(-(-side // stride) for side in size), width)
        for stride, width in zip((4, 8, 16, 32), (32, 64, 160, 256), strict=True)
    ]
    assert [x.shape for x in maps] == shapes


def test_attention_without_a_query_is_the_mean_of_the_values() -> None:
    layer = EfficientSelfAttention(8, 2, 1, rngs=Keys(0))
    layer.query.kernel.set_value(jnp.zeros((8, 8)))
    x = normal(2, 3, 5, 8)
    wanted = layer.out(layer.value(x).mean(axis=(1, 2), keepdims=True))
    np.testing.assert_allclose(run(layer, x), jnp.broadcast_to(wanted, x.shape), atol=1e-6)


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (1, 3)])
def test_keys_and_values_come_from_a_convolution_over_whole_patches(size: tuple[int, int]) -> None:
    layer = EfficientSelfAttention(8, 2, 2, rngs=Keys(0))

    @nnx.jit
    def by_definition(layer: Any, x: jax.Array) -> jax.Array:
        # Beside the paper's equation stand two rules of this one: what is left over is not seen,
        # and a map smaller than a patch is one patch, filled with zeros.
        short = [(0, max(0, 2 - side)) for side in size]
        seen = lax.conv_general_dilated(
            jnp.pad(x, ((0, 0), *short, (0, 0))),
            layer.reduce.kernel[...].reshape(2, 2, 8, 8),
            (2, 2),
            "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        seen = layer.norm(seen).reshape(1, -1, 8)
        query, key, value = layer.query(x).reshape(1, -1, 8), layer.key(seen), layer.value(seen)
        heads = []
        for part in (slice(0, 4), slice(4, 8)):
            scores = jnp.einsum("nqc,nkc->nqk", query[..., part], key[..., part]) / 2  # √4
            heads.append(jax.nn.softmax(scores) @ value[..., part])
        return layer.out(jnp.concatenate(heads, axis=-1)).reshape(x.shape)

    x = normal(1, *size, 8)
    np.testing.assert_allclose(run(layer, x), by_definition(layer, x), rtol=1e-4, atol=1e-5)


def test_the_ffn_mixes_neighbours_and_feels_the_border() -> None:
    layer = MixFFN(1, 1, rngs=Keys(0))
    for linear in (layer.expand, layer.project):
        linear.kernel.set_value(jnp.ones((1, 1)))
    layer.spatial.kernel.set_value(jnp.ones((3, 3, 1, 1)))
    # Of ones a pixel sees four in a corner, six at a side and nine inside: GELU hardly changes
    # such numbers, and so a constant map tells where its border is.
    wanted = [[4, 6, 6, 4], [6, 9, 9, 6], [4, 6, 6, 4]]
    found = run(layer, jnp.ones((1, 3, 4, 1)))[0, ..., 0]
    np.testing.assert_allclose(found, wanted, atol=2e-4)


def test_a_dropped_path_is_dropped_for_a_whole_picture() -> None:
    block = Block(4, heads=1, reduction=1, expanded=4, epsilon=1e-6, drop=0.5, rngs=Keys(0))
    block.attention.out.kernel.set_value(jnp.zeros((4, 4)))  # leaves the Mix-FFN's branch
    x = normal(64, 2, 2, 4)
    block.eval()
    branch = run(block, x) - x
    block.train()
    seed_dropout(block, jax.random.key(0))
    found = run(block, x) - x
    kept = np.any(np.asarray(found), axis=(1, 2, 3))
    # Kept with twice its weight, so that the mean is the same, or not at all.
    np.testing.assert_allclose(found, 2 * kept[:, None, None, None] * branch, atol=1e-5)
    assert 16 < kept.sum() < 48


def test_paths_are_dropped_more_often_the_deeper_they_lie() -> None:
    encoder = shapes_of(lambda: ENCODERS["mit_b0"](drop_path=0.7, rngs=Keys(0)))
    rates = [block.drop.rate for stage in encoder.stages for block in stage.blocks]
    np.testing.assert_allclose(rates, np.linspace(0, 0.7, 8))


def test_only_its_own_stride_is_built() -> None:
    with pytest.raises(ValueError, match="output_stride: got 8; 32 is built"):
        ENCODERS["mit_b0"](output_stride=8, rngs=Keys(0))
