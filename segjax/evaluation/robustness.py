"""What a bad camera does to a picture, so that one can see how much a network suffers from it."""

from collections.abc import Callable

import cv2
import numpy as np

from segjax.images import decode_image


def dark(pixels: np.ndarray) -> np.ndarray:
    """A fifth of the light, and the noise of a sensor that has to make do with it."""
    return _noisy(pixels * 0.2, 4)


def noise(pixels: np.ndarray) -> np.ndarray:
    """Normal noise of 25 levels."""
    return _noisy(pixels, 25)


def blur(pixels: np.ndarray) -> np.ndarray:
    """Out of focus: a Gaussian of 1 % of the diagonal."""
    return cv2.GaussianBlur(pixels, (0, 0), 0.01 * float(np.hypot(*pixels.shape[:2])))


def jpeg(pixels: np.ndarray) -> np.ndarray:
    """Compressed to a quality of 10."""
    data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 10])[1]
    return decode_image(data.tobytes(), "a picture in memory")


def low_contrast(pixels: np.ndarray) -> np.ndarray:
    """Three tenths of the contrast, around a middle grey: a window behind, a dirty lens."""
    return np.rint(128 + 0.3 * (pixels.astype(np.float32) - 128)).astype(np.uint8)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    change.__name__: change for change in (dark, noise, blur, jpeg, low_contrast)
}
"""Name → pixels uint8 [H, W, 3] → the same shape; the same for the same picture."""


def _noisy(pixels: np.ndarray, deviation: float) -> np.ndarray:
    rng = np.random.default_rng(pixels.shape)
    noisy = pixels + deviation * rng.standard_normal(pixels.shape, np.float32)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
