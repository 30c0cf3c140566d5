"""Maps of labels as pictures: palette PNGs, and colours laid over the photograph."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2  # noqa: F401  # before PyAV: both carry FFmpeg, and OpenCV's must be loaded first
import numpy as np

from segjax.files import replacing

OVERLAY = 0.55
"""Share of a label's colour in an overlay."""


def palette(count: int) -> np.ndarray:
    """uint8 [count, 3]: colours that tell labels apart; those of PASCAL VOC, whose 0 is black.

    Raises:
      ValueError: `count` is not in 1..256.
    """
    if not 1 <= count <= 256:
        raise ValueError(f"got {count} labels; a palette has 1 to 256")
    label = np.arange(count)[:, None]
    channel = np.arange(3)
    bits = [((label >> (3 * place + channel)) & 1) << (7 - place) for place in range(3)]
    return sum(bits, start=np.zeros((count, 3), int)).astype(np.uint8)


def to_labels(found: np.ndarray) -> np.ndarray:
    """uint8 [H, W] of probabilities: the likeliest of [H, W, classes], or 1 above ½ of [H, W]."""
    return (found.argmax(-1) if found.ndim == 3 else found > 0.5).astype(np.uint8)


def write_labels(path: Path, labels: np.ndarray, colours: np.ndarray) -> None:
    """Writes uint8 [H, W] as a palette PNG: the file holds the labels, viewers show the colours.

    Raises:
      SegjaxError: the file cannot be written.
    """
    import av

    table = np.zeros((256, 4), np.uint8)  # alpha, red, green, blue
    table[:, 0] = 255
    table[: len(colours), 1:] = colours
    height, width = labels.shape
    encoder: Any = av.CodecContext.create("png", "w")  # as a video codec, which its stub is not
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "pal8"
    encoder.time_base = Fraction(1)
    indexed: Any = (np.ascontiguousarray(labels), table)
    frame = av.VideoFrame.from_ndarray(indexed, format="pal8")
    data = b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))
    with replacing(path) as beside:
        beside.write_bytes(data)


def overlay(pixels: np.ndarray, labels: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3]: the picture with each label's colour laid over it; label 0 is left clear."""
    shares = np.where(labels > 0, OVERLAY, 0.0)[..., None]
    return np.rint(pixels * (1 - shares) + colours[labels] * shares).astype(np.uint8)
