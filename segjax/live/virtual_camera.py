"""A virtual camera: what Zoom, Meet or Teams list beside the real ones, through pyvirtualcam."""

import itertools
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from segjax.errors import SegjaxError
from segjax.live.backgrounds import fit
from segjax.live.frames import Frame, Sink

USUAL_SIZES = ((720, 1280), (1080, 1920), (360, 640), (480, 640))
"""(height, width) to try where a device refuses the source's own size."""

FORMATS = {
    "RGB": None,
    "BGR": cv2.COLOR_RGB2BGR,
    "I420": cv2.COLOR_RGB2YUV_I420,
    "RGBA": cv2.COLOR_RGB2RGBA,
}
"""pyvirtualcam's names of the formats to try, and how OpenCV gets there from RGB."""


class VirtualCamera(Sink):
    """Frames for the programs that read a virtual camera, at its own size and in its own format.

    The device is asked for the source's size and for RGB first, then for other sizes and formats,
    until it grants one. Frames of another size are scaled to cover that and cut at the middle.

    Args:
      size: (height, width) of the frames to expect.
      rate: of the frames, a second.
      device: /dev/video path or name; the first that is free if None.
      backend: of pyvirtualcam, by name; by default all of this system are tried.

    Raises:
      SegjaxError: pyvirtualcam is not installed, or no device can be opened; in `write`, it is
        gone.
    """

    paced = True

    def __init__(
        self,
        size: tuple[int, int],
        rate: float,
        *,
        device: str | None = None,
        backend: str | None = None,
    ) -> None:
        camera = _open(size, rate, device, backend)
        self._camera = camera
        self._size = camera.height, camera.width
        self._convert = FORMATS[camera.fmt.name]
        self.name = (
            f"virtual camera {camera.device} ({camera.width}x{camera.height} {camera.fmt.name})"
        )

    def write(self, frame: Frame) -> None:
        pixels = frame.pixels
        if pixels.shape[:2] != self._size:
            pixels = fit(pixels, *self._size)
        if self._convert is not None:
            pixels = cv2.cvtColor(pixels, self._convert)
        try:
            self._camera.send(np.ascontiguousarray(pixels))
        except Exception as error:
            raise SegjaxError(
                f"the {self.name} takes no more pictures ({error}); `segjax doctor` says why; "
                "then start again"
            ) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._camera.close()


def _open(size: tuple[int, int], rate: float, device: str | None, backend: str | None) -> Any:
    """The first camera that opens, of all sizes and formats."""
    try:
        import pyvirtualcam
    except ImportError as error:
        raise SegjaxError(
            f"a virtual camera needs pyvirtualcam, which does not load ({error}); "
            "`pip install 'segjax[camera]'`"
        ) from error
    refusal = ""
    own = tuple(max(2, side // 2 * 2) for side in size)  # I420 has half as many colours a side
    for (height, width), name in itertools.product(dict.fromkeys((own, *USUAL_SIZES)), FORMATS):
        form = pyvirtualcam.PixelFormat[name]
        try:
            return pyvirtualcam.Camera(
                width, height, rate, fmt=form, device=device, backend=backend
            )
        except Exception as error:  # each backend has its own
            refusal = refusal or " ".join(str(error).split())
    raise SegjaxError(
        f"no virtual camera can be opened ({refusal}); `segjax doctor` says what to do"
    )
