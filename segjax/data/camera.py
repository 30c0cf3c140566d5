"""What light and a camera do to a picture: small pure functions on uint8 pictures.

Each is `(rng, image, mask, …) -> (image, mask)` with image uint8 [H, W, 3] RGB and mask uint8
[H, W], which it leaves alone; it changes no input and draws only from `rng`.
"""

import dataclasses
import math
from typing import cast

import cv2
import numpy as np

Pair = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class CameraChanges:
    """How strongly pictures are changed. A probability or a range of 0 switches a change off."""

    exposure: float = 0.3
    """Largest change of gain and gamma, natural logarithm."""
    white_balance: float = 0.12
    """Largest change of the red and blue gain, natural logarithm."""
    saturation: float = 0.5
    """Largest change of saturation, as a share."""
    hue: float = 12.0
    """Largest rotation of the hues, degrees."""
    grey: float = 0.03
    """Probability of a grey picture."""
    blur: float = 0.25
    """Probability of a picture out of focus, shaken or enlarged by the camera."""
    noise: float = 0.35
    """Probability of sensor noise."""
    jpeg: float = 0.3
    """Probability of JPEG artefacts."""


def change_camera(
    rng: np.random.Generator, image: np.ndarray, mask: np.ndarray, strengths: CameraChanges
) -> Pair:
    """All of them at random: light → colour → blur → noise → JPEG."""
    image, mask = change_light(rng, image, mask, strengths)
    image, mask = change_colour(rng, image, mask, strengths)
    if rng.random() < strengths.blur:
        image, mask = blur(rng, image, mask)
    if rng.random() < strengths.noise:
        image, mask = add_noise(rng, image, mask)
    if rng.random() < strengths.jpeg:
        image, mask = compress(rng, image, mask)
    return image, mask


# Light and colour


def change_light(
    rng: np.random.Generator, image: np.ndarray, mask: np.ndarray, strengths: CameraChanges
) -> Pair:
    """Exposure, gamma and white balance, by one table a channel."""
    # Triangular: most pictures near their own light, few near black or white.
    gain, gamma = np.exp(rng.triangular(-1, 0, 1, 2) * strengths.exposure)
    lift = rng.triangular(-1, 0, 1) * 0.15 * strengths.exposure
    balance = np.exp(rng.uniform(-1, 1, 3) * strengths.white_balance * np.array([1, 0.3, 1]))
    levels = np.linspace(0, 1, 256)[:, None] ** gamma
    table = np.clip((levels * gain * balance + lift) * 255 + 0.5, 0, 255).astype(np.uint8)
    return cv2.LUT(image, table[None]), mask


def change_colour(
    rng: np.random.Generator, image: np.ndarray, mask: np.ndarray, strengths: CameraChanges
) -> Pair:
    """Saturation and hue, by one 3×3 matrix; sometimes grey."""
    saturation = 1 + rng.uniform(-1, 1) * strengths.saturation
    angle = math.radians(rng.uniform(-1, 1) * strengths.hue)
    if rng.random() < strengths.grey:
        saturation = 0.0
    luma = np.array([0.299, 0.587, 0.114])
    # A rotation about the grey axis (Rodrigues), which keeps greys.
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    rotation = np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
    matrix = (saturation * np.eye(3) + (1 - saturation) * luma) @ rotation
    return cv2.transform(image, matrix), mask


# The camera


def blur(rng: np.random.Generator, image: np.ndarray, mask: np.ndarray) -> Pair:
    """Out of focus, shaken, or enlarged from fewer pixels."""
    kind = rng.integers(3)
    if kind == 0:
        sigma = rng.uniform(0.4, 1.6)
        return cv2.GaussianBlur(image, (0, 0), sigma), mask
    if kind == 1:
        length, angle = rng.uniform(2, 7), rng.uniform(0, math.pi)
        steps = np.linspace(-0.5, 0.5, 15) * length
        kernel = np.zeros((7, 7), np.float32)
        rows = np.rint(3 + steps * math.sin(angle)).astype(int)
        columns = np.rint(3 + steps * math.cos(angle)).astype(int)
        np.add.at(kernel, (np.clip(rows, 0, 6), np.clip(columns, 0, 6)), 1)
        return cv2.filter2D(image, -1, kernel / kernel.sum()), mask
    factor = rng.uniform(1.3, 2.5)
    height, width = mask.shape
    few = cv2.resize(
        image,
        (max(1, round(width / factor)), max(1, round(height / factor))),
        interpolation=cv2.INTER_AREA,
    )
    return cv2.resize(few, (width, height)), mask


def add_noise(rng: np.random.Generator, image: np.ndarray, mask: np.ndarray) -> Pair:
    """Sensor noise, fine or, as a camera's own smoothing leaves it, coarse; of 1 to 12 levels."""
    height, width = mask.shape
    sigma = 12 * rng.uniform(0.08, 1) ** 2
    coarse = rng.random() < 0.5
    shape = (height // 2 + 1, width // 2 + 1) if coarse else (height, width)
    noise = rng.standard_normal((*shape, 3), np.float32)
    if rng.random() < 0.5:
        noise[..., 1:] = noise[..., :1]  # of brightness alone
    noise = np.multiply(noise, sigma, out=noise)
    if coarse:
        noise = cv2.resize(noise, (width, height))
    return cv2.add(image, noise, dtype=cv2.CV_8U), mask


def compress(rng: np.random.Generator, image: np.ndarray, mask: np.ndarray) -> Pair:
    """JPEG artefacts of quality 25 to 90, as a camera's MJPG has them."""
    quality = int(rng.integers(25, 91))
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    # The channels' order is wrong both ways, and so right again.
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return cast(np.ndarray, decoded), mask
