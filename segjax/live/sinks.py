"""Where frames go, by what the user wrote: a window, a virtual camera, a file, PNGs, nowhere."""

import contextlib
from pathlib import Path
from types import TracebackType

from segjax.errors import SegjaxError
from segjax.files import replacing_folder
from segjax.images import is_image, write_image
from segjax.live.frames import Frame, Sink, Source
from segjax.live.recording import FORMATS, Recording
from segjax.live.virtual_camera import VirtualCamera
from segjax.live.window import Window


def open_sink(spec: str, source: Source, *, transparent: bool = False) -> Sink:
    """The sink that `spec` names: `window`, `virtual-camera`, `virtual-camera:DEVICE`, `null`, a
    video file, or a folder for PNGs.

    `source` says what the frames will be like; `transparent`, whether they are RGBA.

    Raises:
      SegjaxError: there is no such sink, it cannot hold transparency, or it is the source itself.
    """
    if spec == "window":
        return Window()
    if spec == "null":
        return Null()
    kind, _, device = spec.partition(":")
    if kind == "virtual-camera":
        if transparent:
            raise SegjaxError(
                "a virtual camera cannot hold transparency; give another --background, or a sink "
                "that can: a folder for PNGs, a .mov or a .webm file"
            )
        return VirtualCamera(source.size, source.rate, device=device or None)
    path = Path(spec)
    if path.exists() and Path(source.name).exists() and path.samefile(source.name):
        raise SegjaxError(f"{spec} is the source and a sink; one of them must be another file")
    if path.is_dir() or not path.suffix:
        return PngFolder(path)
    if path.suffix.lower() in FORMATS:
        return Recording(path, rate=source.rate, transparent=transparent, audio=source.audio)
    if is_image(path):
        raise SegjaxError(
            f"the sink {spec} is one picture; pictures are written to a folder; "
            f"give a folder's name, as {path.with_suffix('')}"
        )
    raise SegjaxError(
        f"the sink {spec} ends in {path.suffix!r}; a sink is 'window', 'virtual-camera', 'null', a "
        f"folder, or a video file that ends in {', '.join(FORMATS)}; give one of these"
    )


class Null(Sink):
    """Nowhere."""

    name = "null"

    def write(self, frame: Frame) -> None:
        pass


class PngFolder(Sink):
    """A folder of 000000.png, 000001.png, …, one for each frame, RGBA where the frames are.

    Raises:
      SegjaxError: the folder cannot be written, or the disk is full.
    """

    def __init__(self, path: Path) -> None:
        if path.exists() and not path.is_dir():
            raise SegjaxError(f"the sink {path} is a file; PNGs need a folder; give another name")
        self.name = str(path)
        self._path = path
        self._files = contextlib.ExitStack()
        self._beside: Path | None = None
        self._count = 0

    def write(self, frame: Frame) -> None:
        if self._beside is None:
            self._beside = self._files.enter_context(replacing_folder(self._path))
        write_image(self._beside / f"{self._count:06d}.png", frame.pixels)
        self._count += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.__exit__(kind, error, trace)
