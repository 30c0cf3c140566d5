"""What a step changes, and the step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from segjax.config import LossConfig
from segjax.models import Segmenter
from segjax.training.losses import mask_loss


class TrainState(NamedTuple):
    """All that a step reads and writes, as one pytree.

    Attributes:
      step: int32, optimiser steps done.
      params: trained variables.
      stats: running statistics of the norms.
      opt_state: the optimiser's.
      average: exponential moving average of (params, stats): what is validated and released.
    """

    step: jax.Array
    params: Any
    stats: Any
    opt_state: Any
    average: tuple[Any, Any]


Batch = dict[str, jax.Array]
TrainStep = Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]


def create_state(model: Segmenter, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step; the average starts as the model itself."""
    params, stats = split(model)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        stats=stats,
        opt_state=optimizer.init(params),
        average=jax.tree.map(jnp.copy, (params, stats)),
    )


def split(model: Segmenter) -> tuple[Any, Any]:
    """The trained variables and the running statistics, as plain arrays."""
    _, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    return nnx.to_pure_dict(params), nnx.to_pure_dict(stats)


def merge(model: Segmenter, params: Any, stats: Any) -> None:
    """Writes what `split` gave back into a model of the same make."""
    for kind, values in ((nnx.Param, params), (nnx.BatchStat, stats)):
        state = nnx.state(model, kind)
        nnx.replace_by_pure_dict(state, values)
        nnx.update(model, state)


def make_train_step(
    model: Segmenter,
    optimizer: optax.GradientTransformation,
    loss: LossConfig,
    schedule: optax.Schedule,
    ema_decay: float,
) -> TrainStep:
    """The jitted step (state, batch of uint8 images and masks) → (state, figures).

    The state is donated. Over several devices the batch is sharded and the rest replicated; the
    norms' statistics are then those of the whole batch.
    """
    model.train()
    graph, params_form, stats_form = nnx.split(model, nnx.Param, nnx.BatchStat)

    def rebuild(params: Any, stats: Any) -> Segmenter:
        return nnx.merge(graph, _filled(params_form, params), _filled(stats_form, stats))

    def loss_fn(params: Any, stats: Any, batch: Batch) -> Any:
        network = rebuild(params, stats)
        logits = network(batch["image"].astype(jnp.float32) / 255)
        value, terms = mask_loss(
            logits,
            batch["mask"].astype(jnp.float32) / 255,
            bce=loss.bce,
            dice=loss.dice,
            edge=loss.edge,
            edge_width=loss.edge_width,
        )
        return value, (terms, split(network)[1])

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        (value, (terms, stats)), gradients = jax.value_and_grad(loss_fn, has_aux=True)(
            state.params, state.stats, batch
        )
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        # A short memory at first, or the average would hold the random start for long.
        decay = jnp.minimum(ema_decay, (1.0 + state.step) / (10.0 + state.step))
        average: Any = optax.incremental_update((params, stats), state.average, 1.0 - decay)
        figures = {
            "loss": value,
            **terms,
            "grad_norm": optax.tree.norm(gradients),
            "learning_rate": jnp.asarray(schedule(state.step)),
        }
        return TrainState(state.step + 1, params, stats, opt_state, average), figures

    return jax.jit(step, donate_argnums=0)


def _filled(form: Any, values: Any) -> Any:
    state = jax.tree.map(lambda value: value, form)  # a copy: the form stays as it is
    nnx.replace_by_pure_dict(state, values)
    return state
