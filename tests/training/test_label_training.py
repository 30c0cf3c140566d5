"""A run of several classes with all that a step can have: it learns, stops and goes on exactly."""

import dataclasses
import os
import shutil
import signal
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import several_run
import small_run
from flax import nnx
from several_run import TRAIN, VAL
from small_run import changed
from tensorboardX.proto import event_pb2

from segjax import weights
from segjax.data import IGNORE
from segjax.errors import SegjaxError
from segjax.images import read_image
from segjax.labels import palette
from segjax.training import loop
from segjax.training.devices import find_devices
from segjax.training.log import Log, read
from segjax.training.optimizer import create_optimizer, create_schedule
from segjax.training.state import _in_training, create_state, make_train_step

CONFIG = changed(
    {
        "compute": "bfloat16",
        "data.batch_size": 4,
        "optimizer.accumulate": 2,
        "optimizer.ema_decay": 0.5,
        "steps": 8,
        "eval_every": 4,
        "save_every": 8,
        "profile_steps": (2, 3),
    },
    several_run.CONFIG,
)
BOXES = small_run.Boxes(2)


pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing stopped; not to be changed."""
    workdir = tmp_path_factory.mktemp("whole")
    loop.train(CONFIG, workdir, TRAIN, VAL)
    return workdir


def curve(workdir: Path) -> list[tuple[int, Any]]:
    return [
        (line["step"], line.get("val") or [line[name] for name in ("loss", "ce", "grad_norm")])
        for line in read(workdir / "log.jsonl")
    ]


def test_a_run_of_labels_learns_and_leaves_what_it_says(whole: Path) -> None:
    lines = read(whole / "log.jsonl")
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 8 and np.mean(losses[-2:]) < np.mean(losses[:2])
    for line in lines:
        if "loss" in line:
            terms = sum(line[name] for name in ("ce", "dice")) + 0.5 * line["edge"]
            assert line["loss"] == pytest.approx(terms + 0.4 * line["auxiliary"], rel=1e-5)
            assert line["peak_share"] > 0 and "in bfloat16, measured" in line["peak_of"]
    figures = {line["step"]: line["val"] for line in lines if "val" in line}
    assert list(figures) == [4, 8] and all(
        len(one["per_class_iou"]) == 3 for one in figures.values()
    )

    released = weights.load(whole / "several.safetensors")
    best = max(figures, key=lambda step: figures[step]["miou"])
    assert (released.info["step"], released.info["pictures_seen"]) == (best, best * 8)
    assert released.info["validation"]["miou"] == figures[best]["miou"]
    assert {value.dtype for value in jax.tree.leaves(nnx.state(released.model))} == {np.dtype("f4")}
    assert list((whole / "profile").rglob("*.xplane.pb"))


def test_examples_are_drawn_in_the_palettes_colours(whole: Path) -> None:
    picture = read_image(whole / "pictures" / "step_0000008.png")
    assert picture.shape == (5 * 164, 3 * 240, 3)
    true = picture[:160, 240:480].reshape(-1, 3)
    found = picture[:160, 480:].reshape(-1, 3)
    colours = palette(256)
    assert set(map(tuple, true)) == set(map(tuple, colours[[0, 1, 2, IGNORE]]))
    assert set(map(tuple, found)) <= set(map(tuple, colours[:3]))


def test_tensorboard_is_told_the_log(whole: Path) -> None:
    (path,) = (whole / "tensorboard").iterdir()
    told: dict[str, list[int]] = {}
    losses = []
    for event in events(path.read_bytes()):
        for value in event.summary.value:
            told.setdefault(value.tag, []).append(event.step)
            losses += [value.simple_value] if value.tag == "train/loss" else []
    assert told["train/loss"] == told["train/images_per_s"] == [*range(1, 9)]
    assert told["val/miou"] == told["examples"] == [4, 8]
    assert {tag for tag in told if tag.startswith("val/per_class_iou/")} == {
        f"val/per_class_iou/{label}" for label in range(3)
    }
    assert losses == pytest.approx(
        [row["loss"] for row in read(whole / "log.jsonl") if "loss" in row]
    )


def events(data: bytes) -> Iterator[Any]:
    """Of a TensorBoard file: length (8 bytes), its checksum (4), an event, its checksum (4)."""
    while data:
        (size,) = struct.unpack("<Q", data[:8])
        yield event_pb2.Event.FromString(data[12 : 12 + size])  # pyright: ignore[reportAttributeAccessIssue]
        data = data[12 + size + 4 :]


def test_stopping_amid_a_run_changes_nothing(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupting(Log):
        def write(self, step: int, **figures: Any) -> None:
            super().write(step, **figures)
            if step == 2:
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(loop, "Log", Interrupting)
    with pytest.raises(SegjaxError, match=r"^stopped at step 3 by SIGINT"):
        loop.train(CONFIG, tmp_path, TRAIN, VAL)
    monkeypatch.undo()
    # Only how fast it goes may be otherwise.
    loop.train(changed({"data.threads": 2, "profile_steps": (0, 0)}, CONFIG), tmp_path, TRAIN, VAL)
    assert curve(tmp_path) == curve(whole)


def test_a_run_ends_when_validation_no_longer_improves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = changed({"eval_every": 1, "patience": 2, "profile_steps": (0, 0)}, CONFIG)
    scores = iter([0.5, 0.6, 0.4, 0.6, 0.9])
    monkeypatch.setattr(loop, "validate", lambda *_, **__: {"miou": next(scores)})
    for _ in range(2):  # what has ended does not go on
        assert loop.train(config, tmp_path, TRAIN, VAL) == tmp_path / "several.safetensors"
        assert [line["step"] for line in read(tmp_path / "log.jsonl")] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert weights.load(tmp_path / "several.safetensors").info["step"] == 2


def test_class_weights_have_one_number_a_class(tmp_path: Path) -> None:
    config = changed({"loss.median_frequency": False, "loss.class_weights": (1.0, 2.0)}, CONFIG)
    with pytest.raises(SegjaxError, match=r"class_weights has 2 numbers; .* one for each of the 3"):
        loop.train(config, tmp_path, TRAIN, VAL)
    shutil.rmtree(tmp_path)


# --- the step -------------------------------------------------------------------------------


def test_half_precision_is_in_the_network_and_nowhere_else() -> None:
    model = weights.create_model(CONFIG.model)
    optimizer = create_optimizer(CONFIG.optimizer, CONFIG.steps)
    schedule = create_schedule(CONFIG.optimizer, CONFIG.steps)
    state = create_state(model, optimizer)
    batch = {
        name: np.stack([BOXES[index][name] for index in range(2)]) for name in ("image", "mask")
    }

    def products(compute: str) -> set[str]:
        config = dataclasses.replace(CONFIG, compute=compute)
        layout = find_devices(2).layout(state)
        step = make_train_step(model, optimizer, config, schedule, layout)
        traced = step.trace(state, batch)  # pyright: ignore[reportFunctionMemberAccess]
        after, figures = traced.out_info
        assert {leaf.dtype for leaf in jax.tree.leaves((after, figures))} <= {
            np.dtype("float32"),
            np.dtype("int32"),
        }
        return {
            str(equation.outvars[0].aval.dtype)
            for equation in equations(traced.jaxpr.jaxpr)
            if equation.primitive.name in ("conv_general_dilated", "dot_general")
        }

    assert products("float32") == {"float32"}
    assert products("bfloat16") == {"bfloat16"}


def equations(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda part: hasattr(part, "jaxpr")
        ):
            if hasattr(inner, "jaxpr"):
                yield from equations(inner.jaxpr)


@pytest.mark.parametrize(("frozen", "moves"), [("none", "both"), ("encoder", "head"), ("all", "")])
def test_frozen_norms_keep_their_statistics(frozen: str, moves: str) -> None:
    network = _in_training(weights.create_model(CONFIG.model), jnp.dtype("float32"), frozen)
    norms = {"both": network.encoder.stem.norm, "head": network.decoder.conv.norm}
    for place, norm in norms.items():
        norm(jax.random.normal(jax.random.key(0), (2, 4, 4, norm.num_features)))
        assert (np.asarray(norm.mean[...]) != 0).any() == (moves in ("both", place))
