"""Hints: maps of another encoder that a network learns to give."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from small_run import TRAIN, VAL, changed

from segjax import weights
from segjax.errors import SegjaxError
from segjax.training import loop
from segjax.training.log import read
from segjax.training.losses import hint_loss
from segjax.training.teacher import find_teacher

pytestmark = pytest.mark.usefixtures("cache")


def test_the_loss_by_hand() -> None:
    # Two channels, each with its own mean; the spread is the mean of 1 and 9.
    hint = jnp.array([[[[1.0, 10.0], [3.0, 16.0]]]])
    assert float(hint_loss([hint], [hint])) == 0
    assert float(hint_loss([jnp.broadcast_to(jnp.array([2.0, 13.0]), hint.shape)], [hint])) == 1
    off = hint + jnp.array([0.0, 2.0])
    assert float(hint_loss([off], [hint])) == pytest.approx(2 / 5)
    assert float(hint_loss([10 * off], [10 * hint])) == pytest.approx(2 / 5)
    assert float(hint_loss([hint, off], [hint, hint])) == pytest.approx(1 / 5)
    assert np.isfinite(float(hint_loss([off], [jnp.zeros_like(off)])))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of another start, that may not be sold."""
    config = changed({"model.seed": 7})
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    model = weights.create_model(config.model)
    weights.save(path, model, config.model, {"licence": "Not for sale"})
    return path


def test_a_run_comes_nearer_to_its_teacher(teacher: Path, tmp_path: Path) -> None:
    alone = {"loss.bce": 0.0, "loss.dice": 0.0, "loss.edge": 0.0}
    change = {"teacher": str(teacher), **alone, "steps": 60, "eval_every": 60, "save_every": 60}
    released = loop.train(changed(change), tmp_path / "run", TRAIN, VAL)
    lines = [line for line in read(tmp_path / "run" / "log.jsonl") if "loss" in line]
    hints = [line["hint"] for line in lines]
    assert [line["loss"] for line in lines] == pytest.approx(hints)
    assert np.mean(hints[-10:]) < 0.6 * np.mean(hints[:10])
    with safe_open(released, framework="numpy") as file:
        info = json.loads(file.metadata()["info"])
    assert info["teacher"] == "teacher.safetensors"
    assert info["licence"] == "Not for sale"


def test_a_hint_weighs_what_the_config_says(teacher: Path, tmp_path: Path) -> None:
    change = {"teacher": str(teacher), "loss.hint": 0.25, "steps": 2, "eval_every": 2}
    loop.train(changed(change), tmp_path / "run", TRAIN, VAL)
    first, *_ = (line for line in read(tmp_path / "run" / "log.jsonl") if "loss" in line)
    own = first["bce"] + first["dice"] + 0.5 * first["edge"]
    assert first["loss"] == pytest.approx(own + 0.25 * first["hint"], rel=1e-5)


def test_who_has_no_map_in_common_is_no_teacher(teacher: Path, tmp_path: Path) -> None:
    other = weights.create_model(
        changed({"model.encoder_options": {"widths": (16, 16, 16), "depths": (0, 0, 0)}}).model
    )
    with pytest.raises(SegjaxError, match=r"has maps at strides 4 \(8 channels\), 8 .* kin"):
        find_teacher(str(teacher), other)
    with pytest.raises(SegjaxError, match="is neither installed weights nor a file"):
        find_teacher(str(tmp_path / "nobody.safetensors"), other)
