"""The stages of a frame as programs of their own, for measuring them."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from segjax.geometry import network_size
from segjax.matting.effects import blurred_room
from segjax.matting.refine import refine
from segjax.matting.smoothing import empty_state, smooth
from segjax.matting.step import FAINT, mask_size
from segjax.models import Segmenter, convolutions_by
from segjax_kernels import cpu, fill_holes, preprocess, upsample_blend


def stages(model: Segmenter, frame: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Name → a call that does one stage of the step on a CPU or a GPU and waits for it.

    They compile at their first call. In the step they are one program, which saves a little.

    Args:
      model: logits of one person.
      frame: uint8 [H, W, 3].
    """
    graph, params = nnx.split(model)
    height, width = frame.shape[:2]

    def network(params: Any, small: jax.Array) -> jax.Array:
        with convolutions_by(cpu.convolution):
            return fill_holes(jax.nn.sigmoid(nnx.merge(graph, params)(small[None])[0, ..., 0]))

    shrink = jax.jit(lambda frame: preprocess(frame, network_size(height, width)))
    pixels = jnp.asarray(frame)
    size = mask_size(height, width)
    small = jax.image.resize(shrink(pixels), (*size, 3), "linear")
    planes = jnp.moveaxis(small, -1, 0)
    alpha = small[..., 0]
    room = blurred_room(small, alpha, 0.5)
    state = empty_state(*size)
    blend = functools.partial(upsample_blend, faint=FAINT)
    calls: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
        "preprocess": (shrink, (pixels,)),
        "network": (jax.jit(network), (params, shrink(pixels))),
        "smooth": (jax.jit(smooth), (state, alpha, planes)),
        "refine": (jax.jit(refine), (alpha, planes)),
        "background": (jax.jit(blurred_room), (small, alpha, 0.5)),
        "blend": (jax.jit(blend), (pixels, alpha, room)),
    }
    return {
        name: lambda run=run, given=given: jax.block_until_ready(run(*given))
        for name, (run, given) in calls.items()
    }
