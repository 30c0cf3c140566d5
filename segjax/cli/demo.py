"""What `make demo` does after `serve`: a before/after picture, and where to look.

python -m segjax.cli.demo --video out/demo.mp4 --picture out/demo.png
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segjax.errors import SegjaxError
from segjax.images import write_image
from segjax.live.sample import Sample
from segjax.live.sources import open_source

AT_S = 2.5
"""The moment to show: the sample's camera stands farthest to one side there."""


@dataclass(frozen=True)
class Options:
    """Show what serve made of the sample."""

    video: Path
    """What `segjax serve --source sample --sink VIDEO` wrote."""
    picture: Path
    """Where the before/after picture goes."""


def main(options: Options) -> None:
    """Writes the picture and says where to look.

    Raises:
      SegjaxError: the video is not what serve makes of the sample, or the disk is full.
    """
    write_image(options.picture, before_after(options.video))
    print(f"look at {options.video}: the sample with its room blurred")
    print(f"    and {options.picture}: before and after, side by side")


def before_after(video: Path) -> np.ndarray:
    """The sample and the video's frame of the same moment: uint8 RGB [H, 2 W, 3]."""
    with open_source(str(video)) as source:
        for frame in source:
            if frame.time_s >= AT_S and frame.pixels.shape[:2] == Sample.size:
                return np.hstack([Sample().picture(frame.time_s), frame.pixels])
    raise SegjaxError(
        f"{video} shows no sample after {AT_S} s; make it by serve --source sample, 150 frames"
    )


if __name__ == "__main__":
    from segjax.cli import run

    run("demo", sys.argv[1:], prog="python -m segjax.cli.demo")
