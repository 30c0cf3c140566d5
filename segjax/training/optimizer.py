"""The optimiser of a run."""

import jax
import optax

from segjax.config import OptimizerConfig


def create_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Step → learning rate: linear warm-up, then a cosine that ends at `steps`."""
    warmup = min(config.warmup_steps, steps // 10)
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=config.learning_rate,
        warmup_steps=warmup,
        decay_steps=steps,
        end_value=config.learning_rate * config.final_share,
    )


def create_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter, 2019) on clipped gradients; kernels alone decay."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(
            create_schedule(config, steps),
            weight_decay=config.weight_decay,
            mask=lambda params: jax.tree.map(lambda value: value.ndim > 1, params),
        ),
    )
