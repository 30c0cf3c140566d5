"""What the labels of a data set mean, and how its files write them.

    root/labels/NAME.png   the labels of images/NAME.jpg: ids as grey or palette PNG, or colours
    root/classes.txt       one class a line, NAME or NAME R G B; the first line is id 0

A folder without `classes.txt` is complete if its label files hold ids.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from segjax.data import IGNORE
from segjax.errors import SegjaxError
from segjax.labels import palette

FILE = "classes.txt"
LINE = re.compile(r"(?P<name>.*?\S)(?P<colour>(\s+\d{1,3}){3})?")


@dataclass(frozen=True)
class Classes:
    """The classes 0 … C - 1 of a data set."""

    names: tuple[str, ...]
    """One each."""
    colours: np.ndarray
    """uint8 [C, 3]: in which they are drawn."""
    ignore: tuple[int, ...] = ()
    """Ids in the files, besides 255, where nothing counts."""
    code: tuple[tuple[int, tuple[int, int, int]], ...] = ()
    """The ids of the colours of files that hold colours."""

    def __len__(self) -> int:
        return len(self.names)


def read_classes(
    root: Path | str, count: int, *, ignore: Sequence[int] = (), names: Sequence[str] = ()
) -> Classes:
    """The `count` classes of a folder, by its `classes.txt` if it has one, or else by `names`.

    Without either they are called "class 0", "class 1" … An id in `ignore` may stand in
    `classes.txt`, anywhere, but is no class if it is not below `count`.

    Raises:
      SegjaxError: the file is malformed or does not fit `count`, or `names` does not.
    """
    path = Path(root) / FILE
    if not 2 <= count < IGNORE:
        raise SegjaxError(
            f"got {count} classes; labels tell 2 to {IGNORE - 1} apart; correct model.classes"
        )
    if wrong := [number for number in ignore if not 0 <= number <= 255]:
        raise SegjaxError(f"data.ignore holds {wrong[0]}; ids in files are 0 to 255; correct it")
    rows = _read_rows(path) if path.is_file() else [(name, None) for name in names]
    where = path if path.is_file() else "data.names"
    rows = rows or [(f"class {number}", None) for number in range(count)]
    # What is ignored may stand behind the classes.
    classes = [row for number, row in enumerate(rows) if number < count or number not in ignore]
    if len(classes) != count:
        raise SegjaxError(
            f"{where} names {len(classes)} classes that are not ignored, the model has {count}; "
            "both must agree; set model.classes, or data.ignore to the ids that do not count"
        )
    colours = palette(count)
    for number, (_, colour) in enumerate(classes):
        if colour:
            colours[number] = colour
    code = tuple((number, colour) for number, (_, colour) in enumerate(rows) if colour)
    return Classes(tuple(name for name, _ in classes), colours, tuple(ignore), code)


def _read_rows(path: Path) -> list[tuple[str, tuple[int, int, int] | None]]:
    rule = "it holds one class a line, NAME or NAME R G B (0 to 255), the first line is id 0"
    try:
        lines = path.read_text(encoding="utf-8").strip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SegjaxError(f"cannot read {path}: {error}; {rule}") from None
    rows = []
    for number, line in enumerate(lines, 1):
        match = LINE.fullmatch(line.strip())
        colour = match and match["colour"] and tuple(int(part) for part in match["colour"].split())
        if not match or (colour and max(colour) > 255):
            raise SegjaxError(f"line {number} of {path} is {line!r}; {rule}; correct it")
        rows.append((match["name"], cast(Any, colour)))
    for what, values in (
        ("the name", [name for name, _ in rows]),
        ("the colour", [colour for _, colour in rows if colour]),
    ):
        twice = [value for value in values if values.count(value) > 1]
        if twice:
            raise SegjaxError(f"{path} holds {what} {twice[0]} twice; {rule}; correct one")
    return rows


def read_labels(path: Path | str, classes: Classes) -> np.ndarray:
    """The labels of a PNG as uint8 [H, W]: 0 … C - 1, and `IGNORE` where nothing counts.

    Read are grey and palette PNGs, whose numbers are the ids, and RGB ones, whose colours stand in
    `classes.txt`. Ids in `classes.ignore`, and 255, become `IGNORE`.

    Raises:
      SegjaxError: missing, not such a PNG, or it holds an id or a colour that is no class.
    """
    ids = _read_ids(Path(path), classes)
    table = np.full(256, IGNORE, np.uint8)
    table[: len(classes)] = np.arange(len(classes))
    table[list(classes.ignore)] = IGNORE
    found = np.bincount(ids.ravel(), minlength=256)
    found[[*range(len(classes)), *classes.ignore, IGNORE]] = 0
    if strangers := np.flatnonzero(found).tolist():
        raise SegjaxError(
            f"{path} holds the label {', '.join(map(str, strangers))}; the classes are 0 to "
            f"{len(classes) - 1}, {IGNORE} is ignored; correct it, raise model.classes, or put ids "
            "that do not count into data.ignore"
        )
    return cv2.LUT(ids, table)


def _read_ids(path: Path, classes: Classes) -> np.ndarray:
    """uint8 [H, W]: the ids as the file has them."""
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise SegjaxError(f"cannot read {path}: {reason}; give a readable PNG of labels") from None
    if not (data.startswith(b"\x89PNG") and len(data) > 33):
        raise SegjaxError(
            f"{path} is no PNG; labels are numbers, which JPEG would blur; save them as PNG"
        )
    depth, kind = data[24], data[25]
    if kind == 3:
        return _read_palette(path, data)
    if depth < 8:
        raise SegjaxError(
            f"{path} is a grey PNG of {depth} bit a pixel, whose numbers readers stretch to 0 … "
            "255; ids are stored in 8 bits; save it so"
        )
    pixels = _decode(path, data)
    if pixels.ndim == 3 and pixels.shape[2] == 2:
        pixels = pixels[..., 0]
    if pixels.ndim == 3:
        return _by_colour(path, cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2RGB), classes)
    if pixels.max() > 255:
        raise SegjaxError(
            f"{path} holds the label {pixels.max()}; ids are 0 to 255; save it with ids in 8 bits"
        )
    return pixels.astype(np.uint8)


def _decode(path: Path, data: bytes) -> np.ndarray:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise SegjaxError(f"{path} cannot be decoded; labels are PNG; save it again")
    return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels


def _read_palette(path: Path, data: bytes) -> np.ndarray:
    """The numbers of a palette PNG, of which OpenCV only gives the colours."""
    import av
    from av.error import FFmpegError

    try:
        codec: Any = av.CodecContext.create("png", "r")
        (frame,) = codec.decode(av.Packet(data))
        return np.ascontiguousarray(frame.to_ndarray()[0])
    except (FFmpegError, ValueError) as error:
        raise SegjaxError(
            f"{path} cannot be decoded: {error}; labels are PNG; save it again"
        ) from None


def _by_colour(path: Path, pixels: np.ndarray, classes: Classes) -> np.ndarray:
    if not classes.code:
        if (pixels == pixels[..., :1]).all():  # a grey picture saved as colour
            return np.ascontiguousarray(pixels[..., 0])
        raise SegjaxError(
            f"{path} holds colours; colours mean classes by lines NAME R G B of {FILE} beside "
            "labels/; add them, or save ids as grey PNG"
        )
    keys = _pack(np.array([colour for _, colour in classes.code], np.uint8))
    order = np.argsort(keys)
    packed = _pack(pixels)
    place = np.minimum(np.searchsorted(keys[order], packed), len(keys) - 1)
    strange = keys[order][place] != packed
    if strange.any():
        red, green, blue = pixels[strange][0].tolist()
        raise SegjaxError(
            f"{path} holds the colour {red} {green} {blue}, which is of no class; the colours "
            f"stand in {FILE}; correct it or add a line"
        )
    ids = np.array([number for number, _ in classes.code], np.uint8)
    return ids[order][place]


def _pack(colours: np.ndarray) -> np.ndarray:
    """uint8 [..., 3] → int32 [...], one number a colour."""
    return colours.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
