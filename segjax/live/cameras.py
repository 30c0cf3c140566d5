"""Cameras, through OpenCV."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from segjax.errors import SegjaxError
from segjax.live import opening
from segjax.live.frames import Frame, Source, SourceLost

DEVICES = Path("/dev")
NAMES = Path("/sys/class/video4linux")

LOST_AFTER_S = 2.0
"""A camera that has given no frame for this long is gone."""

_BACKENDS = {
    "linux": cv2.CAP_V4L2,
    "darwin": cv2.CAP_AVFOUNDATION,
    "win32": cv2.CAP_DSHOW,
}

_ABSENT = "it is not plugged in, or its driver gave up; plug it in"

if sys.platform == "linux":  # where permission has been checked before
    _REFUSED = (
        "it is busy: another program uses it, and a camera serves one at a time; "
        "close that program (`fuser -v /dev/video*` names it)"
    )
else:
    _REFUSED = (
        "it is absent, in use by another program, or forbidden by the system; plug it in, close "
        "other video programs, or allow camera access in the system's privacy settings"
    )


def list_cameras() -> dict[int, str]:
    """The cameras of this machine: index → name.

    Linux says their names without opening them; elsewhere the first indices are tried, and a
    camera is called by its own.
    """
    if sys.platform == "linux":
        found = {}
        for entry in NAMES.glob("video*"):
            # A webcam shows up once for its pictures (0) and again for its metadata (1).
            if _text(entry / "index") in ("", "0"):
                index = int(entry.name.removeprefix("video"))
                found[index] = _text(entry / "name") or f"camera {index}"
        return dict(sorted(found.items()))
    return {index: f"camera {index}" for index in range(4) if _opens(index)}


def find_camera(which: str) -> tuple[int, str]:
    """The index and the name of the camera that `which` names by index, /dev/video path or name.

    A part of the name is enough, in any case of letters.

    Raises:
      SegjaxError: no such camera.
    """
    cameras = list_cameras() if sys.platform == "linux" or not which.isdecimal() else {}
    number = which.removeprefix(f"{DEVICES}/video")
    if number.isdecimal():
        index = int(number)
        # A container may show the device without its entry among the names.
        if sys.platform != "linux" or index in cameras or (DEVICES / f"video{index}").exists():
            return index, cameras.get(index, f"camera {index}")
    else:
        for index, name in cameras.items():
            if which.lower() in name.lower():
                return index, name
    there = ", ".join(f"{index} ({name})" for index, name in cameras.items()) or "none"
    raise SegjaxError(
        f"there is no camera {which!r}; cameras here: {there}; "
        "plug one in, or give --source a file or 'sample'"
    )


class Camera(Source):
    """A camera by index, /dev/video path or (part of its) name.

    `size` (height, width) and `rate` are asked for; `say` is told what was granted. `open_device`
    stands in for `cv2.VideoCapture` in tests. It may be left and entered again, and is found by its
    name then, since a camera that is plugged in again may get another index.

    Raises:
      SegjaxError: there is no such camera, or it may not be read; on entering, it is in use or does
        not open within `open_limit_s`.
      SourceLost: while iterating, no frame came for two seconds.
    """

    live = True

    def __init__(
        self,
        which: str,
        *,
        size: tuple[int, int] = (720, 1280),
        rate: float = 30.0,
        say: Callable[[str], None] = print,
        open_limit_s: float = opening.LIMIT_S,
        open_device: Callable[..., Any] = cv2.VideoCapture,
    ) -> None:
        self._index, self._label = find_camera(which)
        self.name = f"camera {self._index}"
        if self._label != self.name:
            self.name += f" ({self._label})"
        self.size = size
        self.rate = rate
        self._say = say
        self._open_limit_s = open_limit_s
        self._open_device = open_device
        self._device: Any = None
        self._attempt: object | None = None
        """What is opening the device; it may take for ever, and come back when nobody waits."""
        self._opening = False
        node = DEVICES / f"video{self._index}"
        if sys.platform == "linux" and node.exists() and not os.access(node, os.R_OK | os.W_OK):
            raise SegjaxError(
                f"no permission to read {self.name} at {node}; cameras belong to the group "
                "'video'; run `sudo usermod -aG video $USER` and log in again"
            )

    def __enter__(self) -> "Camera":
        if self._opening:  # no second thread beside one that is stuck
            raise SourceLost(f"{self.name} still does not open; unplug it and plug it in again")
        attempt = self._attempt = object()
        self._opening = True
        try:
            self._device = opening.within(
                self._open_limit_s, lambda: self._open_for(attempt), self.name
            )
        except BaseException:
            self._attempt = None
            raise
        return self

    def _open_for(self, attempt: object) -> Any:
        try:
            device = self._open()
        finally:
            self._opening = False
        if self._attempt is not attempt:
            device.release()
        return device

    def _open(self) -> Any:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # said better below
        names = list_cameras() if sys.platform == "linux" else {}
        if names.get(self._index) != self._label:
            moved = (index for index, name in names.items() if name == self._label)
            self._index = next(moved, self._index)
        device = self._open_device(self._index, _BACKENDS.get(sys.platform, cv2.CAP_ANY))
        height, width = self.size
        # MJPG first: over USB 2, raw pictures leave only small sizes and low rates to choose from.
        device.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        device.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        device.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        device.set(cv2.CAP_PROP_FPS, self.rate)
        if not (device.isOpened() and device.read()[0]):
            device.release()
            absent = sys.platform == "linux" and not (DEVICES / f"video{self._index}").exists()
            raise SegjaxError(f"{self.name} gives no picture; {_ABSENT if absent else _REFUSED}")
        granted_width = round(device.get(cv2.CAP_PROP_FRAME_WIDTH))
        granted_height = round(device.get(cv2.CAP_PROP_FRAME_HEIGHT))
        fourcc = round(device.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True)
        self._say(
            f"{self.name}: asked for {width}x{height} MJPG at {self.rate:g} fps, granted "
            f"{granted_width}x{granted_height} {fourcc.decode('ascii', 'replace')} "
            f"at {device.get(cv2.CAP_PROP_FPS):g} fps"
        )
        return device

    def __exit__(self, *error: object) -> None:
        device, self._device = self._device, None
        if device is not None:
            device.release()

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        first_s = last_s = time.perf_counter()
        while True:
            there, pixels = self._device.read()
            now = time.perf_counter()
            if there:
                first_s = first_s if index else now
                last_s = now
                yield Frame(_rgb(pixels), index, now - first_s, now)
                index += 1
            elif now - last_s > LOST_AFTER_S:
                raise SourceLost(
                    f"{self.name} stopped giving pictures after {index} frames; it was unplugged "
                    "or taken by another program"
                )
            else:
                time.sleep(0.02)


def _rgb(pixels: np.ndarray) -> np.ndarray:
    """OpenCV's BGR as RGB; a driver may change to grey or BGRA on its way."""
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    codes = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}
    return cv2.cvtColor(pixels, codes[channels]) if channels in codes else pixels


def _opens(index: int) -> bool:
    device = cv2.VideoCapture(index, _BACKENDS.get(sys.platform, cv2.CAP_ANY))
    opened = device.isOpened()
    device.release()
    return opened


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
