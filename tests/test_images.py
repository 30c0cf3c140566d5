import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from segjax.errors import SegjaxError
from segjax.images import find_images, read_image, read_mask, write_image

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (20, 30, 3), np.uint8)
GREY = RNG.integers(0, 256, (20, 30), np.uint8)


def encoded(path: Path, pixels: np.ndarray) -> Path:
    """Writes what OpenCV is given: BGR, BGRA or grey, of 8 or 16 bits."""
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return path


def with_exif_orientation(jpeg: bytes, orientation: int) -> bytes:
    """The JPEG with a segment in which one EXIF field says how the camera was held."""
    field = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"II*\0" + struct.pack("<IH", 8, 1) + field + struct.pack("<I", 0)
    segment = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


def refused(path: Path, read=read_image) -> str:
    with pytest.raises(SegjaxError) as raised:
        read(path)
    assert "\n" not in str(raised.value) and str(path) in str(raised.value)
    return str(raised.value)


# --- pictures -------------------------------------------------------------------------------


def test_a_picture_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", COLOUR)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), COLOUR)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png")), COLOUR[..., ::-1])


def test_grey_becomes_colour(tmp_path: Path) -> None:
    path = encoded(tmp_path / "a.png", GREY)
    np.testing.assert_array_equal(read_image(path), np.dstack([GREY] * 3))


def test_16_bits_keep_the_upper_8(tmp_path: Path) -> None:
    for pixels in (GREY, COLOUR):
        deep = pixels.astype(np.uint16) * 256 + 255
        found = read_image(encoded(tmp_path / "a.png", deep))
        wanted = pixels[..., ::-1] if pixels.ndim == 3 else np.dstack([pixels] * 3)
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(
        read_mask(encoded(tmp_path / "m.png", deep[..., 0])), COLOUR[..., 0]
    )


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_transparency_is_laid_over_white(tmp_path: Path, depth: type) -> None:
    pixels = np.zeros((20, 30, 4), depth)
    full = np.iinfo(depth).max
    pixels[:, :10] = (0, 0, full, full)  # blue, green, red, alpha
    pixels[:, 10:20] = (0, 0, full, full // 2)
    found = read_image(encoded(tmp_path / "a.png", pixels))
    assert found.shape == (20, 30, 3) and found.dtype == np.uint8
    assert found[0, [5, 15, 25]].tolist() == [[255, 0, 0], [255, 128, 128], [255, 255, 255]]


@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_a_picture_is_turned_as_the_camera_was(tmp_path: Path, pixels: np.ndarray) -> None:
    jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
    plain, turned = tmp_path / "plain.jpg", tmp_path / "turned.jpg"
    plain.write_bytes(jpeg)
    turned.write_bytes(with_exif_orientation(jpeg, 6))  # to be shown turned right by 90 degrees
    np.testing.assert_array_equal(read_image(turned), np.rot90(read_image(plain), -1))


@pytest.mark.parametrize("shape", [(1, 1), (15, 40), (40, 15)])
def test_a_picture_that_is_too_small(tmp_path: Path, shape: tuple[int, int]) -> None:
    path = encoded(tmp_path / "a.png", np.zeros(shape, np.uint8))
    height, width = shape
    words = f"is {width}x{height} pixels; a picture needs at least 16 pixels a side"
    assert words in refused(path)
    smallest = encoded(tmp_path / "b.png", np.zeros((16, 17), np.uint8))
    assert read_image(smallest).shape == (16, 17, 3)


@pytest.mark.parametrize("read", [read_image, read_mask])
def test_what_is_no_picture(tmp_path: Path, read) -> None:
    (tmp_path / "empty.png").touch()
    assert "is empty (0 bytes); a picture is needed" in refused(tmp_path / "empty.png", read)
    (tmp_path / "text.jpg").write_text("hello")
    assert "is not a picture that can be decoded" in refused(tmp_path / "text.jpg", read)
    assert "does not exist; give the path" in refused(tmp_path / "gone.jpg", read)
    (tmp_path / "folder.png").mkdir()
    assert "Is a directory; give a readable file" in refused(tmp_path / "folder.png", read)
    floats = encoded(tmp_path / "a.tiff", np.zeros((20, 20), np.float32))
    assert "holds float32 samples; 8 or 16 bits are read" in refused(floats, read)


# --- masks ----------------------------------------------------------------------------------


def test_a_mask_is_one_channel_even_if_written_thrice(tmp_path: Path) -> None:
    for pixels in (GREY, np.dstack([GREY] * 3)):
        np.testing.assert_array_equal(read_mask(encoded(tmp_path / "m.png", pixels)), GREY)
    path = encoded(tmp_path / "c.png", COLOUR)
    assert "has 3 channels; a mask is one grey channel" in refused(path, read_mask)


# --- writing and finding --------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_all_that_is_written_can_be_decoded(tmp_path: Path, channels: int) -> None:
    pixels = RNG.integers(0, 256, (20, 30, channels), np.uint8)
    pixels = pixels[..., 0] if channels == 1 else pixels
    write_image(tmp_path / "a.png", pixels)
    found = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    order = {1: ..., 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]
    assert found is not None
    np.testing.assert_array_equal(found, pixels if channels == 1 else pixels[..., order])


def test_a_suffix_that_is_no_picture_s(tmp_path: Path) -> None:
    with pytest.raises(SegjaxError, match=r"has the suffix '.xyz'; pictures end in .bmp, .jpeg"):
        write_image(tmp_path / "a.xyz", COLOUR)
    assert not list(tmp_path.iterdir())


def test_the_pictures_of_a_folder_by_number(tmp_path: Path) -> None:
    for name in ("b10.png", "b9.PNG", "a.jpg", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in find_images(tmp_path)] == ["a.jpg", "b9.PNG", "b10.png"]
    (tmp_path / "none").mkdir()
    with pytest.raises(SegjaxError, match="none holds no pictures; they end in"):
        find_images(tmp_path / "none")
