import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from segjax.cli.train import load_config
from segjax.config import (
    Bucket,
    DataConfig,
    ModelConfig,
    TrainConfig,
    from_dict,
    to_dict,
)
from segjax.data.scene import SceneAugmentation
from segjax.data.webcam import Augmentation
from segjax.errors import SegjaxError

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.py"))

CONFIG = TrainConfig(
    name="x",
    model=ModelConfig(
        "a", "b", encoder_options={"rows": ((1, True), (2, False)), "deep": {"k": 1}}
    ),
    data=DataConfig(
        "root",
        val=("val.txt", "webcam.txt"),
        buckets=(Bucket(16, 32, 0.5), Bucket(32, 16, 0.5)),
        augmentation=Augmentation(flip=0.25),
    ),
)


@pytest.mark.parametrize(
    "config", [CONFIG, *map(load_config, CONFIGS)], ids=["x", *(path.stem for path in CONFIGS)]
)
def test_a_config_survives_json(config: TrainConfig) -> None:
    assert from_dict(TrainConfig, json.loads(json.dumps(to_dict(config)))) == config


def test_what_is_not_said_takes_its_default() -> None:
    values = {"name": "x", "model": {"encoder": "a", "decoder": "b"}, "data": {"root": "r"}}
    expected = TrainConfig("x", ModelConfig("a", "b"), DataConfig("r"))
    assert from_dict(TrainConfig, values) == expected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"stepz": 3},
            r"^f.json has the unknown key 'stepz' \(did you mean 'steps'\?\); known are name, .*",
        ),
        ({"data": {"root": "r", "batchsize": 3}}, "data has the unknown key 'batchsize' .did you"),
        ({"data": {"root": "r", "buckets": [{"heigth": 3}]}}, "unknown key 'heigth' .*'height'"),
        ({"data": {}}, "data is incomplete: .*'root'; add the field"),
        ({"model": 3}, "model is int; it must be a table of fields"),
        (
            {"model": {"encoder": "a", "decoder": "b", "classes": 2}},
            "model.classes is 2 and data.augmentation is the one for the soft .* SceneAugmentation",
        ),
        ({"steps": 0}, "steps is 0; it must be at least 1; give a larger number"),
        ({"data": {"root": "r", "batch_size": -1}}, "data.batch_size is -1; it must be at least 1"),
        ({"data": {"root": "r", "buckets": []}}, r"data.buckets has the weights \[\]; they are"),
        ({"data": {"root": "r", "favour": -2.0}}, "data.favour is -2.0; it must be at least 0"),
        (
            {"data": {"root": "tfds:x", "favoured": "few.txt"}},
            "data.favoured is few.txt, a list in",
        ),
        ({"data": {"root": "r", "ignore": [3]}}, r"data.ignore is \(3,\) and model.classes is 1"),
        ({"loss": {"median_frequency": True}}, "loss.median_frequency is True and model.classes"),
        ({"optimizer": {"ema_decay": 1.0}}, "optimizer.ema_decay is 1.0; from 0 to below 1 the"),
        ({"optimizer": {"clip_norm": -1.0}}, "optimizer.clip_norm is -1.0; it must be at least 0"),
    ],
)
def test_a_mistake_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SegjaxError, match=words):
        from_dict(TrainConfig, {**to_dict(CONFIG), **change}, "f.json")


def test_the_augmentation_is_known_by_its_fields() -> None:
    for augmentation in (Augmentation(flip=0.1), SceneAugmentation(flip=0.1)):
        data = DataConfig("root", augmentation=augmentation)
        assert from_dict(DataConfig, json.loads(json.dumps(to_dict(data)))) == data
    with pytest.raises(SegjaxError, match=r"unknown key 'smalest' .*'smallest'\?\); known are"):
        from_dict(DataConfig, {"root": "r", "augmentation": {"smalest": 1, "elastic": 0}})


def test_configs_are_values() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        CONFIG.steps = 3  # pyright: ignore[reportAttributeAccessIssue]
    assert dataclasses.replace(CONFIG, steps=3) != CONFIG
