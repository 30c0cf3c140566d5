"""Frames in, frames out: sources, sinks, and the loop between them. No JAX, no array maths.

`frames` says what flows and what its two ends are, `sources` and `sinks` name them, `guard` decides
what may leave, and `loop` moves it. What happens to a frame is a callable that the loop is given.
"""

# OpenCV before PyAV, here, ahead of every module of the package: both bring X11 libraries, and
# OpenCV's first window hangs for good on Linux if PyAV's were loaded first.
import cv2  # noqa: F401
