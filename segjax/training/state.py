"""What a step changes, and the step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax

from segjax.config import TrainConfig
from segjax.models import Segmenter, batches_by, seed_dropout
from segjax.training.losses import label_loss, mask_loss
from segjax.training.optimizer import has_updated
from segjax.training.teacher import Teacher


class TrainState(NamedTuple):
    """All that a step reads and writes, as one pytree.

    Attributes:
      step: int32, steps done.
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
Figures = dict[str, jax.Array]
TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Figures]]
Criterion = Callable[[jax.Array, jax.Array], tuple[jax.Array, Figures]]


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
    params, stats = nnx.state(model, nnx.Param, nnx.BatchStat)
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
    config: TrainConfig,
    schedule: optax.Schedule,
    layout: TrainState,
    class_weights: np.ndarray | None = None,
    convolve: Callable[..., jax.Array] | None = None,
    teacher: Teacher | None = None,
) -> TrainStep:
    """The jitted function (state, batch of uint8 images and masks) → (state, figures).

    A call is a step, or, with `optimizer.accumulate`, a part of one.

    The state is donated. The batch is divided among the devices; the norms' statistics are those of
    the whole batch. With `config.compute` "bfloat16" the network computes in it; parameters,
    running statistics, loss and optimiser stay float32. With `convolve` it computes in float32 but
    for what that multiplies.

    Args:
      model: gives the network's form, and stays as it is.
      optimizer: of `create_optimizer`.
      config: the run.
      schedule: step → learning rate, for the figures.
      layout: the sharding of each array of the state.
      class_weights: float32 [classes], of the loss of labels; all 1 if None.
      convolve: see `segjax.models.batches_by`.
      teacher: gives hints.
    """
    compute = jnp.dtype("float32" if convolve else config.compute)
    graph, params_form, stats_form = nnx.split(
        _in_training(model, compute, config.frozen_norms), nnx.Param, nnx.BatchStat
    )
    criterion = _criterion(config, class_weights)
    everywhere: Any = layout.step  # where a number is that all devices have

    def loss_fn(params: Any, stats: Any, batch: Batch, key: jax.Array) -> Any:
        params = jax.tree.map(lambda value: value.astype(compute), params)
        network = nnx.merge(graph, _filled(params_form, params), _filled(stats_form, stats))
        seed_dropout(network, key)
        pictures = (batch["image"].astype(jnp.float32) / 255).astype(compute)
        with batches_by(convolve):
            maps = network.features(pictures)
            logits, second = network.decode(maps, pictures)
            hint = None if teacher is None else teacher.loss(pictures, maps)
        value, terms = criterion(logits, batch["mask"])
        if second is not None:
            terms = {**terms, "auxiliary": criterion(second, batch["mask"])[0]}
            value += config.loss.auxiliary * terms["auxiliary"]
        if hint is not None:
            terms = {**terms, "hint": hint}
            value += config.loss.hint * hint
        return value, (terms, split(network)[1])

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Figures]:
        # Of the batch's number, so that a resumed run drops what it would have dropped.
        mini_step = getattr(state.opt_state, "mini_step", 0)
        number = state.step * config.optimizer.accumulate + mini_step
        key = jax.random.fold_in(jax.random.key(config.seed), number)
        # Where arrays are divided among devices, each gets all of them to compute with, and its
        # own part of the gradients: without being told, the compiler would divide convolutions.
        params, stats = lax.with_sharding_constraint((state.params, state.stats), everywhere)
        (value, (terms, stats)), gradients = jax.value_and_grad(loss_fn, has_aux=True)(
            params, stats, batch, key
        )
        gradients = lax.with_sharding_constraint(gradients, layout.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        # A short memory at first, or the average would hold the random start for long.
        decay = jnp.minimum(config.optimizer.ema_decay, (1.0 + state.step) / (10.0 + state.step))
        updated = has_updated(opt_state)
        share = jnp.where(updated, 1.0 - decay, 0.0)
        average: Any = optax.incremental_update((params, stats), state.average, share)
        figures = {
            "loss": value,
            **terms,
            "grad_norm": optax.tree.norm(gradients),
            "learning_rate": jnp.asarray(schedule(state.step)),
        }
        done = state.step + jnp.asarray(updated, jnp.int32)
        return TrainState(done, params, stats, opt_state, average), figures

    return jax.jit(step, donate_argnums=0, out_shardings=(layout, everywhere))


def _in_training(model: Segmenter, compute: Any, frozen: str) -> Segmenter:
    """A copy in training, whose norms give `compute` and are frozen nowhere or in a part."""
    network = nnx.clone(model)
    network.train()
    held = {"none": None, "encoder": network.encoder, "all": network}[frozen]
    for part in _norms(network):
        part.dtype = compute  # or their float32 statistics would make all that follows float32
    for part in _norms(held) if held is not None else ():
        part.use_running_average = True
    return network


def _norms(module: nnx.Module) -> list[nnx.BatchNorm]:
    return [part for _, part in nnx.iter_graph(module) if isinstance(part, nnx.BatchNorm)]


def _criterion(config: TrainConfig, class_weights: np.ndarray | None) -> Criterion:
    """(logits float32 [N, H, W, C], masks uint8 [N, H, W]) → the loss and its terms."""
    classes = config.model.classes
    keywords = config.loss.keywords(classes)
    if classes == 1:
        return lambda logits, mask: mask_loss(logits, mask.astype(jnp.float32) / 255, **keywords)
    if class_weights is not None:
        keywords["class_weights"] = jnp.asarray(class_weights)
    return lambda logits, mask: label_loss(logits, mask, **keywords)


def _filled(form: Any, values: Any) -> Any:
    state = jax.tree.map(lambda value: value, form)  # a copy: the form stays as it is
    nnx.replace_by_pure_dict(state, values)
    return state
