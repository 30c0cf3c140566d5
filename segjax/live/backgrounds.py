"""What stands behind the person, and what leaves when there is no mask: the cover."""

import math
import re
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from segjax.errors import SegjaxError
from segjax.images import is_image, read_image
from segjax.live.frames import Frame
from segjax.live.videos import VideoFile
from segjax.memory import aligned
from segjax.scenery import SCENES, draw

Kind = Literal["blur", "bokeh", "color", "picture", "transparent"]

BLUR = 0.5
"""The strength of `blur` and `bokeh` without a number."""

CATCH_UP_S = 2.5
"""For so much time in which it was not shown a background video makes up; to decode more would hold
up the frames."""


class Background:
    """What the person stands before.

    kind: how the step treats it.
    strength: of the blur, in (0, 1]; 1 leaves nothing of the room but its colours.
    color: RGB, 0..255 each.
    layered: whether `picture` is no background but the layer of an overlay, which the step lays
      over the background that it makes.
    """

    kind: Kind
    strength: float = BLUR
    color: tuple[int, int, int] = (0, 0, 0)
    layered: bool = False

    def picture(self, time_s: float, height: int, width: int) -> np.ndarray | None:
        """uint8 RGB [height, width, 3], not to be written to, for a picture or a video at `time_s`
        of the stream; None for the other kinds, which need none."""
        return None

    def cover(self, height: int, width: int, time_s: float) -> np.ndarray:
        """What may be shown in place of a frame, since no byte of a camera went into it: uint8
        [height, width, 3], or RGBA [height, width, 4] for a transparent background. The caller owns
        it."""
        raise NotImplementedError


class Blur(Background):
    """The room, blurred. Its cover is a plain grey gradient: a blurred room is still the room."""

    kind = "blur"

    def __init__(self, strength: float = BLUR) -> None:
        self.strength = strength

    def cover(self, height: int, width: int, time_s: float) -> np.ndarray:
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
        x = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
        light = 1 - 0.12 * (x**2 + (y + 0.4) ** 2)
        return np.rint(light * np.array([150, 156, 164], np.float32)).clip(0, 255).astype(np.uint8)


class Bokeh(Blur):
    """The room out of focus: its lamps become discs."""

    kind = "bokeh"


class Color(Background):
    """One colour."""

    kind = "color"

    def __init__(self, color: tuple[int, int, int]) -> None:
        self.color = color

    def cover(self, height: int, width: int, time_s: float) -> np.ndarray:
        return np.full((height, width, 3), self.color, np.uint8)


class Transparent(Background):
    """Nothing: the frames that leave have an alpha channel."""

    kind = "transparent"

    def cover(self, height: int, width: int, time_s: float) -> np.ndarray:
        return np.zeros((height, width, 4), np.uint8)


class Picture(Background):
    """A still picture, scaled to cover the frame and cut at the middle."""

    kind = "picture"

    def __init__(self, pixels: np.ndarray) -> None:
        self._original = pixels
        self._fitted: np.ndarray | None = None

    def picture(self, time_s: float, height: int, width: int) -> np.ndarray:
        if self._fitted is None or self._fitted.shape[:2] != (height, width):
            self._fitted = aligned(self._at(height, width))
            self._fitted.flags.writeable = False
        return self._fitted

    def _at(self, height: int, width: int) -> np.ndarray:
        return fit(self._original, height, width)

    def cover(self, height: int, width: int, time_s: float) -> np.ndarray:
        return self.picture(time_s, height, width).copy()


class Drawn(Picture):
    """A scene drawn anew for every size of frame, which takes about a second at 720p."""

    def __init__(self, name: str, color: tuple[int, int, int] | None = None) -> None:
        self._name = name
        self._color = color
        self._fitted = None

    def _at(self, height: int, width: int) -> np.ndarray:
        return draw(self._name, height, width, color=self._color)


class Video(Picture):
    """A video that starts anew when it ends, shown by the time of the stream, which only goes
    forward, and not frame by frame.

    Chosen late, or after a long time in which nothing was shown, it goes on from where it is. When
    its file is gone, its last picture stays.
    """

    def __init__(self, video: VideoFile) -> None:
        self._video = video
        self._began_s = 0.0
        """When, in the stream's time, the video last started."""
        self._gone = False
        self._start()
        super().__init__(self._now.pixels)

    def picture(self, time_s: float, height: int, width: int) -> np.ndarray:
        shown = self._now
        if time_s > self._began_s + self._now_ends_s() + CATCH_UP_S:
            self._began_s = time_s - shown.time_s
        while time_s >= self._began_s + self._now_ends_s():
            self._advance()
        if self._now is not shown:
            self._original, self._fitted = self._now.pixels, None
        return super().picture(time_s, height, width)

    def _start(self) -> None:
        self._frames = iter(self._video)
        self._now = next(self._frames)
        self._next = self._take()

    def _advance(self) -> None:
        if self._next is not None:
            self._now, self._next = self._next, self._take()
            return
        ends_s = self._now_ends_s()
        try:
            self._start()
            self._began_s += ends_s
        except (SegjaxError, OSError, StopIteration):  # nor is one that cannot start anew
            self._gone = True

    def _take(self) -> Frame | None:
        try:
            return next(self._frames, None)
        except SegjaxError:  # a video that breaks off is not worth ending a call for
            return None

    def _now_ends_s(self) -> float:
        """When the time of the frame being shown is over, in the video's own time."""
        if self._next is not None:
            return self._next.time_s
        stands = self._gone or self._now.index == 0
        return math.inf if stands else self._now.time_s + 1 / self._video.rate


BLURS: dict[str, type[Blur]] = {"blur": Blur, "bokeh": Bokeh}
"""What has a strength, by its kind."""


def fit(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scales a picture until it covers height × width, and cuts what stands over, evenly."""
    scale = max(height / pixels.shape[0], width / pixels.shape[1])
    # The part of the picture that will be seen; scaling only that is cheaper, too.
    seen_height = min(pixels.shape[0], max(1, round(height / scale)))
    seen_width = min(pixels.shape[1], max(1, round(width / scale)))
    top = (pixels.shape[0] - seen_height) // 2
    left = (pixels.shape[1] - seen_width) // 2
    seen = pixels[top : top + seen_height, left : left + seen_width]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(seen, (width, height), interpolation=method)


def parse_background(spec: str) -> Background:
    """The background that `spec` names: `blur`, `bokeh`, `blur:STRENGTH`, `bokeh:STRENGTH`,
    `#rrggbb`, `transparent`, a drawn scene, `brand:#rrggbb`, or the path of a picture or a video.

    Raises:
      SegjaxError: it names none, or the file cannot be read.
    """
    kind, colon, detail = spec.partition(":")
    if kind in BLURS:
        return BLURS[kind](_strength(spec, detail)) if colon else BLURS[kind]()
    if spec == "transparent":
        return Transparent()
    if spec in SCENES:
        return Drawn(spec)
    if kind == "brand":
        return Drawn(kind, _color(spec, detail))
    if spec.startswith("#"):
        return Color(_color(spec, spec))
    path = Path(spec)
    if not path.exists():
        raise SegjaxError(
            f"got the background {spec!r}, and no such file exists; a background is 'blur', "
            "'bokeh', 'blur:STRENGTH', 'bokeh:STRENGTH', '#rrggbb', 'transparent', "
            f"{', '.join(SCENES)}, 'brand:#rrggbb', an image or a video; give one of these"
        )
    if path.is_dir():
        raise SegjaxError(f"the background {spec} is a folder; give one image or one video of it")
    return Picture(read_image(path)) if is_image(path) else Video(VideoFile(path))


def _color(spec: str, text: str) -> tuple[int, int, int]:
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise SegjaxError(
            f"got the background {spec!r}; a colour is '#' and six hexadecimal digits; "
            "write '#00ff00' for green, in quotes"
        )
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


def _strength(spec: str, text: str) -> float:
    try:
        strength = float(text)
    except ValueError:
        strength = math.nan
    if not 0 < strength <= 1:
        raise SegjaxError(
            f"got the background {spec!r}; the strength of the blur is a number above 0, which "
            f"would show the room, up to 1; write '{spec.partition(':')[0]}:0.5'"
        )
    return strength
