"""The built-in source: a moving picture made from one portrait, for a machine without a camera."""

import itertools
import math
import time
from collections.abc import Iterator
from importlib import resources

import cv2
import numpy as np

from segjax.images import read_image
from segjax.live.frames import Frame, Source

PERIOD_S = 10.0
"""The movement repeats without a seam after this time."""

_ENLARGED = 3
"""The portrait is enlarged once, well, so that the warp of every frame stays near 1:1."""


class Sample(Source):
    """A portrait under a camera that pans, zooms and sways: 1280×720 at 30 frames a second.

    Endless, and the same in every run. The picture goes on as its own mirror image beyond its
    edges, so no border shows.
    """

    name = "sample"
    size = (720, 1280)
    rate = 30.0

    def __init__(self) -> None:
        asset = resources.files("segjax") / "assets" / "sample" / "astronaut.jpg"
        with resources.as_file(asset) as path:
            portrait = read_image(path)
        self._portrait = cv2.resize(
            portrait, None, fx=_ENLARGED, fy=_ENLARGED, interpolation=cv2.INTER_CUBIC
        )

    def picture(self, time_s: float) -> np.ndarray:
        """The picture at a time: uint8 RGB [720, 1280, 3]."""
        height, width = self.size
        phase = 2 * math.pi * time_s / PERIOD_S
        # Where the camera looks, in the portrait's own pixels; how many of them are visible
        # across; and how far it is tilted. Head and shoulders stay in view throughout.
        across = 470 + 30 * math.cos(phase)
        x = 245 + 22 * math.sin(phase)
        y = 138 + 10 * math.sin(2 * phase)
        tilt = math.radians(1.5 * math.sin(3 * phase))
        scale = _ENLARGED * across / width
        cos, sin = scale * math.cos(tilt), scale * math.sin(tilt)
        matrix = np.array(
            [
                [cos, -sin, _ENLARGED * x - cos * width / 2 + sin * height / 2],
                [sin, cos, _ENLARGED * y - sin * width / 2 - cos * height / 2],
            ]
        )
        return cv2.warpAffine(
            self._portrait,
            matrix,
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )

    def __iter__(self) -> Iterator[Frame]:
        for index in itertools.count():
            time_s = index / self.rate
            yield Frame(self.picture(time_s), index, time_s, time.perf_counter())
