"""Label files of every kind become the same ids, and what fits no class is named."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from segjax.data import IGNORE
from segjax.data.classes import Classes, read_classes, read_labels
from segjax.errors import SegjaxError
from segjax.images import write_image
from segjax.labels import palette, write_labels

IDS = np.random.default_rng(0).integers(0, 4, (19, 23)).astype(np.uint8)
COLOURS = np.array([[128, 128, 128], [0, 0, 0], [192, 192, 128], [0, 0, 64]], np.uint8)
STREET = "sky 128 128 128\nthe building 0 0 0\npole 192 192 128\nvoid 0 0 64\n"


@pytest.fixture
def street(tmp_path: Path) -> Classes:
    """Three classes and one that is ignored."""
    (tmp_path / "classes.txt").write_text(STREET)
    return read_classes(tmp_path, 3, ignore=(3,))


def expected() -> np.ndarray:
    return np.where(IDS == 3, IGNORE, IDS)


def small_palette(path: Path, ids: np.ndarray, bits: int) -> None:
    """Writes a palette PNG of fewer than 8 bits a pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    height, width = ids.shape
    places = 8 // bits
    padded = np.pad(ids, ((0, 0), (0, -width % places))).reshape(height, -1, places)
    packed = (padded << (np.arange(places)[::-1] * bits)).sum(axis=-1).astype(np.uint8)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 3, 0, 0, 0))
        + chunk(b"PLTE", COLOURS.tobytes())
        + chunk(b"IDAT", zlib.compress(b"".join(b"\x00" + row.tobytes() for row in packed)))
        + chunk(b"IEND", b"")
    )


WRITERS = {
    "grey": lambda path: write_image(path, IDS),
    "grey of 16 bits": lambda path: cv2.imwrite(str(path), IDS.astype(np.uint16)),
    "palette": lambda path: write_labels(path, IDS, palette(4)),
    "palette of 4 bits": lambda path: small_palette(path, IDS, 4),
    "palette of 2 bits": lambda path: small_palette(path, IDS, 2),
    "colours": lambda path: write_image(path, COLOURS[IDS]),
    "colours, opaque": lambda path: write_image(
        path, np.dstack([COLOURS[IDS], np.full(IDS.shape, 255, np.uint8)])
    ),
    "ignored as 255": lambda path: write_image(path, expected()),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_every_kind_of_file_holds_the_same_labels(write, street: Classes, tmp_path: Path):
    write(tmp_path / "a.png")
    labels = read_labels(tmp_path / "a.png", street)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, expected())


def test_grey_saved_as_colour_is_grey_where_no_colours_are_known(tmp_path: Path):
    write_image(tmp_path / "a.png", np.repeat(IDS[..., None], 3, axis=2))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png", read_classes(tmp_path, 4)), IDS)


def test_classes_have_names_and_colours(street: Classes, tmp_path: Path):
    assert street.names == ("sky", "the building", "pole") and len(street) == 3
    np.testing.assert_array_equal(street.colours, COLOURS[:3])
    # What stands in the folder goes before what stands in the config.
    assert read_classes(tmp_path, 3, ignore=(3,), names=("a", "b", "c")).names == street.names


def test_an_ignored_id_may_stand_before_the_classes(tmp_path: Path):
    (tmp_path / "classes.txt").write_text("nothing\nwall\nsky\n")
    classes = read_classes(tmp_path, 3, ignore=(0,))
    write_image(tmp_path / "a.png", IDS.clip(0, 2))
    labels = read_labels(tmp_path / "a.png", classes)
    np.testing.assert_array_equal(labels, np.where(IDS == 0, IGNORE, IDS.clip(0, 2)))


def test_without_a_file_the_config_names_the_classes(tmp_path: Path):
    assert read_classes(tmp_path, 2, names=("cat", "dog")).names == ("cat", "dog")
    assert read_classes(tmp_path, 2).names == ("class 0", "class 1")


@pytest.mark.parametrize(
    ("text", "count", "ignore", "words"),
    [
        (
            STREET,
            3,
            (),
            r"classes\.txt names 4 classes that are not ignored, the model has 3; both",
        ),
        (STREET, 5, (), r"classes\.txt names 4 classes .* model has 5"),
        ("sky 1 2 300\nroad 1 2 3", 2, (), r"line 1 of .*classes\.txt is 'sky 1 2 300'; it holds"),
        ("sky\n\nroad", 2, (), r"line 2 of .*classes\.txt is ''; it holds one class a line"),
        ("sky\nsky", 2, (), r"classes\.txt holds the name sky twice"),
        ("a 1 2 3\nb 1 2 3", 2, (), r"classes\.txt holds the colour \(1, 2, 3\) twice"),
        ("sky", 1, (), r"got 1 classes; labels tell 2 to 254 apart"),
        (STREET, 3, (256,), r"data\.ignore holds 256; ids in files are 0 to 255"),
    ],
)
def test_classes_that_cannot_be_are_named(tmp_path: Path, text, count, ignore, words):
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(SegjaxError, match=words):
        read_classes(tmp_path, count, ignore=ignore)


def test_names_that_do_not_fit_the_model_are_named(tmp_path: Path):
    with pytest.raises(SegjaxError, match=r"data\.names names 1 classes .* model has 2"):
        read_classes(tmp_path, 2, names=("sky",))


def stranger(path: Path) -> None:
    write_image(path, np.full((16, 16), 14, np.uint8))


BROKEN = {
    "a label of no class": (stranger, r"a\.png holds the label 14; the classes are "
                            r"0 to 2, 255 is ignored; .* into data\.ignore"),
    "a colour of no class": (lambda path: write_image(path, np.full((16, 16, 3), 7, np.uint8)),
                             r"holds the colour 7 7 7, which is of no class; .* in classes\.txt"),
    "a JPEG": (lambda path: path.write_bytes(cv2.imencode(".jpg", IDS)[1].tobytes()),
               r"a\.png is no PNG; labels are numbers, which JPEG would blur"),
    "one bit": (lambda path: cv2.imwrite(str(path), IDS * 255, [cv2.IMWRITE_PNG_BILEVEL, 1]),
                r"a grey PNG of 1 bit a pixel, .* 8 bits; save it so"),
    "16 bits": (lambda path: cv2.imwrite(str(path), IDS.astype(np.uint16) + 300),
                r"holds the label 303; ids are 0 to 255"),
    "half a file": (lambda path: path.write_bytes(cv2.imencode(".png", IDS)[1].tobytes()[:40]),
                    r"a\.png cannot be decoded"),
    "no file": (lambda path: None, r"cannot read .*a\.png: No such file"),
}  # fmt: skip


@pytest.mark.parametrize(("write", "words"), BROKEN.values(), ids=BROKEN)
def test_what_holds_no_labels_says_why(write, words, street: Classes, tmp_path: Path):
    write(tmp_path / "a.png")
    with pytest.raises(SegjaxError, match=words):
        read_labels(tmp_path / "a.png", street)


def test_colours_without_a_palette_file_say_what_is_missing(tmp_path: Path):
    write_image(tmp_path / "a.png", COLOURS[IDS])
    with pytest.raises(SegjaxError, match=r"holds colours; .* lines NAME R G B of classes\.txt"):
        read_labels(tmp_path / "a.png", read_classes(tmp_path, 4))
