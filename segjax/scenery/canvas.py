"""What the scenes are drawn on: coordinates, noise, shapes and a lens, all in linear light."""

import copy
from typing import Self

import cv2
import numpy as np
from numpy.typing import ArrayLike

Light = tuple[float, float, float]
"""RGB in linear light, where 1 is white under the picture's own lamp."""

PERIOD = 4
"""Noise repeats after so many picture heights sideways, beyond the edges of usual pictures."""


class Canvas:
    """A picture being drawn.

    Lengths are in picture heights, so a scene looks the same at every size. `light` is float32
    [H, W, 3]; `y` [H, 1] runs from 0 at the top to 1, and `x` [1, W] is 0 in the middle.

    Args:
      height, width: in pixels, at least 1.
      seed: of all chance.
    """

    def __init__(self, height: int, width: int, seed: int = 0) -> None:
        self.height, self.width = height, width
        self.pixels = height
        """A picture height's pixels; of a part too, whose own height is less."""
        self.rng = np.random.default_rng(seed)
        self.y = ((np.arange(height, dtype=np.float32) + 0.5) / height)[:, None]
        self.x = ((np.arange(width, dtype=np.float32) + 0.5 - width / 2) / height)[None]
        self.half = width / height / 2
        """Where the right edge is."""
        self.light = np.zeros((height, width, 3), np.float32)

    def part(self, left: float, top: float, right: float, bottom: float) -> Self:
        """The part of the picture around a rectangle, perhaps empty, to draw small things fast."""
        edge = 1 / self.pixels
        columns = slice(*np.searchsorted(self.x[0], (left - edge, right + edge)))
        rows = slice(*np.searchsorted(self.y[:, 0], (top - edge, bottom + edge)))
        part = copy.copy(self)
        part.x, part.y, part.light = self.x[:, columns], self.y[rows], self.light[rows, columns]
        part.height, part.width = part.light.shape[:2]
        return part

    def noise(self, cells: int, octaves: int = 1, *, stretch: float = 1.0) -> np.ndarray:
        """Smooth noise of mean 0 and standard deviation about 1: float32 [H, W].

        `cells` bumps a height, and `octaves` of twice as many each, half as strong; `stretch`ed
        sideways. A cubic spline through chance, so that its slopes are smooth too. Octaves finer
        than a pixel are left out.
        """
        total = np.zeros((self.height, self.width), np.float32)
        for octave in range(octaves):
            count = cells * 2**octave
            columns = max(1, round(PERIOD * count / stretch))
            chance = self.rng.spawn(1)[0]
            if count > self.pixels:
                continue
            lattice = chance.standard_normal((count + 4, columns), np.float32)
            down = _spline(self.y * count + 1.5 - np.arange(count + 4, dtype=np.float32))
            total += down @ _across(self.x[0] * (count / stretch), lattice) * (2.2 * 0.5**octave)
        return total

    def line(self, cells: int, octaves: int = 1) -> np.ndarray:
        """Noise along x alone: float32 [1, W]."""
        total = np.zeros((1, self.width), np.float32)
        for octave in range(octaves):
            count = PERIOD * cells * 2**octave
            lattice = self.rng.standard_normal((1, count), np.float32)
            total += _across(self.x[0] * (count / PERIOD), lattice) * (1.5 * 0.5**octave)
        return total

    def inside(self, distance: np.ndarray, softness: float = 0.0) -> np.ndarray:
        """Coverage in [0, 1] of where `distance` is positive; its edge is one pixel, or soft."""
        wide = max(softness, 1 / self.pixels)
        return np.clip(distance / wide + 0.5, 0, 1)

    def box(
        self, left: float, top: float, right: float, bottom: float, softness: float = 0.0
    ) -> np.ndarray:
        """Coverage of a rectangle: float32 [H, W]."""
        across = self.inside(np.minimum(self.x - left, right - self.x), softness)
        return across * self.inside(np.minimum(self.y - top, bottom - self.y), softness)

    def polygons(self, shapes: list[np.ndarray], softness: float = 0.0) -> np.ndarray:
        """Coverage of polygons, each [n, 2] of x and y; blurred by `softness`."""
        coverage = np.zeros((self.height, self.width), np.float32)
        for shape in shapes:
            points = (shape - (self.x[0, 0], self.y[0, 0])) * self.pixels * 16
            cv2.fillPoly(coverage, [np.rint(points).astype(np.int32)], (1.0,), cv2.LINE_8, 4)
        return soften(coverage, softness * self.pixels)

    def lay(self, color: ArrayLike, coverage: np.ndarray) -> None:
        """Paints a colour, [3] or [H, W, 3], where `coverage` [H, W] says."""
        self.light += coverage[..., None] * (np.asarray(color, np.float32) - self.light)

    def add(self, color: Light, amount: np.ndarray) -> None:
        """Adds light of a colour."""
        self.light += amount[..., None] * np.array(color, np.float32)

    def defocus(self, radius: float) -> None:
        """A lens out of focus: every point becomes a disc."""
        pixels = radius * self.pixels
        reach = int(pixels) + 1
        across = np.arange(-reach, reach + 1, dtype=np.float32)
        disc = np.clip(pixels - np.hypot(across, across[:, None]) + 0.5, 0, 1)
        border = cv2.BORDER_REPLICATE
        self.light = cv2.filter2D(self.light, -1, disc / disc.sum(), borderType=border)

    def develop(self, *, vignette: float = 0.0, grain: float = 0.6) -> np.ndarray:
        """The finished picture: uint8 RGB [H, W, 3].

        Highlights roll off instead of clipping, and grain of about one level, the same in all
        colours, keeps smooth walls from falling into bands.
        """
        falloff = 1 - vignette * (self.x**2 / max(self.half**2, 0.25) + (2 * self.y - 1) ** 2) / 2
        light = np.maximum(self.light * falloff[..., None], 0)
        bright = np.maximum(light - 0.7, 0)
        light = np.minimum(light, 0.7) + bright / (1 + bright / 0.3)
        encoded = 255 * np.power(light, 1 / 2.2)
        dither = self.rng.random((2, self.height, self.width, 1), np.float32).sum(0) - 1
        grains = self.rng.standard_normal((self.height, self.width, 1), np.float32) * grain
        return np.clip(np.rint(encoded + dither + grains), 0, 255).astype(np.uint8)


def smooth(start: float, end: float, value: np.ndarray) -> np.ndarray:
    """0 up to `start`, 1 from `end` on, without a kink between."""
    t = np.clip((value - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)


def soften(plane: np.ndarray, pixels: float) -> np.ndarray:
    """A plane blurred by so many pixels."""
    if pixels < 0.3:
        return plane
    return cv2.GaussianBlur(plane, (0, 0), pixels, borderType=cv2.BORDER_REPLICATE)


def relief(bumps: np.ndarray) -> np.ndarray:
    """How much steeper bumps rise towards the light at the upper left: float32 [H, W]."""
    height, width = bumps.shape
    rows, columns = (np.maximum(np.arange(side) - 1, 0) for side in (height, width))
    return bumps - bumps[rows][:, columns]


def linear(color: tuple[int, int, int]) -> Light:
    """A colour of 0..255 in linear light."""
    red, green, blue = ((value / 255) ** 2.2 for value in color)
    return red, green, blue


def _across(cells: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """Splines through the rows of a lattice [n, m], which repeats sideways, at places in cells."""
    first = int(np.floor(cells[0])) - 1
    places = np.arange(first, int(np.floor(cells[-1])) + 3)
    return lattice[:, places % lattice.shape[1]] @ _spline(cells - places[:, None])


def _spline(offset: np.ndarray) -> np.ndarray:
    """The cubic B-spline's weight at an offset in cells."""
    d = np.abs(offset.astype(np.float32))
    far = np.maximum(2 - d, 0)
    near = np.maximum(1 - d, 0)
    return far * far * far / 6 - near * near * near * (2 / 3)
