"""The stages of a frame as programs of their own, for measuring them."""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from segjax.matting.effects import blurred_room
from segjax.matting.refine import refine, refine_by_lines
from segjax.matting.smoothing import empty_state, smooth
from segjax.matting.step import FAINT, guided_here, prepared, shrink
from segjax.models import convolutions_by
from segjax.prediction import HOLES, decide, sight_of
from segjax_kernels import (
    cpu,
    drop_islands,
    fill_holes,
    guided_upsample_blend,
    preprocess,
    upsample_blend,
)

if TYPE_CHECKING:
    from segjax.weights import Released


class Stage(NamedTuple):
    """A part of the step.

    Attributes:
      run: a function of arrays, to be jitted.
      given: what it takes, of several frames.
    """

    run: Callable[..., Any]
    given: Sequence[tuple[Any, ...]]


def stages(
    released: "Released", frames: Sequence[np.ndarray], *, native: bool = True
) -> dict[str, Stage]:
    """The parts of the step by name. In the step they are one program, which saves a little.

    Args:
      released: a network for one person.
      frames: uint8 [H, W, 3], of one size.
      native: the network goes through the C convolutions where they are built, as in the step.
    """
    graph, state = nnx.split(prepared(released.model) if native else released.model)
    sight = sight_of(released.config)
    params, form = jax.tree.flatten(state)
    size = sight.size(*frames[0].shape[:2])

    def network(small: jax.Array, *params: jax.Array) -> jax.Array:
        network = nnx.merge(graph, jax.tree.unflatten(form, params))
        return fill_holes(jax.nn.sigmoid(network(small[None])[0, ..., 0]), reach=HOLES)

    def network_natively(small: jax.Array, *params: jax.Array) -> jax.Array:
        with convolutions_by(cpu.convolution, cpu.inverted_residual):
            return network(small, *params)

    # What is small lies in the cache in the step as well: one set is enough.
    small = jax.jit(shrink, static_argnums=1)(frames[0], sight)
    planes, alpha = jnp.moveaxis(small, -1, 0), small[..., 0]
    guided = guided_here()
    edges = refine_by_lines(alpha, planes)[1] if guided else (alpha,)

    def drawn(alpha: jax.Array, planes: jax.Array) -> Any:
        return (refine_by_lines if guided else refine)(decide(drop_islands(alpha)), planes)

    before, room = empty_state(*alpha.shape), blurred_room(small, alpha, 0.5)
    return {
        "preprocess": Stage(lambda frame: preprocess(frame, size), [(frame,) for frame in frames]),
        "network": Stage(
            network_natively if native else network, [(preprocess(frames[0], size), *params)]
        ),
        "smooth": Stage(
            lambda alpha, planes, before: smooth(before, alpha, planes), [(alpha, planes, before)]
        ),
        "refine": Stage(drawn, [(alpha, planes)]),
        "background": Stage(lambda small, alpha: blurred_room(small, alpha, 0.5), [(small, alpha)]),
        "blend": Stage(
            functools.partial(guided_upsample_blend if guided else upsample_blend, faint=FAINT),
            [(frame, *edges, room) for frame in frames],
        ),
    }
