"""Each defect of a data folder is named with its file, before training."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from segjax.data.classes import read_classes
from segjax.data.linter import Findings, check, inspect
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
    "colours": (colours, r"1 problem: masks/p00001\.png has 3 channels; a mask is one grey"),
    "no mask": (lambda root: (root / "masks/p00001.png").unlink(),
                r"images/p00001\.jpg has no mask; .*same stem"),
    "no picture": (lambda root: (root / "images/p00001.jpg").unlink(),
                   r"masks/p00001\.png has no picture; .*same stem"),
    "undecodable": (broken, r"1 problem: images/p00001\.jpg is not a picture that can be decoded"),
    "empty file": (lambda root: (root / "masks/p00001.png").write_bytes(b""),
                   r"1 problem: masks/p00001\.png is empty \(0 bytes\)"),
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
    with pytest.raises(SegjaxError, match=r"and 1 more kind$") as caught:
        check(root)
    assert str(caught.value).count(" | ") == 5


def test_without_folders_there_is_one_line(tmp_path: Path):
    with pytest.raises(SegjaxError, match="images is no folder; a data folder holds images/"):
        check(tmp_path)


def test_pictures_that_no_list_names_are_not_decoded(root: Path):
    (root / "train.txt").write_text("p00000\n")
    broken(root)
    check(root)


# --- labels ---------------------------------------------------------------------------------


@pytest.fixture
def street(root: Path) -> Path:
    """Labels 0 to 2, of which 2 stands in one picture of each part, and 9, which is ignored."""
    for index in range(6):
        labels = np.tile(np.arange(48) // 16 % (3 if index in (1, 4) else 2), (32, 1))
        labels[0] = 9
        write_image(root / "labels" / f"p{index:05}.png", labels.astype(np.uint8))
    return root


def look(root: Path) -> Findings:
    classes = read_classes(root, 3, ignore=(9,), names=("sky", "tree", "pole"))
    check(root, classes=classes)
    return inspect(root, ("train.txt",), ("val.txt",), classes)


def test_sound_labels_pass(street: Path):
    assert look(street) == ([], [])


def strangers(root: Path) -> None:
    for index, label in ((0, 14), (3, 14), (2, 200)):
        write_image(root / "labels" / f"p0000{index}.png", np.full((32, 48), label, np.uint8))


LABEL_DEFECTS = {
    "no class": (strangers, r"3 problems: labels/p00000\.png \(and 1 more\) holds the label 14; .*"
                 r"labels/p00002\.png holds the label 200; the classes are 0 to 2, .*data\.ignore"),
    "no labels": (lambda root: (root / "labels/p00001.png").unlink(),
                  r"images/p00001\.jpg has no label file; each picture needs one in labels/"),
    "no picture": (lambda root: write_image(root / "labels/x.png", np.zeros((32, 48), np.uint8)),
                   r"labels/x\.png has no picture; each label file needs one in images/"),
    "size": (lambda root: write_image(root / "labels/p00001.png", np.zeros((16, 48), np.uint8)),
             r"labels/p00001\.png is 48x16 pixels but images/p00001\.jpg is 48x32"),
    "no folder": (lambda root: (root / "labels").rename(root / "label"),
                  r"labels is no folder; a data folder holds images/, masks/ or labels/"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "words"), LABEL_DEFECTS.values(), ids=LABEL_DEFECTS)
def test_each_defect_of_labels_is_named(street: Path, spoil, words):
    spoil(street)
    with pytest.raises(SegjaxError, match=words):
        look(street)


def test_a_class_that_a_part_has_not_is_told(street: Path, capsys):
    write_image(street / "labels" / "p00004.png", np.zeros((32, 48), np.uint8))
    problems, doubts = look(street)
    assert not problems
    ((where, what),) = doubts
    assert where == "val.txt" and what.startswith("holds no pixel of class 2 (pole); what never")
    assert "warning: val.txt holds no pixel of class 2" in capsys.readouterr().err


# --- leaks ----------------------------------------------------------------------------------


def photograph(size: tuple[int, int] = (120, 160)) -> np.ndarray:
    rng = np.random.default_rng(5)
    few = rng.integers(0, 256, (9, 12, 3), np.uint8)
    return cv2.resize(few, size[::-1], interpolation=cv2.INTER_CUBIC)


def darker(picture: np.ndarray) -> np.ndarray:
    return np.clip(picture * 0.94 + 3, 0, 255).astype(np.uint8)


LEAKS = {
    "the same file": lambda picture: picture,
    "smaller": lambda picture: cv2.resize(picture, (80, 60), interpolation=cv2.INTER_AREA),
    "a little darker": darker,
    "grey": lambda picture: cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY),
    "mirrored": lambda picture: np.ascontiguousarray(picture[:, ::-1]),
}


@pytest.mark.parametrize("change", LEAKS.values(), ids=LEAKS)
def test_a_picture_to_measure_that_is_trained_on_is_told(root: Path, change, capsys):
    for stem, picture in (("p00002", photograph()), ("p00005", change(photograph()))):
        write_image(root / "images" / f"{stem}.jpg", picture)
        write_image(root / "masks" / f"{stem}.png", np.zeros(picture.shape[:2], np.uint8))
    check(root)
    warning = capsys.readouterr().err
    assert "warning: p00005 and p00002 are nearly the same picture, one to measure" in warning


def test_other_pictures_are_no_leak(root: Path, capsys):
    upside_down = np.ascontiguousarray(photograph()[::-1])
    for stem, picture in (("p00002", photograph()), ("p00005", upside_down)):
        write_image(root / "images" / f"{stem}.jpg", picture)
        write_image(root / "masks" / f"{stem}.png", np.zeros(picture.shape[:2], np.uint8))
    check(root)
    assert "warning" not in capsys.readouterr().err


def test_the_palette_file_of_these_tests_is_a_picture(tmp_path: Path):
    palette_png(tmp_path / "a.png")
    decoded = cv2.imread(str(tmp_path / "a.png"))
    assert decoded is not None and decoded.shape == (16, 16, 3)
