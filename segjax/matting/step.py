"""The one function behind every frame: bytes in, bytes out, state in, state out."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from segjax.geometry import Sight
from segjax.matting.bokeh import bokeh_room
from segjax.matting.effects import Effect, blurred_room
from segjax.matting.overlay import over, under
from segjax.matting.people import Followed, Person, choose
from segjax.matting.plate import lower_by_plate
from segjax.matting.refine import USUAL_SOFTNESS, refine, refine_by_lines
from segjax.matting.smoothing import State, smooth
from segjax.models import Segmenter, convolutions_by, prepare_kernels
from segjax.prediction import HOLES, decide
from segjax_kernels import (
    cpu,
    drop_islands,
    fade,
    fill_holes,
    guided_upsample_blend,
    preprocess,
    upsample_blend,
)
from segjax_kernels.dispatch import by_platform

Step = Callable[..., tuple[State, jax.Array, jax.Array]]
"""(params, state, frame uint8 [H, W, 3], background, softness=0.5, plate=None) → (state, out
uint8, alpha float32 [h, w])."""


FAINT = 0.05
"""Alphas below this become 0: of the mask, and again of each pixel of the frame, between those of
the mask. There what is above is spread over the range again: cutting 5 % off would draw a contour
of up to 12 levels, and this shows less of the room, not more."""

USUAL_SIGHT = Sight()
"""Of weights that say nothing about it."""

ROOMS = {"blur": blurred_room, "bokeh": bokeh_room}
"""What shows the room behind the person, by the kind of effect."""


def mask_size(height: int, width: int, sight: Sight = USUAL_SIGHT) -> tuple[int, int]:
    """The mask's size for a frame's: the network's, but never larger than the frame."""
    rows, columns = sight.size(height, width)
    return min(rows, height), min(columns, width)


def shrink(frame: jax.Array, sight: Sight = USUAL_SIGHT) -> jax.Array:
    """A frame uint8 [H, W, 3] at its mask's size: float32 [h, w, 3] in [0, 1]."""
    height, width = frame.shape[:2]
    small = preprocess(frame, sight.size(height, width))
    size = mask_size(height, width, sight)
    return small if small.shape[:2] == size else jax.image.resize(small, (*size, 3), "linear")


def guided_here() -> bool:
    """Whether refining at full size is nearly free: on a GPU, and on a CPU in C. By XLA alone it
    takes a CPU as long as the network."""
    return jax.default_backend() != "cpu" or cpu.available()


def prepared(model: Segmenter) -> Segmenter:
    """A copy whose kernels are laid out for the convolutions in C, once for all frames; the network
    itself where these do not compute it."""
    if jax.default_backend() != "cpu" or not cpu.available():
        return model
    copy = nnx.clone(model)
    prepare_kernels(copy, cpu.prepare_kernel)
    return copy


def make_step(
    model: Segmenter,
    effect: Effect,
    *,
    smoothing: bool = True,
    refinement: bool = True,
    guided: bool = False,
    sight: Sight = USUAL_SIGHT,
    person: Person = "all",
    dtype: jax.typing.DTypeLike = jnp.float32,
    in_place: bool = False,
) -> Step:
    """The jitted step of a model and an effect; the state is donated.

    `background` is uint8 [H, W, 3] for the effect "picture"; for "blur" and "bokeh" float32 [], a
    strength in place of the effect's, or None; otherwise None. If the effect is overlaid, it is a
    layer (`overlay.py`), of "blur" and "bokeh" a pair of strength and layer. `softness` is of the
    mask's edge, in [0, 1]; a float32 [] may change without a compilation; it needs `refinement`.
    `plate`, if there is one, is the empty room as `shrink` gives it.
    `out` is uint8 [H, W, 3], or RGBA [H, W, 4] for "transparent", whose colour is 0 where it shows
    nothing.
    A size of frame is a compilation. One that no frame was seen of is compiled at the first call.
    `jax.vmap` of it makes one step of several streams.

    Args:
      guided: refine at the frame's full size too, along its own pixels; needs `refinement`. See
        `guided_here`.
      sight: how much of the frame the network sees.
      person: who is shown; unless it is "all", the state is a `Followed`.
      dtype: that the network computes in, float32 or bfloat16; all else is float32. Parameters of
        another dtype are converted at every call.
      in_place: the frame is donated too, and a GPU writes the result over it, unless that is RGBA.
        For frames that are JAX's own and not used again.
    """
    find_mask = _make_find_mask(model, smoothing, refinement, guided, dtype, sight, person)
    in_place = in_place and effect.kind != "transparent"

    def step(
        params: Any,
        state: State,
        frame: jax.Array,
        background: Any,
        softness: Any = USUAL_SOFTNESS,
        plate: jax.Array | None = None,
    ) -> Any:
        state, alpha, lines, small = find_mask(params, state, frame, softness, plate)
        layer = None
        if effect.overlaid:
            background, layer = background if effect.kind in ROOMS else (None, background)
        if effect.kind in ROOMS:
            with jax.named_scope("background"):
                strength = effect.strength if background is None else background
                background = ROOMS[effect.kind](small, alpha, strength)
                if layer is not None:
                    background = over(layer, background)
        elif effect.kind == "color":
            background = jnp.array(effect.color, jnp.uint8)
        with jax.named_scope("blend"):
            if lines:
                slope, offset = lines
                out = guided_upsample_blend(
                    frame, slope, offset, background, faint=FAINT, in_place=in_place
                )
            else:
                out = upsample_blend(frame, alpha, background, faint=FAINT, in_place=in_place)
            if effect.kind == "transparent" and layer is not None:
                out = under(layer, out)
        return state, out, alpha

    return jax.jit(step, donate_argnums=(1, 2) if in_place else 1)


def make_mask_step(
    model: Segmenter,
    *,
    smoothing: bool = True,
    refinement: bool = True,
    sight: Sight = USUAL_SIGHT,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> Callable[[Any, State, Any], tuple[State, jax.Array]]:
    """The jitted step without a composition: (params, state, frame) → (state, alpha [H, W]).

    With `refinement`, at the frame's full size too: what a step with `guided` composes by.
    """
    find_mask = _make_find_mask(model, smoothing, refinement, True, dtype, sight)

    def step(params: Any, state: State, frame: jax.Array) -> tuple[State, jax.Array]:
        state, alpha, lines, _ = find_mask(params, state, frame)
        if not lines:
            return state, fade(jax.image.resize(alpha, frame.shape[:2], "linear"), FAINT)
        slope, offset = lines
        cut_out = guided_upsample_blend(frame, slope, offset, None, faint=FAINT)
        return state, cut_out[..., 3].astype(jnp.float32) / 255

    return jax.jit(step, donate_argnums=1)


def _make_find_mask(
    model: Segmenter,
    smoothing: bool,
    refinement: bool,
    guided: bool,
    dtype: jax.typing.DTypeLike,
    sight: Sight,
    person: Person = "all",
) -> Callable[..., Any]:
    graph, state = nnx.split(model)
    form = jax.tree.structure(state)

    def find_mask(
        params: Any,
        state: Any,
        frame: jax.Array,
        softness: Any = USUAL_SOFTNESS,
        plate: jax.Array | None = None,
    ) -> tuple[Any, jax.Array, tuple[jax.Array, ...], jax.Array]:
        """Frame → (state, alpha [h, w], its lines or (), the frame at that size [h, w, 3])."""
        height, width = frame.shape[:2]
        with jax.named_scope("preprocess"):
            small = preprocess(frame, sight.size(height, width))
        with jax.named_scope("network"):
            network = nnx.merge(graph, jax.tree.unflatten(form, jax.tree.leaves(params)))
            with convolutions_by(cpu.convolution, cpu.inverted_residual, choose=by_platform):
                logits = network(small[None].astype(dtype))[0, ..., 0]
            alpha = fill_holes(jax.nn.sigmoid(logits), reach=HOLES)
        size = mask_size(height, width, sight)
        if alpha.shape != size:  # a tiny frame
            alpha = jax.image.resize(alpha, size, "linear")
            small = jax.image.resize(small, (*size, 3), "linear")
        if plate is not None:
            with jax.named_scope("plate"):
                alpha = lower_by_plate(alpha, small, plate)
        sure = None
        if person != "all":
            with jax.named_scope("person"):
                state, sure = state
                alpha, sure = choose(alpha, sure, person)
        planes = jnp.moveaxis(small, -1, 0)
        if smoothing:
            with jax.named_scope("smooth"):
                state, alpha = smooth(state, alpha, planes)
            planes = state.planes  # averaged like the mask: its noise does not move the edge
        lines = ()
        if refinement:
            with jax.named_scope("refine"):
                alpha = decide(drop_islands(alpha))
                if guided:
                    alpha, lines = refine_by_lines(alpha, planes, softness)
                else:
                    alpha = refine(alpha, planes, softness)
        if sure is not None:
            state = Followed(state, sure)
        # What is hardly there shows nothing of the room; a NaN stays one and is covered.
        return state, jnp.where(alpha < FAINT, 0, alpha), lines, small

    return find_mask
