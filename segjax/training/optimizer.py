"""The optimiser of a run.

A step is a change of the weights. What `OptimizerConfig` and the schedules count are steps, and so
should everything be that a run counts or averages by them: with `accumulate` = k a step takes k
batches and as many calls of `update`, of which the last changes the weights (`has_updated`). So
learning rate, number of steps and moving average stay what they would be for one batch k times as
large. Two things differ from that batch: batch norms see each of the k batches alone, and move
their running statistics k times; and the gradient is the mean of k means, which is another number
where the batches hold unlike numbers of pixels that count.
"""

from typing import Any

import jax
import optax

from segjax.config import OptimizerConfig


def create_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Step → learning rate: linear warm-up, then a fall that ends at `steps`.

    It is a cosine (Loshchilov and Hutter, 2017), or (1 - share of the steps)^power, called poly
    (Chen et al., 2018, DeepLab).
    """
    warmup = min(config.warmup_steps, steps // 10)
    highest, last = config.learning_rate, config.learning_rate * config.final_share
    if config.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(0.0, highest, warmup, steps, last)
    rise = optax.linear_schedule(0.0, highest, warmup)
    fall = optax.polynomial_schedule(highest, last, config.power, steps - warmup)
    return optax.join_schedules([rise, fall], [warmup])


def create_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """AdamW or SGD on clipped gradients, for parameters {"encoder": ..., "decoder": ..., ...}.

    Kernels alone decay, in AdamW apart from the gradient (Loshchilov and Hutter, 2019), in SGD as
    part of it, after it was clipped: what published recipes for each mean by weight decay. With
    `encoder_share` the encoder's change is that share of what it would be. At 0 it has no state,
    does not decay and does not count in the norm that is clipped; its running statistics are not
    parameters and are the network's own affair.
    """
    schedule = create_schedule(config, steps)
    if config.name == "adamw":
        descent = optax.adamw(schedule, weight_decay=config.weight_decay, mask=_kernels)
    else:
        descent = optax.chain(
            optax.add_decayed_weights(config.weight_decay, mask=_kernels),
            optax.sgd(schedule, momentum=config.momentum),
        )
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    optimizer = optax.chain(clip, descent)
    if not config.encoder_share:
        optimizer = optax.partition(
            {True: optax.set_to_zero(), False: optimizer}, param_labels=_in_encoder
        )
    elif config.encoder_share != 1:
        optimizer = optax.chain(
            optimizer, optax.masked(optax.scale(config.encoder_share), _in_encoder)
        )
    if config.accumulate > 1:
        return optax.MultiSteps(optimizer, config.accumulate).gradient_transformation()
    return optimizer


def has_updated(opt_state: Any) -> jax.Array | bool:
    """Whether the call of `update` that gave this state ended a step: False amid accumulation."""
    return opt_state.mini_step == 0 if isinstance(opt_state, optax.MultiStepsState) else True


def _kernels(params: Any) -> Any:
    return jax.tree.map(lambda value: value.ndim > 1, params)


def _in_encoder(params: Any) -> dict[str, bool]:
    return {name: name == "encoder" for name in params}
