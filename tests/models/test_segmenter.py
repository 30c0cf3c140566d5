"""The contract of a network, for every encoder and decoder that is registered."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from segjax.models import Segmenter, create_segmenter, fold_norms
from segjax.models.decoders import DECODERS
from segjax.models.encoders import ENCODERS
from segjax.models.encoders.mobilenet_v3 import Row

PLAIN_ROWS = (Row(3, 8, 8, False, 2), Row(3, 8, 8, False, 2), Row(5, 8, 8, False, 2))

TINY: dict[str, dict[str, Any]] = {
    "dilated_resnet": {"widths": (4, 4, 8), "depths": (1, 0, 2)},
    "hybrid": {"widths": (4, 4, 8), "expanded": 8, "dilations": (1, 2)},
    "mobilenet_v3": {"rows": (*PLAIN_ROWS, Row(3, 8, 8, False, 1))},
    "skip_aspp": {"branch": 4, "rates": (1, 2), "widths": (4, 8)},
}
"""Options that make a part small; whoever is not here runs at its own size."""

SIZES = [(32, 32), (16, 48)]


@functools.cache
def network(encoder: str, decoder: str, output_stride: int, classes: int = 1) -> Segmenter:
    return create_segmenter(
        encoder=encoder,
        decoder=decoder,
        classes=classes,
        encoder_options={**TINY.get(encoder, {}), "output_stride": output_stride},
        decoder_options=TINY.get(decoder, {}),
    )


def pictures(height: int, width: int, count: int = 2) -> jax.Array:
    rng = np.random.default_rng(height)
    return jnp.asarray(rng.uniform(size=(count, height, width, 3)), jnp.float32)


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_network_runs_and_trains(encoder: str, decoder: str, output_stride: int) -> None:
    model = network(encoder, decoder, output_stride, 2)
    model.train()
    optimizer = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer, x):
        def loss_fn(model):
            logits = model(x)
            return (logits**2).mean(), logits

        (loss, logits), gradients = nnx.value_and_grad(loss_fn, has_aux=True)(model)
        optimizer.update(model, gradients)
        return loss, logits, gradients

    loss, logits, gradients = step(model, optimizer, pictures(32, 32))
    assert logits.shape == (2, 32, 32, 2) and logits.dtype == jnp.float32
    assert np.isfinite(loss)
    # Every parameter takes part, but for a bias in front of a rectifier that happens to be off.
    silent = [path for path, value in nnx.to_flat_state(gradients) if not np.any(value[...])]
    assert not [path for path in silent if path[-1] == "kernel"]

    model.eval()
    for height, width in SIZES:
        assert model(pictures(height, width, 1)).shape == (1, height, width, 2)


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_keeps_its_contract(name: str, output_stride: int) -> None:
    encoder = ENCODERS[name](**TINY.get(name, {}), output_stride=output_stride, rngs=nnx.Rngs(0))
    encoder.eval()
    assert encoder.strides == (4, 8, output_stride)
    features = encoder(pictures(32, 48))
    for feature, stride, channels in zip(
        features, encoder.strides, encoder.out_channels, strict=True
    ):
        assert feature.shape == (2, 32 // stride, 48 // stride, channels)


@pytest.mark.parametrize("name", ENCODERS)
def test_dilation_gives_the_same_features_more_densely(name: str) -> None:
    """Of an encoder without global pooling: the maps at stride 16 are a quarter of those at 8."""
    options = {key: value for key, value in TINY.get(name, {}).items()}
    coarse, dense = (
        ENCODERS[name](**options, output_stride=stride, rngs=nnx.Rngs(0)) for stride in (16, 8)
    )
    coarse.eval()
    dense.eval()
    x = pictures(48, 64)
    found = dense(x)[-1][:, ::2, ::2]
    np.testing.assert_allclose(found, coarse(x)[-1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_folding_a_network_keeps_its_map(encoder: str) -> None:
    model = nnx.clone(network(encoder, next(iter(DECODERS)), 16))
    rng = np.random.default_rng(0)
    statistics = nnx.state(model, nnx.BatchStat)
    for path, value in nnx.to_flat_state(statistics):
        drawn = rng.normal(size=value[...].shape)
        value[...] = jnp.asarray(np.exp(0.3 * drawn) if path[-1] == "var" else 0.3 * drawn)
    nnx.update(model, statistics)
    model.eval()
    x = pictures(32, 32)
    before = model(x)
    fold_norms(model)
    np.testing.assert_allclose(model(x), before, rtol=1e-4, atol=1e-4)
    assert not [m for _, m in nnx.iter_graph(model) if isinstance(m, nnx.BatchNorm)]


def test_a_seed_decides_the_weights() -> None:
    def first(seed: int) -> np.ndarray:
        model = create_segmenter(encoder="dilated_resnet", decoder="skip_aspp", seed=seed)
        return np.asarray(model.encoder.stem.kernel[...])

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
    model = network("dilated_resnet", "skip_aspp", 16)
    with pytest.raises(ValueError, match=f"multiples of 16; {fits} would fit"):
        model(jnp.zeros(shape))


def test_a_batch_without_colours_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 32, 32, 1\); it must be \[N, H, W, 3\]"):
        network("dilated_resnet", "skip_aspp", 16)(jnp.zeros((1, 32, 32, 1)))


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=f"encoder: got 'vgg'; known are {', '.join(ENCODERS)}"):
        create_segmenter(encoder="vgg", decoder="skip_aspp")
    with pytest.raises(ValueError, match=f"decoder: got 'crf'; known are {', '.join(DECODERS)}"):
        create_segmenter(encoder="hybrid", decoder="crf")


@pytest.mark.parametrize("name", ENCODERS)
def test_an_output_stride_nobody_built_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="output_stride: got 32; 8 and 16 are built"):
        ENCODERS[name](output_stride=32, rngs=nnx.Rngs(0))


def test_rows_that_do_not_reach_stride_16_are_refused() -> None:
    with pytest.raises(ValueError, match=r"rows: got strides \[4, 8\]; 4, 8 and 16 are needed"):
        ENCODERS["mobilenet_v3"](rows=PLAIN_ROWS[:2], rngs=nnx.Rngs(0))
