"""Data sets of TFDS, with the features of the real ones, become items without TensorFlow."""

import functools
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from segjax.cli import main
from segjax.data import IGNORE
from segjax.data.catalog import CITYSCAPES, RECIPES
from segjax.data.opening import find_data
from segjax.errors import SegjaxError

PNG = tfds.features.Image
IMAGE = np.random.default_rng(0).integers(0, 256, (16, 24, 3)).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """Encodes grey or RGB."""
    order = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", order)[1].tobytes()


def stripes(*values: int) -> np.ndarray:
    """A stripe each, from left to right."""
    return np.tile(np.repeat(np.array(values), 24 // len(values)), (16, 1))


def as_id(numbers: np.ndarray) -> np.ndarray:
    """A panoptic picture, whose colours are numbers."""
    return np.dstack([numbers >> shift & 255 for shift in (0, 8, 16)]).astype(np.uint8)


BOX = tfds.features.BBox(0.0, 0.0, 1.0, 1.0)
# Two people, of whom one is a crowd, and a road; 0 is nothing.
SEGMENTS = [
    {"id": number, "area": 1, "bbox": BOX, "label": label, "is_crowd": number == 300}
    for number, label in ((70_000, 0), (300, 0), (5, 100))
]

# By name: features, a record, and what its stripes become with labels and with one class.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], list[int], list[int]]] = {
    "oxford_iiit_pet": (
        {
            "image": PNG(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(num_classes=37),
            "file_name": tfds.features.Text(),
            "segmentation_mask": PNG(shape=(None, None, 1)),
        },
        {
            "image": png(IMAGE),
            "label": 3,
            "file_name": "Abyssinian_1.jpg",
            "segmentation_mask": png(stripes(1, 2, 3).astype(np.uint8)),
        },
        [1, 0, IGNORE],
        [255, 0, 128],
    ),
    "cityscapes/semantic_segmentation": (
        {
            "image_id": tfds.features.Text(),
            "image_left": PNG(encoding_format="png"),
            "segmentation_label": PNG(shape=(None, None, 1), encoding_format="png"),
        },
        {
            "image_id": "aachen_1",
            "image_left": png(IMAGE),
            "segmentation_label": png(stripes(7, 24, 0, 33).astype(np.uint8)),
        },
        [0, 11, IGNORE, 18],
        [0, 255, 0, 0],
    ),
    "coco/2017_panoptic": (
        {
            "image": PNG(encoding_format="jpeg"),
            "image/id": np.int64,
            "panoptic_image": PNG(encoding_format="png"),
            "panoptic_objects": tfds.features.Sequence(
                {
                    "id": np.int64,
                    "area": np.int64,
                    "bbox": tfds.features.BBoxFeature(),
                    "label": tfds.features.ClassLabel(num_classes=133),
                    "is_crowd": np.bool_,
                }
            ),
        },
        {
            "image": png(IMAGE),
            "image/id": 7,
            "panoptic_image": png(as_id(stripes(5, 70_000, 300, 0))),
            "panoptic_objects": SEGMENTS,
        },
        [100, 0, 0, IGNORE],
        [0, 255, 255, 0],
    ),
    "scene_parse150": (
        {"image": PNG(encoding_format="jpeg"), "annotation": PNG(encoding_format="png")},
        {
            "image": png(IMAGE),
            # Red is the object's kind, green its number.
            "annotation": png(np.dstack([stripes(0, 4, 100), stripes(0, 9, 1), stripes(0, 0, 0)])
                              .astype(np.uint8)),
        },
        [0, 4, 100],
        [0, 255, 0],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them, prepared as the real builders would have: ten records each."""
    folder = tmp_path_factory.mktemp("tfds")
    tfds.disable_progress_bar()
    for name, (features, record, *_) in CASES.items():
        write(folder, name, features, record)
    return folder


def write(folder: Path, name: str, features: Any, record: Any) -> None:
    dataset, _, config = name.partition("/")

    class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=config)] if config else []
        code_path = None

        def _info(self) -> tfds.core.DatasetInfo:
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager: Any) -> Any:
            return {"train": ((index, record) for index in range(10))}

        def _generate_examples(self) -> Any:
            raise NotImplementedError

    Tiny.name = dataset
    Tiny(data_dir=str(folder), file_format=tfds.core.FileFormat.ARRAY_RECORD).download_and_prepare()


@pytest.mark.parametrize("name", CASES)
def test_records_become_labels_or_the_mask_of_one_class(name: str, prepared: Path):
    *_, labels, mask = CASES[name]
    for classes, expected in ((len(RECIPES[name].names), labels), (1, mask)):
        data = find_data(f"tfds:{name}", classes=classes, cache=prepared)
        source = data.open(("train[:40%]",))
        assert len(source) == 4 and source.stems[1] == "train[:40%]:1"
        item = source[1]
        np.testing.assert_array_equal(item["image"], IMAGE)
        np.testing.assert_array_equal(item["mask"], stripes(*expected))
        assert item["mask"].dtype == np.uint8
        assert (data.classes is None) == (classes == 1)
    assert "tensorflow" not in sys.modules


@pytest.mark.parametrize(("classes", "figures"), [(1, "mean_iou"), (2, "per_class_iou")])
def test_a_split_is_evaluated(classes, figures, prepared: Path, tmp_path: Path, monkeypatch):
    """By a model that takes the left half for the pet."""

    class Left:
        name, info, multiple = "left", dict[str, Any](), 8

        def __init__(self, classes: int):
            self.classes = classes

        def of_tiles(self) -> "Left":
            return self

        def __call__(self, pixels: np.ndarray, scale: float = 1.0) -> np.ndarray:
            found = np.zeros(pixels.shape[:2], np.float32)
            found[:, :12] = 1
            return found if classes == 1 else np.dstack([1 - found, found])

    monkeypatch.setattr("segjax.cli.evaluate.load_predictor", lambda _: Left(classes))
    monkeypatch.setattr(
        "segjax.cli.evaluate.find_data", functools.partial(find_data, cache=prepared)
    )
    report = tmp_path / "r.json"
    arguments = ["evaluate", "--data", "tfds:oxford_iiit_pet", "--report", str(report)]
    with pytest.raises(SystemExit) as done:
        main([*arguments, "--list", "train[:40%]", "--pictures", str(tmp_path / "sheets")])
    assert done.value.code == 0
    got = json.loads(report.read_text())
    assert (got["images"], got["per_image"][3]["stem"]) == (4, "train[:40%]:3")
    # Of 24 columns 8 are pet, 8 background, 8 unsure: pet too in a mask, ignored in labels.
    if classes == 1:
        assert got[figures] == pytest.approx(8 / 20)
    else:
        assert got[figures] == {"background": 0.5, "pet": pytest.approx(8 / 12)}
    assert (tmp_path / "sheets" / "worst.png").is_file()
    with pytest.raises(SystemExit) as done:
        main(arguments)
    assert done.value.code == 2


def test_ids_can_be_ignored(prepared: Path):
    data = find_data("tfds:scene_parse150", classes=101, ignore=(0,), cache=prepared)
    np.testing.assert_array_equal(data.open(("train",))[0]["mask"], stripes(IGNORE, 4, 100))


def test_each_label_has_a_name():
    assert len(CITYSCAPES) == 19
    counts = {name: len(recipe.names) for name, recipe in RECIPES.items()}
    assert (counts["coco/2017_panoptic"], counts["scene_parse150"]) == (133, 101)
    for recipe in RECIPES.values():
        assert len(set(recipe.names)) == len(recipe.names)
        assert set(recipe.labels.values()) == set(range(len(recipe.names)))


def test_splits_that_share_records_are_refused(prepared: Path):
    data = find_data("tfds:oxford_iiit_pet", classes=2, cache=prepared)
    data.check(("train[:80%]",), ("train[80%:]",))
    with pytest.raises(SegjaxError, match=r"train and train\[80%:\] of oxford_iiit_pet share"):
        data.check(("train",), ("train[80%:]",))


@pytest.mark.parametrize("part", [("train.txt",), ("valid",), ("train[:x]",), ("train", "train")])
def test_what_is_no_split_is_named(part, prepared: Path):
    data = find_data("tfds:oxford_iiit_pet", classes=2, cache=prepared)
    with pytest.raises(SegjaxError, match="is no split of oxford_iiit_pet; it has train, and"):
        data.open(part)


@pytest.mark.parametrize(
    ("name", "classes", "words"),
    [
        ("mnist", 10, "tfds:mnist is not known; known are oxford_iiit_pet, cityscapes"),
        ("coco/2017", 1, "tfds:coco/2017 is not known"),
        ("cityscapes", 20, "tfds:cityscapes has 19 classes, the model has 20; both must agree"),
    ],
)
def test_what_cannot_be_is_named(name, classes, words):
    with pytest.raises(SegjaxError, match=words):
        find_data(f"tfds:{name}", classes=classes)


def test_preparing_says_which_library_it_needs(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    data = find_data("tfds:coco/2017_panoptic", cache=tmp_path)
    with pytest.raises(SegjaxError, match=r"not prepared in .*; preparing it needs .*train,tf\]'"):
        data.open(("train",))


def test_another_format_says_how_to_convert_it(tmp_path: Path):
    features, record, *_ = CASES["scene_parse150"]
    write(tmp_path, "scene_parse150", features, record)
    (info,) = tmp_path.rglob("dataset_info.json")
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    data = find_data("tfds:scene_parse150", cache=tmp_path)
    with pytest.raises(SegjaxError, match="is in the format tfrecord; batches need array_record"):
        data.open(("train",))
