"""A window on the screen, through OpenCV."""

import functools
import os
import subprocess
import sys
from types import TracebackType

import cv2
import numpy as np

from segjax.errors import SegjaxError
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

_CLOSING_KEYS = {ord("q"), 27}  # 27 is Escape


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
    stays until it is closed.

    Raises:
      SegjaxError: no window can be shown here.
    """

    name = "window"
    paced = True
    title = "segjax (q to quit)"

    def __init__(self) -> None:
        # Qt warns of fonts that OpenCV's windows do not use.
        os.environ.setdefault(
            "QT_LOGGING_RULES", "default.warning=false;qt.qpa.fonts.warning=false"
        )
        check_display()
        self._shown = 0
        self._ended = False

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
        cv2.imshow(self.title, _bgr(frame.pixels))
        self._shown += 1
        self.idle()

    def idle(self) -> None:
        if self._shown and not self._ended:
            closed = cv2.waitKey(1) & 0xFF in _CLOSING_KEYS
            self._ended = closed or cv2.getWindowProperty(self.title, cv2.WND_PROP_VISIBLE) < 1

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


@functools.lru_cache(maxsize=1)
def _chequerboard(height: int, width: int) -> np.ndarray:
    odd = np.add.outer(np.arange(height) // 16, np.arange(width) // 16) % 2
    return np.repeat(np.where(odd, 150, 105).astype(np.uint8)[..., None], 3, axis=2)
