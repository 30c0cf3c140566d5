"""Each defect of a data folder is named with its file, before training."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from segjax.data.linter import check
from segjax.data.synthetic import write_folder
from segjax.errors import SegjaxError
from segjax.images import read_mask, write_image


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_folder(tmp_path, train=4, val=2, size=(32, 48), seed=1)
    return tmp_path


def palette_png(path: Path) -> None:
    """Writes a valid 16x16 palette PNG, which OpenCV cannot."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 3, 0, 0, 0))
        + chunk(b"PLTE", bytes([0, 0, 0, 255, 255, 255]))
        + chunk(b"IDAT", zlib.compress((b"\x00" + b"\x01" * 16) * 16))
        + chunk(b"IEND", b"")
    )


def ones(root: Path) -> None:
    for stem in ("p00000", "p00002"):
        write_image(root / "masks" / f"{stem}.png", read_mask(root / f"masks/{stem}.png") // 255)


def smaller(root: Path) -> None:
    write_image(root / "masks" / "p00001.png", np.zeros((31, 48), np.uint8))


def colours(root: Path) -> None:
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[..., 0] = 200
    write_image(root / "masks" / "p00001.png", picture)


def twin(root: Path) -> None:
    write_image(root / "images" / "p00001.png", np.zeros((32, 48, 3), np.uint8))


def broken(root: Path) -> None:
    (root / "images" / "p00001.jpg").write_text("this is text")


DEFECTS = {
    "zero-one": (ones, r"2 problems: masks/p00000\.png \(and 1 more\) holds only the values 0 and 1"
                 r"; a person is 255.*multiply the masks by 255"),
    "palette": (lambda root: palette_png(root / "masks/p00001.png"),
                r"1 problem: masks/p00001\.png is a palette picture; .*save it as grey PNG"),
    "size": (smaller, r"masks/p00001\.png is 48x31 pixels but images/p00001\.jpg is 48x32"),
    "colours": (colours, r"p00001: .*masks/p00001\.png has 3 channels; a mask is one grey channel"),
    "no mask": (lambda root: (root / "masks/p00001.png").unlink(),
                r"images/p00001\.jpg has no mask; .*same stem"),
    "no picture": (lambda root: (root / "images/p00001.jpg").unlink(),
                   r"masks/p00001\.png has no picture; .*same stem"),
    "undecodable": (broken, r"p00001: .*images/p00001\.jpg is not a picture that can be decoded"),
    "empty file": (lambda root: (root / "masks/p00001.png").write_bytes(b""),
                   r"p00001: .*masks/p00001\.png is empty \(0 bytes\)"),
    "listed, absent": (lambda root: (root / "train.txt").write_text("p00000\nghost\n"),
                       r"ghost is listed but has neither picture nor mask"),
    "empty list": (lambda root: (root / "train.txt").write_text("\n"),
                   r"train\.txt cannot be used: .*train\.txt is empty; .*one stem a line"),
    "no list": (lambda root: (root / "val.txt").unlink(),
                r"val\.txt cannot be used: .*val\.txt does not exist"),
    "train and val": (lambda root: (root / "val.txt").write_text("p00000\np00004\n"),
                      r"1 problem: p00000 stands in train\.txt as well as in val\.txt; "
                      r"pictures that measure are never trained on"),
    "twins": (twin, r"images/p00001\.png has the stem of p00001\.jpg; one file a stem is read"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "words"), DEFECTS.values(), ids=DEFECTS)
def test_each_defect_is_named(root: Path, spoil, words):
    spoil(root)
    with pytest.raises(SegjaxError, match=words) as caught:
        check(root)
    assert "\n" not in str(caught.value)


def test_a_sound_folder_passes(root: Path):
    check(root)
    check(root, train=("train.txt", "webcam.txt"), val=())


def test_a_room_without_people_is_sound(root: Path):
    write_image(root / "masks" / "p00000.png", np.zeros((32, 48), np.uint8))
    check(root)


def test_one_error_collects_all_and_counts_the_rest(root: Path):
    for spoil in (ones, smaller):
        spoil(root)
    (root / "val.txt").write_text("p00000\np00001\np00004\n")
    for number in range(4):
        (root / "images" / f"p0000{number}.webp").write_bytes(b"")
    with pytest.raises(SegjaxError, match="and 4 more kinds") as caught:
        check(root)
    assert str(caught.value).count(" | ") == 5


def test_without_folders_there_is_one_line(tmp_path: Path):
    with pytest.raises(SegjaxError, match="images is no folder; a data folder holds images/"):
        check(tmp_path)


def test_pictures_that_no_list_names_are_not_decoded(root: Path):
    (root / "train.txt").write_text("p00000\n")
    broken(root)
    check(root)


def test_the_palette_file_of_these_tests_is_a_picture(tmp_path: Path):
    palette_png(tmp_path / "a.png")
    decoded = cv2.imread(str(tmp_path / "a.png"))
    assert decoded is not None and decoded.shape == (16, 16, 3)
