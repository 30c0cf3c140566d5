"""Backgrounds drawn by arithmetic: rooms and views, at any size, from a seed. No file is read."""

from collections.abc import Callable

import numpy as np

from segjax.errors import SegjaxError
from segjax.scenery import views, walls
from segjax.scenery.canvas import Canvas, linear

SCENES: dict[str, Callable[[Canvas], np.ndarray]] = {
    "studio": walls.studio,
    "blinds": walls.blinds,
    "evening": views.evening,
    "bookshelf": views.bookshelf,
    "plaster": walls.plaster,
    "paper": walls.paper,
    "dusk": views.dusk,
    "brand": lambda canvas: walls.brand(canvas, linear(BRAND)),
}
"""Name → how it is drawn."""

BRAND = (28, 78, 110)
"""The colour of `brand` where none is given, RGB."""


def draw(
    name: str,
    height: int,
    width: int,
    *,
    seed: int = 0,
    color: tuple[int, int, int] | None = None,
) -> np.ndarray:
    """Draws a scene: uint8 RGB [height, width, 3], the same for the same arguments.

    `color`, RGB of 0..255 each, is the paint of "brand"; the others have their own.

    Raises:
      SegjaxError: there is no such scene, or a colour was given to another than "brand".
    """
    if name not in SCENES:
        raise SegjaxError(f"there is no scene {name!r}; scenes are {', '.join(SCENES)}")
    canvas = Canvas(height, width, seed)
    if color is None:
        return SCENES[name](canvas)
    if name != "brand":
        raise SegjaxError(
            f"got a colour for the scene {name!r}; only 'brand' takes one; leave it out"
        )
    return walls.brand(canvas, linear(color))
