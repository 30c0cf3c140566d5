"""The one function behind every frame: bytes in, bytes out, state in, state out."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from segjax.geometry import network_size
from segjax.matting.effects import Effect, blurred_room
from segjax.matting.filters import enlarge
from segjax.matting.preprocess import shrink
from segjax.matting.refine import refine
from segjax.matting.smoothing import State, smooth
from segjax.models import Segmenter
from segjax_kernels import upsample_blend

Step = Callable[[Any, State, Any, Any], tuple[State, jax.Array, jax.Array]]
"""(params, state, frame uint8 [H, W, 3], background) → (state, out uint8, alpha float32 [h, w])."""


def mask_size(height: int, width: int) -> tuple[int, int]:
    """The mask's size for a frame's: the network's, but never larger than the frame."""
    rows, columns = network_size(height, width)
    return min(rows, height), min(columns, width)


def make_step(
    model: Segmenter, effect: Effect, *, smoothing: bool = True, refinement: bool = True
) -> Step:
    """The jitted step of a model and an effect; the state is donated.

    `background` is uint8 [H, W, 3] for the effect "picture" and None otherwise. `out` is uint8
    [H, W, 3], or RGBA [H, W, 4] for "transparent", whose colour is 0 where it shows nothing.
    A size of frame is a compilation. One that no frame was seen of is compiled at the first call.
    """
    find_mask = _make_find_mask(model, smoothing, refinement)

    def step(params: Any, state: State, frame: jax.Array, background: Any) -> Any:
        state, alpha, small = find_mask(params, state, frame)
        height, width = frame.shape[:2]
        if effect.kind == "transparent":
            opacity = enlarge(alpha[..., None], height, width)
            out = jnp.concatenate([jnp.where(opacity > 0, frame, 0), opacity], axis=-1)
            return state, out.astype(jnp.uint8), alpha
        if effect.kind == "blur":
            background = blurred_room(small, alpha, effect.strength, height, width)
        elif effect.kind == "color":
            background = jnp.array(effect.color, jnp.uint8)
        return state, upsample_blend(frame, alpha, background), alpha

    return jax.jit(step, donate_argnums=1)


def make_mask_step(
    model: Segmenter, *, smoothing: bool = True, refinement: bool = True
) -> Callable[[Any, State, Any], tuple[State, jax.Array]]:
    """The jitted step without a composition: (params, state, frame) → (state, alpha [H, W])."""
    find_mask = _make_find_mask(model, smoothing, refinement)

    def step(params: Any, state: State, frame: jax.Array) -> tuple[State, jax.Array]:
        state, alpha, _ = find_mask(params, state, frame)
        return state, jax.image.resize(alpha, frame.shape[:2], "linear")

    return jax.jit(step, donate_argnums=1)


def _make_find_mask(model: Segmenter, smoothing: bool, refinement: bool) -> Callable[..., Any]:
    graph, state = nnx.split(model)
    form = jax.tree.structure(state)

    def find_mask(
        params: Any, state: State, frame: jax.Array
    ) -> tuple[State, jax.Array, jax.Array]:
        """Frame → (state, alpha [h, w], the frame at that size float32 [h, w, 3])."""
        height, width = frame.shape[:2]
        small = shrink(frame, *network_size(height, width))
        network = nnx.merge(graph, jax.tree.unflatten(form, jax.tree.leaves(params)))
        logits = network(small[None])[0, ..., 0]
        alpha = jax.nn.sigmoid(logits)
        size = mask_size(height, width)
        if alpha.shape != size:  # a tiny frame
            alpha = jax.image.resize(alpha, size, "linear")
            small = jax.image.resize(small, (*size, 3), "linear")
        planes = jnp.moveaxis(small, -1, 0)
        if smoothing:
            state, alpha = smooth(state, alpha, planes)
            planes = state.planes  # averaged like the mask: its noise does not move the edge
        if refinement:
            alpha = refine(alpha, planes)
        return state, alpha, small

    return find_mask
