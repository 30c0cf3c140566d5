"""Streams: the step with its state, for callers who have NumPy arrays and no JAX."""

import copy
import dataclasses
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from segjax.matting.effects import Effect
from segjax.matting.people import Person, nobody_followed
from segjax.matting.refine import USUAL_SOFTNESS
from segjax.matting.smoothing import empty_state, resized
from segjax.matting.step import (
    ROOMS,
    guided_here,
    make_mask_step,
    make_step,
    mask_size,
    prepared,
    shrink,
)
from segjax.matting.transfer import Pinned, Shared, Transfer
from segjax.memory import give_back_memory, keep_freed_memory
from segjax.models import Segmenter
from segjax.prediction import sight_of
from segjax_kernels.dispatch import tracing_for

if TYPE_CHECKING:
    from segjax.weights import Released


QUALITIES = {"full": 1.0, "medium": 0.57, "coarse": 0.25}
"""Shares of the pixels that the weights were trained for. With `portrait` at 720p that is 128×224
or 80×160 in place of 176×304. Sizes that divide the frame's sides are preferred, without which less
time is saved."""

TIDY_EVERY = 900
"""Frames after which memory that is free is given back: half a minute. Without that a run grows on
a busy machine, where frames wait for each other now and then."""

TRIALS = 5
"""Steps of each kind by which qualities are compared, in turns."""


@dataclasses.dataclass(frozen=True)
class Composite:
    """A composed frame.

    Attributes:
      image: uint8 [H, W, 3], or RGBA [H, W, 4]; the receiver's own.
      alpha: float32 [h, w], the mask it was composed with; not finite if the network failed.
      index: of the frame that both came from.
    """

    image: np.ndarray
    alpha: np.ndarray
    index: int


class Matting:
    """One stream of frames composed over one effect; it owns the state between them.

    `qualities` names how well it can be done, from the best on; `quality` is the one in use, which
    may change from frame to frame without a flash, and compiles nothing once it is prepared.

    A frame's array is read until the call returns and never after: on a CPU, JAX reads NumPy's
    memory in place, also after the call that it was given to has returned, so the result is
    waited for.

    Args:
      released: the network; its masks differ a little between dtypes.
      effect: what stands behind the person.
      smoothing: of the mask in time.
      refinement: of the mask's edges.
      guided: refine the edges along the frame's own pixels too; by default where that is
        nearly free (`guided_here`).
      person: who of several is shown: "all", or the one who is "largest", or most in the middle
        ("central"), and then for as long as they are there.
      plate: the empty room, uint8 RGB [H, W, 3], seen by the same camera from the same place: it
        removes what the network mistakes for a person.
      dtype: that the network computes in; by default bfloat16, on a CPU float32.
      transfer: how frames come to the device and back; by default `Pinned`, on a CPU `Shared`.
    """

    def __init__(
        self,
        released: "Released",
        effect: Effect,
        *,
        smoothing: bool = True,
        refinement: bool = True,
        guided: bool | None = None,
        person: Person = "all",
        plate: np.ndarray | None = None,
        dtype: jax.typing.DTypeLike | None = None,
        transfer: Transfer | None = None,
    ):
        on_cpu = jax.default_backend() == "cpu"
        network_dtype = np.dtype(dtype or (jnp.float32 if on_cpu else jnp.bfloat16))
        model = prepared(released.model) if network_dtype == np.float32 else released.model
        self._params = _parameters(model, network_dtype)
        self._transfer = transfer or (Shared() if on_cpu else Pinned(jax.devices()[0]))
        guided = guided_here() if guided is None else guided
        sight = sight_of(released.config)
        self._sights = [sight._replace(share=share) for share in QUALITIES.values()]
        self._steps = [
            make_step(
                model,
                effect,
                smoothing=smoothing,
                refinement=refinement,
                guided=guided,
                person=person,
                sight=sight,
                dtype=network_dtype,
                in_place=self._transfer.in_place,
            )
            for sight in self._sights
        ]
        self.qualities = tuple(QUALITIES)
        self.quality = 0
        self._plate = plate
        self._plates: dict[tuple[int, ...], jax.Array] = {}
        """By the frame's size and the quality, as the step takes them."""
        self._effect = effect
        self.strength = effect.strength
        """Of the blur or bokeh, in (0, 1]; it may change between frames and compiles nothing."""
        self.softness = USUAL_SOFTNESS
        """Of the mask's edges, in [0, 1]; it may change like the strength."""
        self._states = _States(empty_state if person == "all" else nobody_followed)
        self._composed = 0

    def another(self) -> "Matting":
        """One for a further stream: the same compiled step and parameters, a state of its own."""
        other = copy.copy(self)
        other._states = self._states.another()
        other._transfer = copy.copy(self._transfer)
        return other

    def mask_size(self, height: int, width: int) -> tuple[int, int]:
        """The size of `alpha` for frames of a size, at the present quality."""
        return mask_size(height, width, self._sights[self.quality])

    def prepare(self, height: int, width: int) -> None:
        """Compiles the best quality for a size of frame and runs it once, so that the first real
        frame is fast."""
        self._time(0, height, width)
        give_back_memory()
        self.reset()

    def prepare_quality(self, quality: int, height: int, width: int) -> float:
        """Compiles another quality, also while frames come: what a frame takes by it, as a share of
        what it takes by the best, which must be prepared."""
        self._time(quality, height, width)
        times = [
            (self._time(quality, height, width), self._time(0, height, width))
            for _ in range(TRIALS)
        ]
        give_back_memory()
        ours, best = (min(column) for column in zip(*times, strict=True))
        return ours / best

    def _time(self, quality: int, height: int, width: int) -> float:
        """Seconds that a blank frame takes, which no stream remembers."""
        blank = np.zeros((height, width, 3), np.uint8)
        state = self._states.empty(*mask_size(height, width, self._sights[quality]))
        behind = blank if self._effect.kind == "picture" else None
        if self._effect.overlaid:
            behind = np.stack([blank, blank])
        began_s = time.perf_counter()
        jax.block_until_ready(self._run(quality, state, blank, behind))
        return time.perf_counter() - began_s

    def _run(
        self, quality: int, state: Any, pixels: np.ndarray, background: np.ndarray | None
    ) -> tuple[Any, jax.Array, jax.Array]:
        behind: Any = None if background is None else self._transfer.kept(background)
        if self._effect.kind in ROOMS:
            strength = np.asarray(self.strength, np.float32)
            behind = (strength, behind) if self._effect.overlaid else strength
        softness = np.asarray(self.softness, np.float32)
        plate = None if self._plate is None else self._plate_for(self._plate, pixels.shape, quality)
        frame = self._transfer.there(pixels)
        with tracing_for(_platform()):
            return self._steps[quality](self._params, state, frame, behind, softness, plate)

    def reset(self) -> None:
        """Forgets what came before."""
        self._states.reset()

    def __call__(self, pixels: np.ndarray, background: np.ndarray | None, index: int) -> Composite:
        """Composes one frame, uint8 [H, W, 3], over `background` (of the effect "picture", or the
        layer of one that is overlaid)."""
        height, width = pixels.shape[:2]
        state = self._states.take((height, width), self.mask_size(height, width))
        state, image, alpha = self._run(self.quality, state, pixels, background)
        self._states.keep(state)
        # Both wait until all that reads `pixels` is done.
        composite = Composite(*self._transfer.back(image, alpha), index)
        self._composed += 1
        if self._composed % TIDY_EVERY == 0:
            give_back_memory()
        return composite

    def _plate_for(self, plate: np.ndarray, shape: tuple[int, ...], quality: int) -> jax.Array:
        key = (*shape, quality)
        if key not in self._plates:
            if plate.shape != shape:
                plate = np.asarray(jax.image.resize(plate.astype(np.float32), shape, "linear"))
            frame = np.rint(plate).clip(0, 255).astype(np.uint8)
            self._plates[key] = jax.jit(shrink, static_argnums=1)(frame, self._sights[quality])
        return self._plates[key]


class AlphaClip:
    """Masks of a clip's frames at full size, each smoothed by those before it."""

    def __init__(self, released: "Released", *, smoothing: bool = True, refinement: bool = True):
        model = prepared(released.model)
        self._params = _parameters(model, jnp.float32)
        self._sight = sight_of(released.config)
        self._step = make_mask_step(
            model, smoothing=smoothing, refinement=refinement, sight=self._sight
        )
        self._states = _States()

    def reset(self) -> None:
        """Forgets what came before: the next frame begins a clip."""
        self._states.reset()

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] → alpha float32 [H, W] in [0, 1]."""
        height, width = pixels.shape[:2]
        state = self._states.take((height, width), mask_size(height, width, self._sight))
        with tracing_for(_platform()):
            state, alpha = self._step(self._params, state, pixels)
        self._states.keep(state)
        return np.array(alpha)


def _platform() -> str | None:
    """That a step is for, as `tracing_for` takes it; a GPU may be of two kinds."""
    backend = jax.default_backend()
    return None if backend == "gpu" else backend


def _parameters(model: Segmenter, dtype: jax.typing.DTypeLike) -> list[jax.Array]:
    """What the step is given at every call: a plain list on the device, checked fastest by JAX."""
    keep_freed_memory()
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.split(model)[1])]
    return jax.device_put([x.astype(dtype) if x.dtype == np.float32 else x for x in leaves])


class _States:
    """The state between two frames: a new one after a reset, an exception or a frame of another
    size; the same at another size if only the mask's is another."""

    def __init__(self, empty: Callable[[int, int], Any] = empty_state) -> None:
        self.empty = empty
        self._state: Any = None
        self._frame = (0, 0)

    def another(self) -> "_States":
        """For a further stream."""
        return _States(self.empty)

    def reset(self) -> None:
        self._state = None

    def take(self, frame: tuple[int, int], mask: tuple[int, int]) -> Any:
        """The state for a frame; it is gone from here, since the step is given its memory."""
        state, self._state = self._state, None
        same, self._frame = frame == self._frame, frame
        if state is not None and same and state.alpha.shape == mask:
            return state
        empty = self.empty(*mask)
        return resized(state, empty) if state is not None and same else empty

    def keep(self, state: Any) -> None:
        self._state = state
