"""Losses on logits: arrays to one number, which is a weighted sum of terms.

The weights are plain numbers: a term that weighs 0 is neither computed nor returned. Logits of half
precision are computed on as float32, float64 stays. Every mean is over the whole batch, the sum of
what counts over the number of what counts, and so it is under `jax.jit` where the batch is sharded;
under `shard_map` or `pmap` it would be a mean of the devices' means, which is another number as
soon as pixels are ignored.
"""

from segjax.training.losses.hints import hint_loss
from segjax.training.losses.labels import label_loss
from segjax.training.losses.masks import mask_loss

__all__ = ["hint_loss", "label_loss", "mask_loss"]
