"""Pictures for people: cells, captions, contact sheets, legends, a confusion matrix. uint8 RGB."""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from segjax.images import resize

CELL = 192
"""Side in pixels of one picture on a contact sheet."""

CAPTION = 22
"""Height of a line of text."""

IGNORED = (224, 224, 192)
"""The colour of what does not count, as PASCAL VOC has it."""

_BACK, _WHITE, _BLACK = (32, 32, 32), (255, 255, 255), (0, 0, 0)
_FULL = np.array([8, 48, 107])


def write_text(
    pixels: np.ndarray,
    text: str,
    at: tuple[int, int],
    colour: tuple[int, int, int] = _WHITE,
    size: float = 0.5,
) -> None:
    """Writes a line into the picture, its base line beginning at (x, y). Latin letters only."""
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(pixels, plain, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)


def text_width(text: str, size: float = 0.5) -> int:
    """Pixels that `write_text` needs."""
    return cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)[0][0]


def captioned(text: str, pixels: np.ndarray) -> np.ndarray:
    """The picture under a line of text."""
    caption = np.zeros((CAPTION, pixels.shape[1], 3), np.uint8)
    write_text(caption, text, (4, 16))
    return np.concatenate([caption, pixels])


def fit(
    pixels: np.ndarray, size: tuple[int, int] = (CELL, CELL), *, exact: bool = False
) -> np.ndarray:
    """The picture at its own aspect ratio in the middle of a cell; `exact` mixes no colours."""
    height, width = pixels.shape[:2]
    scale = min((size[0] - 4) / height, (size[1] - 4) / width)
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    cell = np.full((*size, 3), _BACK, np.uint8)
    top, left = (size[0] - h) // 2, (size[1] - w) // 2
    cell[top : top + h, left : left + w] = (
        cv2.resize(pixels, (w, h), interpolation=cv2.INTER_NEAREST)
        if exact
        else resize(pixels, (h, w))
    )
    return cell


def contact_sheet(rows: Iterable[np.ndarray], columns: int = 2) -> np.ndarray:
    """Lays pictures of one size in columns: uint8 [H, W, 3].

    Raises:
      ValueError: there are none.
    """
    rows = list(rows)
    if not rows:
        raise ValueError("got no rows; a contact sheet needs at least one")
    columns = min(columns, len(rows))
    rows += [np.zeros_like(rows[0])] * (-len(rows) % columns)
    lines = [np.concatenate(rows[i : i + columns], axis=1) for i in range(0, len(rows), columns)]
    return np.concatenate(lines)


def paint(labels: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] of labels [H, W]; those without a colour, as 255, are `IGNORED`."""
    table = np.full((256, 3), IGNORED, np.uint8)
    table[: len(colours)] = colours
    return table[labels]


def legend(names: Sequence[str], colours: np.ndarray, width: int) -> np.ndarray:
    """Swatches with their names, in as many lines as they need: uint8 [H, width, 3]."""
    cell = 30 + max(map(text_width, names))
    columns = max(1, width // cell)
    sheet = np.zeros((CAPTION * -(-len(names) // columns), width, 3), np.uint8)
    for number, (name, colour) in enumerate(zip(names, colours, strict=True)):
        x, y = number % columns * cell + 4, number // columns * CAPTION
        sheet[y + 4 : y + 18, x : x + 14] = colour
        cv2.rectangle(sheet, (x, y + 4), (x + 13, y + 17), (128,) * 3)  # black ones show too
        write_text(sheet, name, (x + 20, y + 16))
    return sheet


def draw_confusion(confusion: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """A confusion matrix as uint8 [H, W, 3]: each true class's pixels by what they were taken for.

    Rows sum to 100 %; one without pixels is grey. Beyond 24 classes the numbers are left out.
    """
    count = len(names)
    cell = 48 if count <= 24 else 18
    margin = 12 + max(map(text_width, names))
    top = margin + CAPTION
    canvas = np.full((top + count * cell + 8, margin + count * cell + 8, 3), 255, np.uint8)
    totals = confusion.sum(1)
    for row in range(count):
        for column in range(count):
            share = confusion[row, column] / totals[row] if totals[row] else 0.0
            y, x = top + row * cell, margin + column * cell
            colour = 255 + share * (_FULL - 255) if totals[row] else np.full(3, 235)
            canvas[y : y + cell - 1, x : x + cell - 1] = colour.round()
            text = f"{100 * share:.3g}" if share >= 0.1 else f"{100 * share:.1f}"
            if cell >= 48 and share >= 0.0005:
                at = (x + (cell - text_width(text, 0.4)) // 2, y + cell // 2 + 4)
                write_text(canvas, text, at, _WHITE if share > 0.4 else _BLACK, 0.4)
    for number, name in enumerate(names):
        middle = number * cell + cell // 2 + 4
        write_text(canvas, name, (margin - 6 - text_width(name), top + middle), _BLACK)
        # Written level, then turned to read upwards.
        level = np.full((cell, margin, 3), 255, np.uint8)
        write_text(level, name, (6, cell // 2 + 4), _BLACK)
        x = margin + number * cell
        canvas[CAPTION:top, x : x + cell] = np.rot90(level)
    write_text(canvas, "% of the true class (row) taken for (column)", (4, 16), _BLACK, 0.45)
    return canvas
