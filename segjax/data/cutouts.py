"""People cut out of their pictures, and pasted into others."""

import cv2
import numpy as np

from segjax.data import Item
from segjax.data.camera import Pair

HAIR = 2
"""Rows above the first that is more than half person: soft hair."""


def own_colours(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture, where its soft edge has the colour of the person next to it: no old room."""
    sure = cv2.threshold(mask, 249, 255, cv2.THRESH_BINARY)[1]
    reach = {"ddepth": cv2.CV_32F, "ksize": (11, 11), "normalize": False}
    near = cv2.boxFilter(sure, **reach)
    colour = cv2.boxFilter(cv2.bitwise_and(image, image, mask=sure), **reach)
    spread = colour * (255 / np.maximum(near, 255))[..., None]
    # Far wisps of hair have no sure neighbour: they keep what colour they have.
    edge = (mask > 0) & (mask < 250) & (near > 0)
    return cv2.copyTo(spread.astype(np.uint8), edge.view(np.uint8), image.copy())


def cut_out(item: Item) -> np.ndarray:
    """Who is in a picture, from just above the first row that shows them: float32 [h, w, 4].

    Colours are multiplied by alpha, the fourth channel, so that sampling mixes none of the old room
    in. Alpha is in [0, 1], colours in 0..255. Somebody must be there.
    """
    mask = item["mask"]
    alpha = mask.astype(np.float32)[..., None] * (1 / 255)
    layer = np.concatenate([own_colours(item["image"], mask) * alpha, alpha], axis=2)
    first = int(np.flatnonzero((mask > 127).any(1))[0])
    return layer[max(0, first - HAIR) :]


def stands_free(mask: np.ndarray) -> bool:
    """Whether a cut-out has no straight edge but at the bottom, where it leaves the frame."""
    sides = (mask[:, 0], mask[:, -1], mask[0])
    return bool((mask > 127).any()) and all(bool((side > 12).mean() < 0.02) for side in sides)


def shrunk(layer: np.ndarray, scale: float) -> tuple[np.ndarray, float]:
    """A cut-out to be sampled at `scale`, and the scale that is left: it is made small by area,
    since a linear sample of a much larger picture skips pixels."""
    if scale >= 1:
        return layer, scale
    height, width = (max(1, round(scale * side)) for side in layer.shape[:2])
    return cv2.resize(layer, (width, height), interpolation=cv2.INTER_AREA), 1.0


def paste(
    image: np.ndarray, mask: np.ndarray, layer: np.ndarray, scale: float, left: float, top: float
) -> Pair:
    """A cut-out put in front of a picture uint8 [H, W, 3] and its mask uint8 [H, W].

    Args:
      layer: as `cut_out` gives it; it is scaled by `scale`.
      left, top: where its corner lies, in pixels of the picture.
    """
    height, width = mask.shape
    layer, scale = shrunk(layer, scale)
    matrix = np.array([[scale, 0, left], [0, scale, top]])
    placed = cv2.warpAffine(layer, matrix, (width, height), flags=cv2.INTER_LINEAR)
    alpha = placed[..., 3]
    image = np.rint(placed[..., :3] + (1 - alpha[..., None]) * image).astype(np.uint8)
    return image, np.rint(255 * alpha + (1 - alpha) * mask).astype(np.uint8)
