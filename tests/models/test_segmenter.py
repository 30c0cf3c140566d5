"""The contract of a network, for every encoder and decoder that is registered."""

import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from segjax.models import Segmenter, create_model, fold_norms
from segjax.models.decoders import DECODERS
from segjax.models.encoders import ENCODERS
from segjax.models.encoders.hybrid import Context
from segjax.models.encoders.mobilenet_v3 import Row

pytestmark = pytest.mark.usefixtures("quick_compile")

ROWS = (Row(3, 8, 8, False, 2), Row(3, 16, 16, False, 2), Row(3, 16, 8, False, 2))

# The same few channels wherever it can be: what draws initial weights is compiled by shape.
TINY: dict[str, dict[str, Any]] = {
    "dilated_resnet": {"widths": (8, 8, 8), "depths": (0, 0, 2)},
    "hybrid": {"widths": (8, 8, 8), "depths": (0, 0), "expanded": 8, "dilations": (2,)},
    "mobilenet_v3": {"rows": (*ROWS, Row(3, 8, 8, False, 1))},
    "skip_aspp": {"branch": 8, "rates": (2,), "widths": (8, 8)},
}
"""Options that make a part small; whoever is not here runs at its own size."""


def network(encoder: str, decoder: str, output_stride: int) -> Segmenter:
    return create_model(
        decoder,
        encoder=encoder,
        num_classes=2,
        encoder_options={**TINY.get(encoder, {}), "output_stride": output_stride},
        decoder_options=TINY.get(decoder, {}),
    )


def pictures(height: int, width: int, count: int = 2) -> jax.Array:
    rng = np.random.default_rng(height)
    return jnp.asarray(rng.uniform(size=(count, height, width, 3)), jnp.float32)


def infer(model: nnx.Module, x: jax.Array) -> Any:
    model.eval()
    return nnx.jit(lambda model, x: model(x))(model, x)


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("decoder", DECODERS.names)
@pytest.mark.parametrize("encoder", ENCODERS.names)
def test_every_network_runs_at_any_size(encoder: str, decoder: str, output_stride: int) -> None:
    model = network(encoder, decoder, output_stride)
    model.eval()
    for shape in ((2, 64, 32, 3), (1, 144, 256, 3)):
        logits = nnx.eval_shape(lambda model, x: model(x), model, jnp.zeros(shape))
        assert logits.shape == (*shape[:3], 2) and logits.dtype == jnp.float32
    assert np.isfinite(infer(model, pictures(16, 48, 1))).all()


@pytest.mark.parametrize("decoder", DECODERS.names)
@pytest.mark.parametrize("encoder", ENCODERS.names)
def test_every_network_trains(encoder: str, decoder: str) -> None:
    model = network(encoder, decoder, 8)
    model.train()

    @nnx.jit
    def step(model, x):
        return nnx.value_and_grad(lambda model: (model(x) ** 2).mean())(model)

    loss, gradients = step(model, pictures(32, 32))
    assert np.isfinite(loss)
    for path, gradient in nnx.to_flat_state(gradients):
        assert np.isfinite(gradient[...]).all(), path
        assert np.any(gradient[...]) or path[-1] != "kernel", f"{path} takes no part"


@pytest.mark.parametrize("options", [{}, TINY], ids=["own size", "tiny"])
@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("name", ENCODERS.names)
def test_an_encoder_keeps_its_contract(
    name: str, output_stride: int, options: dict[str, Any]
) -> None:
    arguments = {**options.get(name, {}), "output_stride": output_stride}
    encoder = nnx.eval_shape(lambda: ENCODERS[name](**arguments, rngs=nnx.Rngs(0)))
    encoder.eval()
    features = nnx.eval_shape(lambda encoder, x: encoder(x), encoder, pictures(32, 48))
    levels, strides, channels = encoder.info
    assert list(strides) == [min(level, output_stride) for level in levels]
    assert [feature.shape for feature in features] == [
        (2, 32 // stride, 48 // stride, width)
        for stride, width in zip(strides, channels, strict=True)
    ]


@pytest.mark.parametrize("name", ENCODERS.names)
def test_dilation_gives_the_same_features_more_densely(name: str) -> None:
    """Of an encoder without global pooling: at stride 16 is every other one of those at 8."""
    coarse, dense = (
        ENCODERS[name](**TINY.get(name, {}), output_stride=stride, rngs=nnx.Rngs(0))
        for stride in (16, 8)
    )
    x = pictures(48, 64)
    found, wanted = infer(dense, x)[-1], infer(coarse, x)[-1]
    np.testing.assert_allclose(found[:, ::2, ::2], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("encoder", ENCODERS.names)
def test_folding_a_network_keeps_its_map(encoder: str) -> None:
    model = network(encoder, "skip_aspp", 16)
    rng = np.random.default_rng(0)
    statistics = nnx.state(model, nnx.BatchStat)
    for path, value in nnx.to_flat_state(statistics):
        drawn = 0.3 * rng.normal(size=value.shape)
        value.set_value(jnp.asarray(np.exp(drawn) if path[-1] == "var" else drawn, jnp.float32))
    nnx.update(model, statistics)
    x = pictures(32, 32)
    before = infer(model, x)
    fold_norms(model)
    np.testing.assert_allclose(infer(model, x), before, rtol=1e-4, atol=1e-4)
    assert not [part for _, part in nnx.iter_graph(model) if isinstance(part, nnx.BatchNorm)]


def test_every_registered_name_is_one_that_its_family_knows() -> None:
    for registry in (ENCODERS, DECODERS):
        for family, names in registry.families.items():
            assert set(importlib.import_module(f"{registry.package}.{family}").VARIANTS) == set(
                names
            ), family


def test_context_sees_the_whole_map_at_any_size() -> None:
    context = Context(8, 16, 1, rngs=nnx.Rngs(0))
    for height, width in ((9, 16), (10, 15), (1, 1)):
        x = jnp.asarray(np.random.default_rng(0).normal(size=(1, height, width, 8)), jnp.float32)
        y = infer(context, x)
        assert y.shape == x.shape and np.any(y != x)
    centre = jnp.zeros((1, 9, 9, 8)).at[0, 4, 4].set(1)
    reached = np.any(np.asarray(infer(context, centre) != infer(context, 0 * centre)), axis=-1)[0]
    assert reached.all()


def test_a_seed_decides_the_weights() -> None:
    def first(seed: int) -> np.ndarray:
        part = create_model(
            "skip_aspp",
            encoder="hybrid",
            encoder_options=TINY["hybrid"],
            decoder_options=TINY["skip_aspp"],
            seed=seed,
        ).encoder.stem
        return np.asarray(part.kernel[...])

    np.testing.assert_array_equal(first(1), first(1))
    assert not np.array_equal(first(1), first(2))


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "fits"),
    [((1, 30, 32, 3), "32x32"), ((1, 100, 250, 3), "96x256"), ((1, 3, 5, 3), "16x16")],
)
def test_a_size_that_does_not_fit_is_answered_with_one_that_does(
    shape: tuple[int, ...], fits: str
) -> None:
    model = nnx.eval_shape(lambda: network("hybrid", "skip_aspp", 16))
    with pytest.raises(ValueError, match=f"multiples of 16; {fits} would fit"):
        model(jnp.zeros(shape))


def test_a_batch_without_colours_is_refused() -> None:
    model = nnx.eval_shape(lambda: network("hybrid", "skip_aspp", 16))
    with pytest.raises(ValueError, match=r"shape \(1, 32, 32, 1\); it must be \[N, H, W, 3\]"):
        model(jnp.zeros((1, 32, 32, 1)))


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    known = ", ".join(ENCODERS.names)
    with pytest.raises(ValueError, match=f"encoder: got 'lenet'; known are {known}"):
        create_model("skip_aspp", encoder="lenet")
    known = ", ".join(DECODERS.names)
    with pytest.raises(ValueError, match=f"model: got 'crf'; known are {known}"):
        create_model("crf", encoder="hybrid")


@pytest.mark.parametrize("name", ENCODERS.names)
def test_an_output_stride_nobody_built_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="output_stride: got 32; 8 and 16 are built"):
        ENCODERS[name](output_stride=32, rngs=nnx.Rngs(0))


def test_rows_that_do_not_reach_stride_16_are_refused() -> None:
    with pytest.raises(ValueError, match=r"rows: got strides \[4, 8\]; 4, 8 and 16 are needed"):
        ENCODERS["mobilenet_v3"](rows=ROWS[:2], rngs=nnx.Rngs(0))
