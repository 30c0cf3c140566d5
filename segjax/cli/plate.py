"""`segjax plate`: a picture of the empty room, which helps to find the person in front of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from segjax.cli.serve import size_of
from segjax.errors import SegjaxError
from segjax.images import write_image
from segjax.live.loop import say
from segjax.live.sources import open_source
from segjax.live.watch import hardly_differs, thumbnail

FRAMES = 16
"""Whose mean is taken: a quarter of the noise of one."""


@dataclass(frozen=True)
class Options:
    """Take a picture of the empty room, for `segjax serve --plate`.

    The camera has to stay where it is, then. Take another one when the light has changed much.

    Examples:
      segjax plate --out room.png
      segjax plate --out room.png --source "HD Pro Webcam" --wait-s 10
    """

    out: Path
    """The PNG to write."""
    source: Annotated[str, tyro.conf.arg(metavar="SRC")] = "0"
    """A camera, as for `segjax serve`."""
    wait_s: float = 5.0
    """Seconds to leave the picture in."""
    camera_size: Annotated[str, tyro.conf.arg(metavar="WIDTHxHEIGHT")] = "1280x720"
    """What a camera is asked for: the same as `segjax serve` is."""


def main(options: Options) -> None:
    """Writes the picture.

    Raises:
      SegjaxError: the source is not usable, something moved in it, or the disk is full.
    """
    source = open_source(options.source, size=size_of(options.camera_size), say=say)
    say(f"leave the picture: it is taken in {options.wait_s:g} s")
    taken: list[np.ndarray] = []
    with source:
        for frame in source:
            if source.live and frame.time_s < options.wait_s:
                continue
            taken.append(frame.pixels.copy())
            if len(taken) == FRAMES:
                break
    if not taken:
        raise SegjaxError(f"{source.name} gave no picture; try again")
    first = thumbnail(taken[0])
    if not all(hardly_differs(first, thumbnail(pixels)) for pixels in taken):
        raise SegjaxError(
            "something moved in the picture while it was taken; leave it, and let the camera be, "
            "and try again, with more time by --wait-s"
        )
    mean = np.mean(taken, axis=0, dtype=np.float32)
    write_image(options.out, np.rint(mean).astype(np.uint8))
    say(f"wrote {options.out}; use it by: segjax serve --plate {options.out}")
