"""A still picture with transparency between what stands behind the person and the person."""

from pathlib import Path

import cv2
import numpy as np

from segjax.images import read_rgba
from segjax.live.backgrounds import Background, Color, Picture, fit
from segjax.memory import aligned


class Overlay:
    """A logo or a frame, scaled to cover the picture and cut at the middle, as a background is.

    Raises:
      SegjaxError: the file is missing, no picture, or has no transparent part.
    """

    def __init__(self, path: Path) -> None:
        pixels = read_rgba(path)
        # Multiplied before it is scaled, or colours that nobody sees would come in at its edges.
        opacity = pixels[..., 3:]
        colours = np.rint(pixels[..., :3] * (opacity / 255)).astype(np.uint8)
        self._original = np.concatenate([colours, opacity], axis=-1)
        self._layer: np.ndarray | None = None

    def layer(self, height: int, width: int) -> np.ndarray:
        """uint8 [2, height, width, 3], not to be written to: what it adds to each byte behind it,
        and how many 255ths of that it lets through. The same array until the size changes."""
        if self._layer is None or self._layer.shape[1:3] != (height, width):
            fitted = fit(self._original, height, width)
            through = np.repeat(255 - fitted[..., 3:], 3, axis=-1)
            # Cubic enlargement overshoots.
            self._layer = aligned(np.stack([np.minimum(fitted[..., :3], 255 - through), through]))
            self._layer.flags.writeable = False
        return self._layer

    def over(self, pixels: np.ndarray) -> np.ndarray:
        """Lays it over uint8 RGB [H, W, 3]."""
        adds, through = self.layer(*pixels.shape[:2])
        return cv2.add(cv2.multiply(pixels, through, scale=1 / 255), adds)

    def alone(self, height: int, width: int) -> np.ndarray:
        """uint8 RGBA [height, width, 4] of straight alpha; the colour is 0 where the opacity is."""
        adds, through = self.layer(height, width)
        opacity = 255 - through
        colours = cv2.divide(adds, opacity, scale=255)
        return np.concatenate([colours, opacity[..., :1]], axis=-1)


def overlaid(behind: Background, overlay: Overlay | None) -> Background:
    """A background with the overlay before it, if there is one."""
    return Overlaid(behind, overlay) if overlay else behind


class Overlaid(Background):
    """A background with an overlay before it, in its covers too.

    Where the step makes the background itself, `picture` is the overlay's layer, for it to lay
    between.
    """

    def __init__(self, behind: Background, overlay: Overlay) -> None:
        if isinstance(behind, Color):  # a picture of it is laid over once, and not at every frame
            behind = Picture(np.full((16, 16, 3), behind.color, np.uint8))
        self.kind = behind.kind
        self.strength = behind.strength
        self.layered = self.kind != "picture"
        self._behind = behind
        self._overlay = overlay
        self._below: np.ndarray | None = None
        self._both = np.empty(0, np.uint8)

    def picture(self, time_s: float, height: int, width: int) -> np.ndarray:
        below = self._behind.picture(time_s, height, width)
        if below is None:
            return self._overlay.layer(height, width)
        if below is not self._below:
            self._both = aligned(self._overlay.over(below))
            self._both.flags.writeable = False
            self._below = below
        return self._both

    def cover(self, height: int, width: int, time_s: float) -> np.ndarray:
        below = self._behind.cover(height, width, time_s)
        if self.kind == "transparent":
            return self._overlay.alone(height, width)
        return self._overlay.over(below)
