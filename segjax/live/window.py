"""A window on the screen, through OpenCV."""

import functools
import os
import subprocess
import sys
import time
from types import TracebackType

import cv2
import numpy as np

from segjax.errors import SegjaxError
from segjax.live.controls import Controls
from segjax.live.frames import Frame, Sink

INSTEAD = "give --sink a video file as out.mp4, a folder for PNGs, or null"

PROBE_LIMIT_S = 20.0

_PROBE = """
import cv2
cv2.namedWindow("segjax")
cv2.waitKey(1)
cv2.destroyAllWindows()
"""

_LOOK = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL  # no tool bar

KEYS = {
    "n": "next background",
    "+ -": "blur stronger, weaker",
    "m": "mirror",
    "s": "split: camera | what leaves",
    "k": "mask",
    "f": "figures",
    "space": "pause, go on",
    "?": "these keys",
    "q": "quit",
}
"""What a window's keys do. Mirror, split, mask and figures are of the window alone."""

TOLD_S = 2.0
"""How long a line about what a key did stays."""


def check_display() -> None:
    """Opens a window in a child process, since OpenCV's Qt aborts the process where it cannot.

    Raises:
      SegjaxError: no window can be shown here.
    """
    try:
        child = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=PROBE_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        raise SegjaxError(
            f"a window did not open within {PROBE_LIMIT_S:g} s; the display does not answer; "
            f"{INSTEAD}"
        ) from None
    if child.returncode == 0:
        return
    if "not implemented" in child.stderr:
        raise SegjaxError(
            "this OpenCV shows no windows (opencv-python-headless); a window needs opencv-python; "
            f"{INSTEAD}"
        )
    raise SegjaxError(f"there is no display that a window can open on; {INSTEAD}")


class Window(Sink):
    """Shows frames at their own times, until q or Escape is pressed or the window is closed.

    It must be used from the main thread. Transparency is shown as a chequerboard. A single picture
    stays until it is closed. `controls`, set once there is a run, makes the keys change it; until
    then they change the window alone.

    Raises:
      SegjaxError: no window can be shown here.
    """

    name = "window"
    paced = True
    main_thread = True
    title = "segjax (? for keys)"

    def __init__(self) -> None:
        # Qt warns of fonts that OpenCV's windows do not use.
        os.environ.setdefault(
            "QT_LOGGING_RULES", "default.warning=false;qt.qpa.fonts.warning=false"
        )
        check_display()
        self.controls: Controls | None = None
        self._shown = 0
        self._ended = False
        self._last: Frame | None = None
        self._on: set[str] = set()
        """Of mirror, split, mask, figures and help: which are switched on, by their keys."""
        self._told, self._told_until_s = "", 0.0

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def lingers(self) -> bool:
        return self._shown == 1

    def write(self, frame: Frame) -> None:
        if self._ended:
            return
        if not self._shown:
            cv2.namedWindow(self.title, _LOOK)
            cv2.resizeWindow(self.title, frame.pixels.shape[1], frame.pixels.shape[0])
        self._shown += 1
        self._last = frame
        self._show()
        self.idle()

    def idle(self) -> None:
        if self._shown and not self._ended:
            key = cv2.waitKey(1) & 0xFF
            if key != 0xFF:
                self._press(chr(key))
            closed = cv2.getWindowProperty(self.title, cv2.WND_PROP_VISIBLE) < 1
            self._ended = self._ended or closed

    def _press(self, key: str) -> None:
        if key in "q\x1b":  # Escape
            self._ended = True
            return
        if key in "smkf?":
            self._on ^= {key}
            if self.controls is not None:
                self.controls.views.wanted = bool(self._on & {"s", "k"})
        elif self.controls is not None:
            if key == "n":
                self._tell(self.controls.next_background())
            elif key in "+=-":
                self._tell(self.controls.blur(-1 if key == "-" else 1))
            elif key == " ":
                self._tell(self.controls.pause())
        self._show()

    def _tell(self, line: str) -> None:
        self._told, self._told_until_s = line, time.monotonic() + TOLD_S

    def _show(self) -> None:
        assert self._last is not None
        picture = self._view(self._last)
        if "m" in self._on:
            picture = cv2.flip(picture, 1)
        lines = []
        if "f" in self._on and self.controls is not None:
            now = self.controls.status()
            lines += [
                f"{now.state}, {now.fps:.1f} fps",
                f"composed {now.composed}, repeated {now.repeated}",
                f"covered {now.covered}, dropped {now.dropped}",
                f"quality {now.quality}",
            ]
        if "?" in self._on:
            lines += [f"{key}   {does}" for key, does in KEYS.items()]
        if time.monotonic() < self._told_until_s:
            lines.append(self._told)
        cv2.imshow(self.title, _written_on(picture, lines))

    def _view(self, frame: Frame) -> np.ndarray:
        """What the window shows of a frame, BGR: what leaves or, if it is not a cover, the camera's
        picture beside it or the mask instead."""
        picture = _bgr(frame.pixels)
        wanted = self._on & {"s", "k"}
        if not wanted or self.controls is None or getattr(frame, "kind", "") == "covered":
            return picture
        seen = self.controls.views.find(frame.index)
        if seen is None:
            return picture
        pixels, alpha = seen
        height, width = picture.shape[:2]
        if "k" in wanted:
            grey = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_LINEAR)
            picture = cv2.cvtColor(cv2.convertScaleAbs(grey, alpha=255), cv2.COLOR_GRAY2BGR)
        if "s" in wanted:
            middle = width // 2
            picture[:, :middle] = cv2.cvtColor(pixels[:, :middle], cv2.COLOR_RGB2BGR)
            picture[:, middle : middle + 1] = 255
        return picture

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown:
            cv2.destroyAllWindows()


def _bgr(pixels: np.ndarray) -> np.ndarray:
    if pixels.shape[2] == 3:
        return cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    opacity = pixels[..., 3].astype(np.float32) * (1 / 255)
    colours = cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGR)
    return cv2.blendLinear(colours, _chequerboard(*pixels.shape[:2]), opacity, 1 - opacity)


def _written_on(picture: np.ndarray, lines: list[str]) -> np.ndarray:
    """The picture with lines of text on a dark corner."""
    if not lines:
        return picture
    size = max(0.35, picture.shape[0] / 1200)
    step = round(34 * size)
    font = cv2.FONT_HERSHEY_SIMPLEX
    across = max(cv2.getTextSize(line, font, size, 1)[0][0] for line in lines) + step
    corner = picture[: step * len(lines) + step // 2, :across]
    corner[:] = cv2.convertScaleAbs(corner, alpha=0.35)
    for number, line in enumerate(lines, 1):
        place = (step // 2, step * number - step // 8)
        cv2.putText(picture, line, place, font, size, (255, 255, 255), 1, cv2.LINE_AA)
    return picture


@functools.lru_cache(maxsize=1)
def _chequerboard(height: int, width: int) -> np.ndarray:
    odd = np.add.outer(np.arange(height) // 16, np.arange(width) // 16) % 2
    return np.repeat(np.where(odd, 150, 105).astype(np.uint8)[..., None], 3, axis=2)
