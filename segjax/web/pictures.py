"""Pictures that a browser sends, and backgrounds that a folder offers."""

import functools
import io
import secrets
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from segjax.errors import SegjaxError
from segjax.images import decode_image, is_image
from segjax.live.backgrounds import Background, Drawn, Picture, fit, parse_background
from segjax.live.containers import PLAIN
from segjax.scenery import SCENES, draw

LARGEST_BYTES = 10 * 1024 * 1024
LARGEST_PIXELS = 40_000_000
KINDS = ("JPEG", "PNG", "WEBP")

KEPT_SIZE = (720, 1280)
"""Height and width that a kept picture covers: the largest that is sent."""

KEPT_LONGEST = 2560
"""Pixels of a kept picture's long side: of a longer one the middle, as frames show no more."""

KEPT = 24
"""Pictures of browsers that are kept; the one not used for longest goes first."""

THUMBNAIL = (90, 160)

Make = Callable[[], Background]


class TooLarge(SegjaxError):
    """A picture of more bytes or pixels than are taken."""

    def __init__(self, what: str = "10 MB") -> None:
        super().__init__(
            f"this picture has more than {what}, the most that is taken; make it smaller and try "
            "again"
        )


class NoPicture(SegjaxError):
    """Bytes that are no picture of a kind that is taken."""


def size_of(data: bytes, kinds: tuple[str, ...] = KINDS) -> tuple[int, int]:
    """Height and width by a picture's header; no pixel is decoded.

    Raises:
      NoPicture: it is none of `kinds`, whatever it is called.
      TooLarge: it has more than 40 megapixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=kinds) as picture:
                width, height = picture.size
    except Image.DecompressionBombError:
        width, height = LARGEST_PIXELS, 2
    except Exception as error:  # a damaged header raises what it likes
        raise NoPicture(
            f"this is no {' or '.join(kinds)} picture, whatever its name; choose another file"
        ) from error
    if height * width > LARGEST_PIXELS:
        raise TooLarge(f"{LARGEST_PIXELS // 1_000_000} megapixels")
    return height, width


def read_upload(data: bytes) -> np.ndarray:
    """A browser's picture as uint8 RGB [h, w, 3], no larger than needed to cover 1280×720, and of
    one longer than 2560 pixels then the middle.

    Raises:
      TooLarge, NoPicture: see `size_of`; more than 10 MB; damaged; less than 16 pixels a side.
    """
    if len(data) > LARGEST_BYTES:
        raise TooLarge
    size_of(data)
    try:
        pixels = decode_image(data, "this picture")
    except SegjaxError as error:
        raise NoPicture(str(error)) from error
    scale = max(kept / side for kept, side in zip(KEPT_SIZE, pixels.shape[:2], strict=True))
    if scale < 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    top, left = (max(0, side - KEPT_LONGEST) // 2 for side in pixels.shape[:2])
    return pixels[top : top + KEPT_LONGEST, left : left + KEPT_LONGEST].copy()  # a view keeps all


def backgrounds_in(folder: Path) -> dict[str, Make]:
    """The pictures and videos of a folder by name, not of its sub-folders. They are opened when
    they are chosen; files of other kinds, hidden ones and links out of the folder are left out.

    Raises:
      SegjaxError: no such folder, or it holds none.
    """
    if not folder.is_dir():
        raise SegjaxError(f"got --backgrounds {folder}, which is no folder; give one of pictures")
    here = folder.resolve()
    found = {
        path.name: (lambda path=path: parse_background(str(path)))
        for path in sorted(here.iterdir())
        if not path.name.startswith(".")
        and path.is_file()
        and path.resolve().is_relative_to(here)
        and (is_image(path) or path.suffix.lower() in PLAIN)
    }
    if not found:
        raise SegjaxError(
            f"the folder {folder} holds no backgrounds; they are pictures, and videos that end in "
            f"{', '.join(PLAIN)}; give another folder"
        )
    return found


def scenes() -> dict[str, Make]:
    """The rooms and views that are drawn, by name."""
    return {name: functools.partial(Scene, name) for name in SCENES}


class Scene(Drawn):
    """A drawn scene whose one drawing is fitted to all sizes but a thumbnail's: a stream changes
    its size from one frame to the next."""

    def _at(self, height: int, width: int) -> np.ndarray:
        if (height, width) == THUMBNAIL:
            return draw(self._name, height, width)
        return fit(_drawn(self._name), height, width)


@functools.cache
def _drawn(name: str) -> np.ndarray:
    return draw(name, *KEPT_SIZE)


class Pictures:
    """The backgrounds to choose from, by id: those that were given, and those that browsers sent,
    which are kept in memory only. May be used from any thread."""

    def __init__(self, given: Mapping[str, Make]) -> None:
        self._given = {f"given-{number}": item for number, item in enumerate(given.items())}
        self._sent: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def names(self) -> list[dict[str, str]]:
        """What is there for everybody: id and name. What a browser sent, only that one knows."""
        return [{"id": key, "name": _title(name)} for key, (name, _) in self._given.items()]

    def add(self, data: bytes) -> str:
        """Keeps a browser's picture and gives its id.

        Raises:
          TooLarge, NoPicture: see `read_upload`.
        """
        pixels = read_upload(data)
        key = secrets.token_urlsafe(12)
        with self._lock:
            self._sent[key] = pixels
            while len(self._sent) > KEPT:
                self._sent.popitem(last=False)
        return key

    def background(self, key: str) -> Background:
        """A new background of that id.

        Raises:
          SegjaxError: there is none, or its file cannot be read.
        """
        if key in self._given:
            return self._given[key][1]()
        with self._lock:
            if key in self._sent:
                self._sent.move_to_end(key)
                return Picture(self._sent[key])
        raise SegjaxError("that picture is no longer there; choose it again from your files")

    def thumbnail(self, key: str) -> bytes:
        """A small JPEG of it.

        Raises:
          SegjaxError: see `background`.
        """
        pixels = self.background(key).picture(0.0, *THUMBNAIL)
        return encode(pixels) if pixels is not None else b""


def encode(pixels: np.ndarray, quality: int = 85) -> bytes:
    """uint8 RGB [H, W, 3] as a JPEG."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def chequerboard(height: int = 720, width: int = 1280, side: int = 20) -> np.ndarray:
    """What stands for nothing: uint8 RGB [height, width, 3]."""
    odd = np.add.outer(np.arange(height) // side, np.arange(width) // side) % 2
    return np.repeat(np.where(odd, 205, 240).astype(np.uint8)[..., None], 3, axis=2)


def _title(name: str) -> str:
    return Path(name).stem.replace("_", " ").replace("-", " ")
