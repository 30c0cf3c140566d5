"""Pictures from and to files: uint8 RGB inside, whatever the file held."""

import re
from pathlib import Path

import cv2
import numpy as np

from segjax.errors import SegjaxError
from segjax.files import replacing

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
SMALLEST_SIDE = 16


def is_image(path: Path) -> bool:
    """Whether the file's suffix is that of a picture."""
    return path.suffix.lower() in SUFFIXES


def find_images(folder: Path) -> list[Path]:
    """The pictures of a folder by name, where 10 comes after 9.

    Raises:
      SegjaxError: the folder holds none.
    """

    def natural(path: Path) -> list[tuple[int, str]]:
        parts = re.findall(r"\d+|\D+", path.name)
        return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]

    paths = sorted((path for path in folder.iterdir() if is_image(path)), key=natural)
    if not paths:
        raise SegjaxError(
            f"the folder {folder} holds no pictures; they end in {', '.join(sorted(SUFFIXES))}; "
            "give another folder"
        )
    return paths


def read_image(path: Path | str) -> np.ndarray:
    """Reads a picture as uint8 RGB [H, W, 3].

    Grey becomes RGB, 16-bit keeps its upper 8 bits, transparency is laid over white, EXIF
    rotation is applied where the file has no transparency.

    Raises:
      SegjaxError: missing, empty, not a picture, or smaller than 16 pixels a side.
    """
    return decode_image(_bytes(Path(path)), path)


def decode_image(data: bytes, name: Path | str) -> np.ndarray:
    """`read_image` of a file's bytes, called `name` in errors."""
    pixels = _decode(data, name)
    if pixels.ndim == 2:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    elif pixels.shape[2] == 4:
        alpha = pixels[..., 3:].astype(np.float32) / 255
        blended = pixels[..., :3] * alpha + 255 * (1 - alpha)
        pixels = np.ascontiguousarray(np.rint(blended).astype(np.uint8)[..., ::-1])
    else:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    if min(pixels.shape[:2]) < SMALLEST_SIDE:
        raise SegjaxError(
            f"{name} is {pixels.shape[1]}x{pixels.shape[0]} pixels; a picture needs at least "
            f"{SMALLEST_SIDE} pixels a side; give a larger one"
        )
    return pixels


def read_rgba(path: Path | str) -> np.ndarray:
    """Reads a picture with transparency as uint8 RGBA [H, W, 4]; colours are as stored.

    Raises:
      SegjaxError: missing, empty, not a picture, or without transparency.
    """
    pixels = _decode(_bytes(Path(path)), path)
    if pixels.ndim == 2 or pixels.shape[2] != 4 or pixels[..., 3].min() == 255:
        raise SegjaxError(
            f"{path} has no transparent part and would hide all behind it; give a PNG with "
            "transparency"
        )
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA)


def read_mask(path: Path | str) -> np.ndarray:
    """Reads a one-channel picture as uint8 [H, W]; 16-bit keeps its upper 8 bits.

    Raises:
      SegjaxError: missing, empty, not a picture, or of more than one channel.
    """
    pixels = _decode(_bytes(Path(path)), path)
    if pixels.ndim == 3:
        if pixels.shape[2] >= 3 and (pixels[..., :1] == pixels[..., :3]).all():
            return np.ascontiguousarray(pixels[..., 0])
        raise SegjaxError(
            f"{path} has {pixels.shape[2]} channels; a mask is one grey channel; save it as such"
        )
    return pixels


def resize(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture or soft mask at `size` (height, width): by area where a side shrinks, or else
    linearly, since areas of less than a pixel only repeat it."""
    shrinks = pixels.shape[0] > size[0] or pixels.shape[1] > size[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(pixels, size[::-1], interpolation=method)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise SegjaxError(f"{path} does not exist; give the path of a picture") from None
    except OSError as error:
        raise SegjaxError(f"cannot read {path}: {error.strerror}; give a readable file") from error


def _decode(data: bytes, name: Path | str) -> np.ndarray:
    if not data:
        raise SegjaxError(f"{name} is empty (0 bytes); a picture is needed; copy the file again")
    buffer = np.frombuffer(data, np.uint8)
    try:
        jpeg = data.startswith(b"\xff\xd8")  # which is never transparent, nor of 16 bits
        pixels = cv2.imdecode(buffer, cv2.IMREAD_ANYCOLOR if jpeg else cv2.IMREAD_UNCHANGED)
        if not jpeg and pixels is not None and (pixels.ndim == 2 or pixels.shape[2] == 3):
            # Read again, turned as EXIF says, which IMREAD_UNCHANGED leaves out.
            grey = pixels.ndim == 2
            pixels = cv2.imdecode(buffer, cv2.IMREAD_ANYDEPTH if grey else cv2.IMREAD_COLOR)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise SegjaxError(f"{name} is not a picture that can be decoded; give a JPEG or PNG file")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.dtype == np.uint16:
        pixels = (pixels // 256).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise SegjaxError(f"{name} holds {pixels.dtype} samples; 8 or 16 bits are read; convert it")
    return pixels


def write_image(path: Path | str, pixels: np.ndarray) -> None:
    """Writes uint8 grey [H, W], RGB [H, W, 3] or RGBA [H, W, 4] by the path's suffix, atomically.

    Raises:
      SegjaxError: the suffix is no picture's, or the disk is full.
    """
    path = Path(path)
    if pixels.ndim == 3:
        code = cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        pixels = cv2.cvtColor(pixels, code)
    if not is_image(path):
        known = ", ".join(sorted(SUFFIXES))
        raise SegjaxError(f"{path} has the suffix {path.suffix!r}; pictures end in {known}")
    _, data = cv2.imencode(path.suffix, pixels)
    with replacing(path) as beside:
        beside.write_bytes(data.tobytes())
