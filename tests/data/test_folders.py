"""Folders of pictures become indexable data without TensorFlow."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from segjax.data import IGNORE
from segjax.data.classes import read_classes
from segjax.data.folders import draw_weights, open_folder, read_list
from segjax.data.synthetic import write_folder
from segjax.errors import SegjaxError
from segjax.images import read_image, read_mask, write_image


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_folder(tmp_path / "people", train=5, val=2, size=(33, 45), seed=1)
    return tmp_path / "people"


def test_items_are_the_files_in_the_lists_order(root: Path, tmp_path: Path):
    (root / "few.txt").write_text("p00003\n\np00000\np00003\n")
    source = open_folder(root, ("few.txt",), cache=tmp_path / "cache")
    assert source.stems == ["p00003", "p00000"] and len(source) == 2
    for index, stem in enumerate(source.stems):
        item = source[index]
        assert item["image"].shape == (33, 45, 3) and item["image"].dtype == np.uint8
        np.testing.assert_array_equal(item["image"], read_image(root / "images" / f"{stem}.jpg"))
        np.testing.assert_array_equal(item["mask"], read_mask(root / "masks" / f"{stem}.png"))


def test_labels_are_read_by_their_classes(root: Path, tmp_path: Path):
    (root / "classes.txt").write_text("room\nperson 0 0 255\nvoid 9 9 9\n")
    colours = np.array([[0, 0, 0], [0, 0, 255], [9, 9, 9]], np.uint8)
    ids = np.arange(33 * 45, dtype=np.int64).reshape(33, 45) % 2 + 1
    (root / "few.txt").write_text("p00001\n")
    write_image(root / "labels" / "p00001.png", colours[ids])
    classes = read_classes(root, 2, ignore=(2,))
    cache = tmp_path / "cache"
    item = open_folder(root, ("few.txt",), classes=classes, cache=cache)[0]
    np.testing.assert_array_equal(item["mask"], np.where(ids == 2, IGNORE, ids))
    # Read otherwise they are prepared anew.
    other = read_classes(root, 3)
    item = open_folder(root, ("few.txt",), classes=other, cache=cache)[0]
    np.testing.assert_array_equal(item["mask"], ids)


def test_a_label_of_no_class_is_one_clear_line(root: Path, tmp_path: Path):
    (root / "few.txt").write_text("p00001\n")
    write_image(root / "labels" / "p00001.png", np.full((33, 45), 9, np.uint8))
    with pytest.raises(SegjaxError, match=r"labels/p00001\.png holds the label 9;"):
        open_folder(root, ("few.txt",), classes=read_classes(root, 2), cache=tmp_path / "cache")


def test_several_lists_mean_their_intersection(root: Path, tmp_path: Path):
    (root / "webcam.txt").write_text("p00006\np00004\np00001\n")
    source = open_folder(root, ("train.txt", "webcam.txt"), cache=tmp_path / "cache")
    assert source.stems == ["p00001", "p00004"]


def test_the_copy_is_made_once_and_anew_when_a_file_changes(root: Path, tmp_path: Path):
    cache = tmp_path / "cache"
    first = open_folder(root, cache=cache)
    kept = {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()}
    open_folder(root, cache=cache)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()} == kept
    mask = root / "masks" / f"{first.stems[0]}.png"
    os.utime(mask, ns=(0, 0))
    write_image(mask, 255 - first[0]["mask"])
    second = open_folder(root, cache=cache)
    np.testing.assert_array_equal(second[0]["mask"], 255 - first[0]["mask"])


def test_pictures_of_png_and_grey_are_read_as_rgb(tmp_path: Path):
    mask = np.arange(32 * 20, dtype=np.int64).reshape(32, 20).astype(np.uint8)
    write_image(tmp_path / "images" / "a.png", mask)
    write_image(tmp_path / "masks" / "a.png", mask)
    (tmp_path / "train.txt").write_text("a\n")
    item = open_folder(tmp_path, cache=tmp_path / "cache")[0]
    np.testing.assert_array_equal(item["image"], mask[..., None].repeat(3, axis=2))
    np.testing.assert_array_equal(item["mask"], mask)


def run_python(code: str, *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_tensorflow_is_never_imported(root: Path, tmp_path: Path):
    code = """
import sys
from segjax.data import IGNORE
from segjax.data.classes import read_classes
from segjax.data.folders import open_folder
source = open_folder(sys.argv[1], cache=sys.argv[2])
assert source[0]["mask"].shape == (33, 45)
assert "tensorflow_datasets" in sys.modules
print("tensorflow" in sys.modules)
"""
    assert run_python(code, str(root), str(tmp_path / "cache")) == "False\n"


def test_tfds_grain_and_jax_are_imported_only_when_used():
    code = """
import sys
import segjax.data.folders, segjax.data.linter, segjax.data.synthetic, segjax.data.webcam
print([name for name in ("tensorflow_datasets", "grain", "jax", "flax") if name in sys.modules])
"""
    assert run_python(code) == "[]\n"


def test_a_missing_library_says_what_to_install(root: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    monkeypatch.delitem(sys.modules, "segjax.data.builder", raising=False)
    with pytest.raises(SegjaxError, match=r"pip install 'segjax\[train\]'"):
        open_folder(root, cache=tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_one_clear_line(root: Path, tmp_path: Path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(SegjaxError, match=r"cannot write .*file.*writable disk"):
        open_folder(root, cache=tmp_path / "file")


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        (("none.txt",), r"none\.txt does not exist; .*give the name of a list"),
        (("blank.txt",), r"blank\.txt is empty; .*one stem a line"),
        (("train.txt", "val.txt"), r"no stem stands in all of train\.txt, val\.txt"),
        (("odd.txt",), r"images has no file for the stem 'missing'"),
        (("half.txt",), r"masks has no file for the stem 'half'"),
    ],
)
def test_lists_that_cannot_be_read_say_why(root: Path, lists, words):
    (root / "blank.txt").write_text("\n \n")
    (root / "odd.txt").write_text("missing\n")
    (root / "half.txt").write_text("half\n")
    write_image(root / "images" / "half.jpg", np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(SegjaxError, match=words):
        open_folder(root, lists)


def test_a_folder_of_something_else_says_what_is_expected(tmp_path: Path):
    (tmp_path / "train.txt").write_text("a\n")
    with pytest.raises(SegjaxError, match="images is no folder; a data folder holds images/"):
        open_folder(tmp_path)


def test_a_binary_list_is_refused(tmp_path: Path):
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(SegjaxError, match="a list is text, one stem a line"):
        read_list(tmp_path / "list.txt")


def test_a_picture_that_cannot_be_decoded_is_named(root: Path, tmp_path: Path):
    (root / "images" / "p00001.jpg").write_text("no picture")
    source = open_folder(root, cache=tmp_path / "cache")
    with pytest.raises(SegjaxError, match="'p00001' is not a picture that can be decoded"):
        source[1]


def test_transparency_is_laid_over_white_as_everywhere_else(root: Path, tmp_path: Path):
    clear = np.zeros((120, 160, 4), np.uint8)
    (root / "images" / "p00001.jpg").write_bytes(cv2.imencode(".png", clear)[1].tobytes())
    assert (open_folder(root, cache=tmp_path / "cache")[1]["image"] == 255).all()


def test_a_favoured_list_of_other_pictures_is_refused(root: Path):
    (root / "few.txt").write_text("p99999\n")
    with pytest.raises(SegjaxError, match=r"none of the 1 pictures to train on stands in few\.txt"):
        draw_weights(root, ["p00001"], "few.txt", 2.0)
