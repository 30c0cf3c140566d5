import dataclasses
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from segjax.config import (
    Bucket,
    DataConfig,
    ModelConfig,
    TrainConfig,
    from_dict,
    to_dict,
)
from segjax.data.transforms import Augmentation
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


def from_file(path: Path) -> TrainConfig:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.config


@pytest.mark.parametrize(
    "config", [CONFIG, *map(from_file, CONFIGS)], ids=["x", *(path.stem for path in CONFIGS)]
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
        ({"stepz": 3}, r"^f.json has the unknown key 'stepz'; known are name, model, data, .*seed"),
        ({"data": {"root": "r", "batchsize": 3}}, "data has the unknown key 'batchsize'; known"),
        ({"data": {"root": "r", "buckets": [{"heigth": 3}]}}, "buckets has the unknown key 'heig"),
        ({"data": {}}, "data is incomplete: .*'root'; add the field"),
        ({"model": 3}, "model is int; it must be a table of fields"),
        ({"steps": 0}, "steps is 0; it must be at least 1; give a larger number"),
        ({"data": {"root": "r", "batch_size": -1}}, "data.batch_size is -1; it must be at least 1"),
    ],
)
def test_a_mistake_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SegjaxError, match=words):
        from_dict(TrainConfig, {**to_dict(CONFIG), **change}, "f.json")


def test_configs_are_values() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        CONFIG.steps = 3  # pyright: ignore[reportAttributeAccessIssue]
    assert dataclasses.replace(CONFIG, steps=3) != CONFIG
