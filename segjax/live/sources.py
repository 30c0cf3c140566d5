"""Where frames come from, by what the user wrote: a file, a camera, a stream, the sample."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from segjax.images import find_images, is_image, read_image
from segjax.live import opening
from segjax.live.cameras import DEVICES, Camera
from segjax.live.frames import Frame, Source
from segjax.live.sample import Sample
from segjax.live.streams import ADDRESS, Stream
from segjax.live.videos import VideoFile

IMAGE_RATE = 30.0
"""Pictures of a folder are taken for the frames of a clip at this rate."""


def open_source(
    spec: str,
    *,
    size: tuple[int, int] = (720, 1280),
    rate: float = 30.0,
    say: Callable[[str], None] = print,
) -> Source:
    """The source that `spec` names: `sample`, a picture, a folder of pictures, a video file, a
    stream by its address, or a camera by index, path or name. `size` (height, width) and `rate` are
    asked of a camera.

    Raises:
      SegjaxError: there is no such source, or it cannot be read.
    """
    if spec == "sample":
        return Sample()
    if ADDRESS.match(spec):
        return Stream(spec)
    path = Path(spec)
    if path.is_dir():
        return ImageFiles(find_images(path), spec)
    if is_image(path):
        return ImageFiles([path], spec)
    if path.parent != DEVICES and (path.is_file() or _looks_like_file(path)):
        return VideoFile(path)
    return Camera(spec, size=size, rate=rate, say=say)


def _looks_like_file(path: Path) -> bool:
    """Whether a name is a file's rather than a camera's, which may hold blanks and full stops."""
    return len(path.parts) > 1 or re.fullmatch(r"\.\w{1,5}", path.suffix) is not None


class ImageFiles(Source):
    """Pictures as the frames of a clip at 30 frames a second.

    Raises:
      SegjaxError: a file is missing or is no picture. The first one is read at once.
    """

    rate = IMAGE_RATE

    def __init__(self, paths: list[Path], name: str) -> None:
        self.name = name
        self._paths = paths
        first = opening.within(opening.LIMIT_S, lambda: read_image(paths[0]), str(paths[0]))
        height, width = first.shape[:2]
        self.size = (height, width)

    def __iter__(self) -> Iterator[Frame]:
        for index, path in enumerate(self._paths):
            yield Frame(read_image(path), index, index / self.rate, time.perf_counter())
