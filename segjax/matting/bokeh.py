"""The room out of focus, as a fast lens shows it."""

import jax
import jax.numpy as jnp

from segjax.matting.effects import BLUR_RANGE, blur_sigma, mean_room, weighted_room

KNEE = 0.2
"""How far what the sensor clipped is opened again: its white is taken for 1 / KNEE times the light
that it stands for. A lamp is much brighter than the paper beside it, and a picture shows both as
white; on photographs, 0.2 gives lamps discs that stand out, and leaves walls as bright as they are.
"""


def bokeh_room(small: jax.Array, alpha: jax.Array, strength: float | jax.Array) -> jax.Array:
    """The room without the person, every point of it a disc: float32 [h / 2, w / 2, 3]
    in [0, 1].

    What is averaged is light: colours are squared, which is near enough to the screen's gamma, and
    the brightest are opened again by the inverse of Reinhard's curve ("Photographic Tone
    Reproduction for Digital Images", 2002), so that a small lamp remains a bright disc where a mean
    of bytes would drown it. Colours keep their hue, and a plain wall its brightness. The blur is as
    wide as `blurred_room`'s of the same strength, and weighted as there: no colour of the person
    bleeds into it.

    Args:
      small: float32 [h, w, 3] in [0, 1], the frame at the mask's size.
      alpha: float32 [h, w] in [0, 1].
      strength: in (0, 1]; a float32 [] may change without a compilation.
    """
    light = jnp.moveaxis(small, -1, 0) ** 2
    light = light / (1 + KNEE - light.max(0))
    weighted = weighted_room(light, alpha)
    # The deviation of a disc, along either axis, is half its radius.
    radius = 2 * blur_sigma(strength, weighted.shape[1:])
    largest = 2 * BLUR_RANGE[1] * max(weighted.shape[1:])
    # A spectrum's rounding may leave a trace below 0.
    light = jnp.maximum(mean_room(weighted, _discs(weighted, radius, largest)), 0)
    light = light * (1 + KNEE) / (1 + light.max(0))
    return jnp.moveaxis(jnp.sqrt(light), 0, -1)


def _discs(planes: jax.Array, radius: float | jax.Array, largest: float) -> jax.Array:
    """The means of planes [C, h, w] over discs of a radius of at most `largest` pixels.

    By spectra: their cost does not follow the radius. Outside the map there is nothing.
    """
    height, width = planes.shape[1:]
    # With a margin, or discs would come in again at the other side. Spectra like small factors.
    rows, columns = (-(-(side + int(largest) + 1) // 16) * 16 for side in (height, width))
    down, right = (jnp.minimum(jnp.arange(n), n - jnp.arange(n)) for n in (rows, columns))
    away = jnp.sqrt(down[:, None] ** 2.0 + right**2.0)
    disc = jnp.clip(radius + 0.5 - away, 0, 1)
    spectra = jnp.fft.rfft2(planes, (rows, columns)) * jnp.fft.rfft2(disc / disc.sum())
    return jnp.fft.irfft2(spectra, (rows, columns))[:, :height, :width]
