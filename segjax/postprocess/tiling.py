"""Pictures of any size through a network of one size: overlapping tiles, blended."""

from collections.abc import Callable

import numpy as np


def predict_tiled(
    predict: Callable[[np.ndarray], np.ndarray],
    pixels: np.ndarray,
    tile: tuple[int, int],
    *,
    overlap: float = 0.25,
) -> np.ndarray:
    """The map of a whole picture from those of its tiles.

    A tile's share falls off towards its edges, where a network sees least around it, so no seam
    shows. Tiles at the border lie within the picture; a picture smaller than a tile is mirrored
    out to its size.

    Args:
      predict: uint8 [h, w, C] of the tile's size → float32 [h, w] or [h, w, L].
      pixels: uint8 [H, W, C].
      tile: (height, width) that `predict` takes.
      overlap: share of a tile's side that it has in common with the next one, at least; in [0, 1).

    Returns:
      float32 [H, W] or [H, W, L].

    Raises:
      ValueError: the overlap is out of range, a side of the tile is not positive, the picture is
        empty, or `predict` gives a map of another size than its tile.
    """
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap: got {overlap}; it is at least 0 and below 1")
    if min(tile) < 1 or not pixels.size:
        raise ValueError(f"got tiles of {tile} for a picture of {pixels.shape}; no side may be 0")
    height, width = pixels.shape[:2]
    padded = _mirror(pixels, tile)
    share = _window(tile[0])[:, None] * _window(tile[1])
    total: np.ndarray | None = None
    shares = np.zeros(padded.shape[:2], np.float32)
    for y in _starts(padded.shape[0], tile[0], overlap):
        for x in _starts(padded.shape[1], tile[1], overlap):
            at = np.s_[y : y + tile[0], x : x + tile[1]]
            found = predict(padded[at])
            if found.shape[:2] != tuple(tile):
                raise ValueError(f"got a map of {found.shape} for a tile of {tile}; sizes agree")
            if total is None:
                total = np.zeros((*shares.shape, *found.shape[2:]), np.float32)
            weight = share.reshape(*tile, *[1] * (found.ndim - 2))
            total[at] += weight * found
            shares[at] += share
    assert total is not None
    mean = total / shares.reshape(*shares.shape, *[1] * (total.ndim - 2))
    return mean[:height, :width]


def _mirror(pixels: np.ndarray, tile: tuple[int, int]) -> np.ndarray:
    missing = [max(0, side - have) for side, have in zip(tile, pixels.shape[:2], strict=True)]
    return np.pad(pixels, [(0, missing[0]), (0, missing[1]), (0, 0)], mode="symmetric")


def _starts(size: int, tile: int, overlap: float) -> np.ndarray:
    """Where tiles begin: evenly spread, the last one at the end."""
    step = max(1, int(tile * (1 - overlap)))
    count = 1 + -(-(size - tile) // step)
    return np.rint(np.linspace(0, size - tile, count)).astype(int)


def _window(side: int) -> np.ndarray:
    """float32 [side], highest in the middle and never 0."""
    return np.sin(np.pi * (np.arange(side) + 0.5) / side).astype(np.float32)
