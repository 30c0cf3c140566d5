"""A mask that holds still where the picture does."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from segjax.images import resize
from segjax_kernels import box, cpu
from segjax_kernels.dispatch import Implementation, dispatch

RISING_SHARE, FALLING_SHARE = 0.04, 0.18
"""Of a new mask, where nothing moves: the network's noise is averaged over about 50 frames where it
would show more, over 11 where less: what shows of the room is worse than what is missing."""

NOISE, MOTION = 0.015, 0.037
"""Change of colour, averaged over 3×3 pixels, up to which nothing moves (a dim camera's noise
stays below it), and from which the new mask counts fully: a hand must not trail."""

DOUBT, AGREEMENT = 0.4, 0.7
"""What moves need not change the picture: a hand in front of a face. A rise of the mask counts
from the first, and fully from the second, once two masks in a row agree on it."""

SLIGHT, PLAIN = 0.08, 0.25
"""The same of a fall, of which two masks say less than `MAYBE_ROOM`, and fully less than `ROOM`."""

MAYBE_ROOM, ROOM = 0.4, 0.2

SHOWN, SURE = 0.25, 0.8
"""From where a mask shows something once its edges are firm, and from where it is sure."""

NOBODY, SOMEBODY = 0.02, 0.05
"""Of what a mask shows, the share that is sure, up to which nobody is there and from which somebody
is. Of 226 pictures of people before a camera one is below the first and two below the second; of
76 rooms without anybody in which something was found, a third is."""


class State(NamedTuple):
    """What is remembered from one frame to the next, at the mask's size.

    Attributes:
      alpha: float32 [h, w], the mask given for the frame before.
      planes: float32 [3, h, w], the picture that this mask belongs to: where the mask is a mean
        over frames, so is the picture.
      latest: float32 [h, w], the network's mask of the frame before.
      started: float32, 1 once there was a frame, 0 before.
    """

    alpha: jax.Array
    planes: jax.Array
    latest: jax.Array
    started: jax.Array


def empty_state(height: int, width: int) -> State:
    """The state before the first frame: whatever the first mask is, it counts fully."""
    # Four buffers: the state is donated, and a buffer can be given away only once.
    shapes = (height, width), (3, height, width), (height, width), ()
    # NumPy's zeros, since JAX's are compiled.
    zeros = [np.zeros(shape, np.float32) for shape in shapes]
    return State(*jax.device_put(zeros, may_alias=False))


def resized(state: Any, like: Any) -> Any:
    """The memory of a stream in the sizes of another's, so that a change of size does not show."""

    def of_size(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        if array.ndim == 3:
            return np.stack([of_size(plane, shape[1:]) for plane in array])
        return resize(array, (shape[0], shape[1])) if array.ndim == 2 else array

    # By OpenCV, since JAX would compile it.
    arrays = jax.tree.map(lambda old, new: of_size(np.asarray(old), new.shape), state, like)
    return jax.device_put(arrays, may_alias=False)


def smooth(state: State, alpha: jax.Array, planes: jax.Array) -> tuple[State, jax.Array]:
    """Mixes a mask into the one before: slowly where the picture is still, at once where it moves.

    Room is let go of faster than person: two masks in a row that plainly say less are believed.
    The idea of the 1 € filter (Casiez et al., 2012), with the picture's own motion for its speed,
    so that a mask that flickers over a still scene does not count as movement. Motion is measured
    against the picture that the remembered mask belongs to: slow motion adds up until it shows.

    Args:
      state: of the frame before.
      alpha: float32 [h, w] in [0, 1], the network's mask of this frame.
      planes: float32 [3, h, w] in [0, 1], the frame's colours at the mask's size: shifting planes
        takes a CPU half the time.

    Returns:
      The new state, and the smoothed mask float32 [h, w], which is 0 where there is but doubt. A
      mask that is not finite makes it NaN and is forgotten: the next one starts anew.
    """
    return dispatch(IMPLEMENTATIONS, None, state, alpha, planes)


def _by_c(state: State, alpha: jax.Array, planes: jax.Array) -> tuple[State, jax.Array]:
    *after, shown = cpu.call(
        "smooth",
        (*state, alpha),
        *state,
        alpha,
        planes,
        in_place=len(state),
        rising=RISING_SHARE,
        falling=FALLING_SHARE,
        noise=NOISE,
        motion=MOTION,
        doubt=DOUBT,
        agreement=AGREEMENT,
        slight=SLIGHT,
        plain=PLAIN,
        maybe_room=MAYBE_ROOM,
        room=ROOM,
        shown=SHOWN,
        sure=SURE,
        nobody=NOBODY,
        somebody=SOMEBODY,
    )
    return State(*after), shown


def _by_xla(state: State, alpha: jax.Array, planes: jax.Array) -> tuple[State, jax.Array]:
    finite = jnp.isfinite(alpha)
    clean, usable = jnp.where(finite, alpha, 0), finite.all()
    # Means before magnitudes: noise cancels, motion does not. Then a look one pixel around, since
    # the edge of what moves lies between two of its pixels.
    red, green, blue = jnp.abs(box(planes - state.planes, 1))
    change = box(jnp.maximum(jnp.maximum(red, green), blue), 1)
    now, before = clean - state.alpha, state.latest - state.alpha
    rise, fall = jnp.minimum(now, before), -jnp.maximum(now, before)
    gone = _ramp(-jnp.maximum(clean, state.latest), -MAYBE_ROOM, -ROOM)
    agreed = jnp.maximum(_ramp(rise, DOUBT, AGREEMENT), _ramp(fall, SLIGHT, PLAIN) * gone)
    free = jnp.maximum(_ramp(change, NOISE, MOTION), agreed)
    free = jnp.maximum(free, 1 - state.started)
    # A network that wavers around one half has nothing to say about a still scene.
    trust = free + (1 - free) * (2 * clean - 1) ** 2
    slowly = jnp.where(now > 0, RISING_SHARE, FALLING_SHARE)
    mixed = jnp.clip(state.alpha + (slowly + (1 - slowly) * free) * trust * now, 0, 1)
    share = RISING_SHARE + (1 - RISING_SHARE) * free
    picture = state.planes + share * (planes - state.planes)
    state = State(mixed, picture, clean, usable.astype(jnp.float32))
    return state, jnp.where(usable, mixed * presence(mixed), jnp.nan)


def presence(alpha: jax.Array) -> jax.Array:
    """1 where a mask is of somebody, 0 where it is nothing but doubt; float32 [].

    However small a person is, much of their mask is sure; a mask of doubt alone is a room that
    looks a little like a person. It takes what is smoothed, so that it changes slowly.

    Args:
      alpha: float32 [h, w] in [0, 1].
    """
    shown, sure = (alpha > SHOWN).sum(), (alpha > SURE).sum()
    return _ramp(sure / jnp.maximum(shown, 1), NOBODY, SOMEBODY)


def _ramp(x: jax.Array, low: float, high: float) -> jax.Array:
    return jnp.clip((x - low) / (high - low), 0, 1)


IMPLEMENTATIONS = {
    "c": Implementation(_by_c, platforms=("cpu",)),
    "xla": Implementation(_by_xla),
}
"""By preference, best first."""
