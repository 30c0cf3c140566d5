import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from segjax.config import OptimizerConfig
from segjax.errors import SegjaxError
from segjax.training.optimizer import create_optimizer, create_schedule, has_updated

pytestmark = pytest.mark.usefixtures("quick_compile")

Tree = dict[str, dict[str, Any]]

PARAMS: Tree = {
    "encoder": {"kernel": jnp.asarray([[1.0, -2.0]]), "bias": jnp.asarray([0.5])},
    "decoder": {"kernel": jnp.asarray([[3.0, 0.25]]), "bias": jnp.asarray([-1.0])},
}
SGD = OptimizerConfig("sgd", learning_rate=0.1, warmup_steps=0, clip_norm=0.0, weight_decay=0.0)


def gradients(seed: int) -> Tree:
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), PARAMS)


def trained(config: OptimizerConfig, batches: list[Tree]) -> tuple[Tree, list[bool]]:
    """Parameters after these gradients, and which of them ended a step."""
    optimizer = create_optimizer(config, 100)

    @jax.jit
    def step(params: Tree, state: Any, gradients: Tree) -> Any:
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, jnp.asarray(has_updated(state))

    params, state, ended = PARAMS, optimizer.init(PARAMS), []
    for one in batches:
        params, state, updated = step(params, state, one)
        ended.append(bool(updated))
    return params, ended


def moved(config: OptimizerConfig, batches: list[Tree], part: str = "decoder") -> np.ndarray:
    """By how much a part's parameters changed."""
    params, _ = trained(config, batches)
    pairs = zip(jax.tree.leaves(params[part]), jax.tree.leaves(PARAMS[part]), strict=True)
    return np.concatenate([np.ravel(new - old) for new, old in pairs])


def rates(config: OptimizerConfig, steps: int, at: list[int]) -> np.ndarray:
    schedule = create_schedule(config, steps)
    return np.array([np.asarray(schedule(step)) for step in at])


def test_poly_warms_up_and_falls_by_its_power() -> None:
    config = OptimizerConfig(schedule="poly", learning_rate=0.1, warmup_steps=10, final_share=0.0)
    wanted = [0, 0.05, 0.1, 0.1 * 0.5**0.9, 0.1 * 0.001**0.9, 0]
    found = rates(config, 1010, [0, 5, 10, 510, 1009, 1010])
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-9)
    linear = dataclasses.replace(config, power=1.0, final_share=0.2)
    np.testing.assert_allclose(rates(linear, 1010, [510]), 0.06, rtol=1e-5)


def test_cosine_is_half_way_in_the_middle() -> None:
    config = OptimizerConfig(learning_rate=0.1, warmup_steps=10)
    found = rates(config, 1010, [5, 10, 510, 1010])
    np.testing.assert_allclose(found, [0.05, 0.1, 0.0505, 0.001], rtol=1e-5)


def test_sgd_by_hand() -> None:
    # As PyTorch does it: clip, add the decay of kernels, gather momentum, and go.
    config = dataclasses.replace(SGD, weight_decay=0.5, clip_norm=0.7, momentum=0.8)
    batches = [gradients(seed) for seed in range(3)]
    params = jax.tree.map(np.asarray, PARAMS)
    trace = jax.tree.map(np.zeros_like, params)
    for one, rate in zip(batches, rates(config, 100, [0, 1, 2]), strict=True):
        norm = np.sqrt(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(one)))
        assert norm > 0.7
        for part, leaves in params.items():
            for name, value in leaves.items():
                decay = 0.5 * value if name == "kernel" else 0.0
                trace[part][name] = 0.8 * trace[part][name] + one[part][name] * 0.7 / norm + decay
        params = jax.tree.map(lambda value, m, rate=rate: value - rate * m, params, trace)
    found, _ = trained(config, batches)
    for new, wanted in zip(jax.tree.leaves(found), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(new, wanted, rtol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_the_encoder_learns_at_a_share_of_the_rate(name: Any) -> None:
    full = dataclasses.replace(SGD, name=name, weight_decay=0.1, clip_norm=1.0)
    share = dataclasses.replace(full, encoder_share=0.25)
    batches = [gradients(0)]  # later ones would meet other parameters, and their decay
    np.testing.assert_allclose(moved(share, batches), moved(full, batches), rtol=1e-6)
    encoder = moved(full, batches, "encoder")
    assert np.abs(encoder).min() > 1e-3
    np.testing.assert_allclose(moved(share, batches, "encoder"), encoder / 4, rtol=1e-4)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_a_frozen_encoder_stays_and_clips_nothing(name: Any) -> None:
    config = dataclasses.replace(SGD, name=name, weight_decay=0.1, clip_norm=1e-3)
    frozen = dataclasses.replace(config, encoder_share=0.0)
    batches = [gradients(seed) for seed in range(3)]
    assert not moved(frozen, batches, "encoder").any()
    zeros = [{**one, "encoder": jax.tree.map(jnp.zeros_like, one["encoder"])} for one in batches]
    np.testing.assert_allclose(moved(frozen, batches), moved(config, zeros), rtol=1e-5)
    shapes = [leaf.shape for leaf in jax.tree.leaves(create_optimizer(frozen, 9).init(PARAMS))]
    assert shapes.count((1, 2)) == (2 if name == "adamw" else 1)  # the decoder's kernel alone


def test_without_a_norm_nothing_is_clipped() -> None:
    large = jax.tree.map(lambda value: 1e4 * value, gradients(0))
    np.testing.assert_allclose(moved(SGD, [large]), 1e4 * moved(SGD, [gradients(0)]), rtol=1e-4)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_accumulated_batches_are_one_that_is_larger(name: Any) -> None:
    # Warm-up and momentum would tell if a part of a step counted as one.
    config = dataclasses.replace(SGD, name=name, warmup_steps=4, clip_norm=0.5, weight_decay=0.1)
    batches = [gradients(seed) for seed in range(9)]
    means = [
        jax.tree.map(lambda *values: sum(values) / 3, *batches[at : at + 3]) for at in (0, 3, 6)
    ]
    accumulating = dataclasses.replace(config, accumulate=3)
    _, ended = trained(accumulating, batches)
    assert ended == [False, False, True] * 3
    assert trained(config, means)[1] == [True] * 3
    np.testing.assert_allclose(moved(accumulating, batches), moved(config, means), rtol=1e-4)
    assert not moved(accumulating, batches[:2]).any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "adam"}, "optimizer.name is 'adam'; known are adamw, sgd; take one"),
        ({"schedule": "step"}, "optimizer.schedule is 'step'; known are cosine, poly; take one"),
        ({"accumulate": 0}, "optimizer.accumulate is 0; it must be at least 1; give a larger"),
    ],
)
def test_a_mistake_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SegjaxError, match=words):
        OptimizerConfig(**change)
