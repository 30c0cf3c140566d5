"""Runs whose convolutions the C functions compute: nearly those of float32, and exact to go on."""

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_run import TRAIN, VAL, changed

from segjax import weights
from segjax.config import Bucket
from segjax.errors import SegjaxError
from segjax.training import loop
from segjax.training.devices import find_devices
from segjax.training.log import Log, read
from segjax.training.optimizer import create_optimizer, create_schedule
from segjax.training.state import create_state, make_train_step
from segjax_kernels.cpu.training import convolve

# The hybrid encoder has all kinds: a dense stem of three channels, strides, depthwise, 1×1.
CONFIG = changed(
    {
        "compute": "bfloat16",
        "model.encoder": "hybrid",
        "model.encoder_options": {"widths": (8, 8, 16), "depths": (0, 1), "expanded": 16},
        "data.buckets": (Bucket(32, 48, 1.0),),
        "steps": 4,
        "eval_every": 4,
        "save_every": 2,
    }
)


pytestmark = pytest.mark.usefixtures("trains_by_c", "cache")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing stopped."""
    workdir = tmp_path_factory.mktemp("whole")
    loop.train(CONFIG, workdir, TRAIN, VAL, convolve=convolve)
    return workdir


def lines(workdir: Path) -> list[dict[str, Any]]:
    return [line for line in read(workdir / "log.jsonl") if "loss" in line]


def test_a_run_is_nearly_that_of_float32(whole: Path, tmp_path: Path) -> None:
    loop.train(dataclasses.replace(CONFIG, compute="float32"), tmp_path, TRAIN, VAL)
    for one, other in zip(lines(whole), lines(tmp_path), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=0.02)
        assert one["loss"] != other["loss"]
    assert "in bfloat16, measured" in lines(whole)[-1]["peak_of"]


def test_no_convolution_is_left_to_xla_and_all_are_counted(whole: Path) -> None:
    model = weights.create_model(CONFIG.model)
    optimizer = create_optimizer(CONFIG.optimizer, CONFIG.steps)
    schedule = create_schedule(CONFIG.optimizer, CONFIG.steps)
    state = create_state(model, optimizer)
    layout = find_devices(4).layout(state)
    blank = np.zeros((4, 32, 48), np.uint8)
    batch = {"image": np.stack([blank] * 3, 3), "mask": blank}
    by_xla, by_c = (
        make_train_step(model, optimizer, CONFIG, schedule, layout, convolve=by)
        for by in (None, convolve)
    )
    lowered = by_c.lower(state, batch)  # pyright: ignore[reportFunctionMemberAccess]
    assert "stablehlo.convolution" not in lowered.as_text()
    meter = loop.Meter(4, "bfloat16", by_xla)
    meter.call(lambda *_: None, state, batch)
    assert meter._done > 5 * lowered.cost_analysis()["flops"]


def test_a_run_that_was_stopped_goes_on_exactly(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupting(Log):
        def write(self, step: int, **figures: Any) -> None:
            super().write(step, **figures)
            if step == 1:  # the step that follows is told
                os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop, "Log", Interrupting)
    with pytest.raises(SegjaxError, match=r"^stopped at step 2 by SIGTERM"):
        loop.train(CONFIG, tmp_path, TRAIN, VAL, convolve=convolve)
    monkeypatch.undo()
    loop.train(CONFIG, tmp_path, TRAIN, VAL, convolve=convolve)
    assert [line["loss"] for line in lines(tmp_path)] == [line["loss"] for line in lines(whole)]
