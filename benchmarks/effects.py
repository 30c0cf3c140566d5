"""What the effects look like: the sample with lamps in a dark room, blur, bokeh, an overlay.

python benchmarks/effects.py --picture out/effects.png
"""

import argparse
import tempfile
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from segjax import weights
from segjax.errors import SegjaxError
from segjax.images import write_image
from segjax.live.overlays import Overlay
from segjax.live.sample import Sample
from segjax.matting import Effect, Matting

CELL = (560, 315)
"""Width and height of each of the four."""
STRENGTH = 0.35
DARK = 0.35
"""What is left of the room's light."""
TOP = (*range(20, 320, 70), *range(740, 1280, 75))
LAMPS = (
    *((x, round(40 + 50 * np.sin(np.pi * x / 640) ** 2)) for x in TOP),
    *((120, 250), (60, 340), (1120, 300), (1190, 420), (1060, 520)),
)
"""Their places (x, y), where she is not."""
COLOURS = ((255, 244, 214), (255, 176, 96), (255, 214, 140))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="portrait", help="name or path of weights")
    parser.add_argument("--picture", type=Path, required=True, help="file to write")
    options = parser.parse_args()
    try:
        write_image(options.picture, draw(weights.load(options.model)))
    except SegjaxError as error:
        parser.exit(2, f"error: {error}\n")


def draw(released: weights.Released) -> np.ndarray:
    """The four of them, uint8 RGB."""
    frame = dark_room(released, Sample().picture(0.0))
    layer = overlay(*frame.shape[:2])

    def behind(kind: Literal["blur", "bokeh"], overlaid: bool = False) -> np.ndarray:
        effect = Effect(kind, strength=STRENGTH, overlaid=overlaid)
        step = Matting(released, effect, person="largest")
        return step(frame, layer if overlaid else None, 0).image

    four = (frame, behind("blur"), behind("bokeh"), behind("bokeh", overlaid=True))
    a, b, c, d = (cv2.resize(one, CELL, interpolation=cv2.INTER_AREA) for one in four)
    return np.concatenate([np.concatenate([a, b], 1), np.concatenate([c, d], 1)])


def dark_room(released: weights.Released, picture: np.ndarray) -> np.ndarray:
    """The picture with its room darkened, and lamps in it."""
    alpha = Matting(released, Effect("color"), person="largest")(picture, None, 0).alpha
    light = DARK + (1 - DARK) * cv2.resize(alpha, picture.shape[1::-1])
    frame = (picture * light[..., None]).astype(np.uint8)
    for at, place in enumerate(LAMPS):
        cv2.circle(frame, place, 10, COLOURS[at % len(COLOURS)], -1, cv2.LINE_AA)
    return frame


def overlay(height: int, width: int) -> np.ndarray:
    """A frame and a sign, as the step takes an overlay."""
    pixels = np.zeros((height, width, 4), np.uint8)
    cv2.rectangle(pixels, (20, 20), (width - 20, height - 20), (255, 255, 255, 255), 8)
    cv2.rectangle(
        pixels, (width - 270, height - 160), (width - 24, height - 24), (32, 64, 128, 255), -1
    )
    place = (width - 240, height - 76)
    cv2.putText(
        pixels, "segjax", place, cv2.FONT_HERSHEY_DUPLEX, 1.8, (255, 255, 255, 255), 3, cv2.LINE_AA
    )
    with tempfile.TemporaryDirectory() as folder:
        write_image(path := Path(folder) / "overlay.png", pixels)
        return Overlay(path).layer(height, width)


if __name__ == "__main__":
    main()
