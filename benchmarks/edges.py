"""What guided edges look like: photograph, the network's mask enlarged, the guided one.

    python benchmarks/edges.py --picture out/edges.png \\
        --crop segjax/assets/sample/astronaut.jpg 0 150 8 150 84
    python benchmarks/edges.py --picture out/fingers.png \\
        --crop ../shared/data/videos/sign_want.mkv 18 120 110 320 180 \\
        --crop ../shared/data/videos/sign_milk.mkv 13 150 90 200 112 \\
        --crop ../shared/data/videos/sign_brother.mkv 16 130 40 240 135

Each `--crop` is one row: a picture or video, the number of its frame, and left, top, width and
height in pixels. The person stands on green, so that what is kept of the room shows. A video's
frames are seen one after another up to that one, as live.
"""

import argparse
from pathlib import Path

import numpy as np

from segjax import weights
from segjax.errors import SegjaxError
from segjax.images import resize, write_image
from segjax.live.sources import open_source
from segjax.matting import Effect, Matting
from segjax.sheets import captioned

GREEN = (0, 178, 64)
WIDTH = 400
"""Of a column, to which crops are enlarged."""
GAP = 4


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--crop",
        action="append",
        nargs=6,
        required=True,
        metavar=("FILE", "FRAME", "LEFT", "TOP", "WIDTH", "HEIGHT"),
    )
    parser.add_argument("--model", default="portrait", help="name or path of weights")
    parser.add_argument("--picture", type=Path, required=True, help="file to write")
    options = parser.parse_args()
    try:
        released = weights.load(options.model)
        rows = [
            row(released, file, *(int(number) for number in numbers))
            for file, *numbers in options.crop
        ]
        write_image(options.picture, np.concatenate(rows))
    except (SegjaxError, ValueError) as error:
        parser.exit(2, f"error: {error}\n")


def row(
    released: weights.Released, file: str, number: int, left: int, top: int, width: int, height: int
) -> np.ndarray:
    """The crop three times, side by side, uint8 RGB.

    Raises:
      SegjaxError: the file cannot be read.
      ValueError: the frame or the crop lies outside of it.
    """
    ways = [
        Matting(released, Effect("color", color=GREEN), refinement=guided, guided=guided)
        for guided in (False, True)
    ]
    for frame in open_source(file):
        if not (0 <= left < left + width <= frame.pixels.shape[1]) or not (
            0 <= top < top + height <= frame.pixels.shape[0]
        ):
            raise ValueError(f"{file}: got a crop outside of the frame, {frame.pixels.shape}")
        composites = [way(frame.pixels, None, frame.index).image for way in ways]
        if frame.index == number:
            size = (round(height * WIDTH / width), WIDTH)
            cells = [
                captioned(name, resize(picture[top : top + height, left : left + width], size))
                for name, picture in zip(
                    ("photograph", "plain", "guided"), (frame.pixels, *composites), strict=True
                )
            ]
            gap = np.full((cells[0].shape[0], GAP, 3), 255, np.uint8)
            return np.concatenate([cells[0], gap, cells[1], gap, cells[2]], axis=1)
    raise ValueError(f"{file}: got frame {number}; it has fewer")


if __name__ == "__main__":
    main()
