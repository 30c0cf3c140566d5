import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_run
from small_run import CONFIG, TRAIN, VAL, Change, changed

from segjax import weights
from segjax.config import Bucket, ModelConfig
from segjax.errors import SegjaxError
from segjax.images import read_image
from segjax.training import loop
from segjax.training.checkpoint import Checkpoints
from segjax.training.devices import find_devices
from segjax.training.interruption import interruptible
from segjax.training.log import Log, read
from segjax.training.metering import Meter
from segjax.training.optimizer import create_optimizer, create_schedule
from segjax.training.resuming import claim
from segjax.training.state import create_state, make_train_step, split

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing stopped; not to be changed."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    loop.train(CONFIG, workdir, TRAIN, VAL)
    return workdir


def curve(workdir: Path) -> list[tuple[int, Any]]:
    """What a log says of the weights: losses and validations, not times."""
    return [
        (line["step"], line.get("val") or [line[name] for name in ("loss", "bce", "grad_norm")])
        for line in read(workdir / "log.jsonl")
    ]


def numbers(tree: Any) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def script(cwd: Path, *arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, small_run.__file__, *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


# --- a run ----------------------------------------------------------------------------------


def test_a_run_learns_and_leaves_what_it_says(whole: Path) -> None:
    lines = read(whole / "log.jsonl")
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == CONFIG.steps and np.mean(losses[-4:]) < np.mean(losses[:4])
    assert all(line["images_per_s"] > 0 for line in lines if "loss" in line)
    validations = {line["step"]: line["val"]["mean_iou"] for line in lines if "val" in line}
    assert list(validations) == [6, 12] and all(0 <= v <= 1 for v in validations.values())

    released = weights.load(whole / "small.safetensors")
    assert released.config == CONFIG.model
    best = max(validations, key=lambda step: validations[step])
    assert released.info["step"] == best
    assert released.info["validation"]["mean_iou"] == validations[best]
    assert read_image(whole / "pictures" / "step_0000012.png").shape[0] == len(VAL) * 164


# --- stopping and going on ------------------------------------------------------------------


def test_a_killed_run_goes_on_as_if_nothing_had_been(
    whole: Path, tmp_path: Path, cache: Path
) -> None:
    done = script(tmp_path, tmp_path / "run", cache, 8)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert curve(tmp_path / "run")[-1][0] == 8
    assert Checkpoints(tmp_path / "run" / "checkpoints", keep=1).newest() == 6

    loop.train(CONFIG, tmp_path / "run", TRAIN, VAL)
    assert curve(tmp_path / "run") == curve(whole)
    found, wanted = (
        weights.load(folder / "small.safetensors", trainable=True)
        for folder in (tmp_path / "run", whole)
    )
    assert found.info == wanted.info
    assert numbers(split(found.model)) == numbers(split(wanted.model))


def test_sigterm_writes_a_checkpoint_and_says_so(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupting(Log):
        def write(self, step: int, **figures: Any) -> None:
            super().write(step, **figures)
            if step == 4:  # the step that follows is told
                os.kill(os.getpid(), signal.SIGTERM)

    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(loop, "Log", Interrupting)
    line = "^stopped at step 5 by SIGTERM; the checkpoint is written; run the same command again"
    with pytest.raises(SegjaxError, match=line):
        loop.train(CONFIG, tmp_path, TRAIN, VAL)
    assert signal.getsignal(signal.SIGTERM) == handler
    assert Checkpoints(tmp_path / "checkpoints", keep=1).newest() == 5

    monkeypatch.undo()
    loop.train(CONFIG, tmp_path, TRAIN, VAL)
    assert curve(tmp_path) == curve(whole)


def test_a_second_signal_acts_at_once() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's "&" ignores it
    with contextlib.ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGINT, before)
        received = stack.enter_context(interruptible())
        os.kill(os.getpid(), signal.SIGINT)
        assert received == ["SIGINT"]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()


def test_a_finished_run_stays_as_it_is_whatever_does_not_matter(
    whole: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    config = changed({"log_every": 7, "save_every": 5, "data.root": "moved", "data.threads": 2})
    assert loop.train(config, run, TRAIN, VAL) == run / "small.safetensors"
    assert curve(run) == curve(whole)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 1}, "began with seed 0, now it is 1; resuming needs the same"),
        ({"data.batch_size": 8}, "began with data.batch_size 4, now it is 8"),
        ({"steps": 24}, "began with steps 12, now it is 24"),
        ({"optimizer.learning_rate": 0.5}, "optimizer.learning_rate 0.01, now it is 0.5"),
        (
            {"model.encoder_options": {"widths": (8, 8, 16), "depths": (0, 0, 0)}},
            r"model.encoder_options.widths \(8, 8, 8\), now it is \(8, 8, 16\)",
        ),
        (
            {"model.encoder_options": {"widths": (8, 8, 8)}},
            r"model.encoder_options.depths \(0, 0, 0\), now it is None",
        ),
    ],
)
def test_another_config_does_not_go_on(whole: Path, change: Change, words: str) -> None:
    before = (whole / "config.json").read_text()
    with pytest.raises(SegjaxError, match=words):
        loop.train(changed(change), whole, TRAIN, VAL)
    assert (whole / "config.json").read_text() == before


def test_a_list_in_a_config_is_the_tuple_that_json_makes_of_it(whole: Path, tmp_path: Path) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    listed = changed({"model.encoder_options": {"widths": [8, 8, 8], "depths": [0, 0, 0]}})
    loop.train(listed, run, TRAIN, VAL)
    loop._create_model(
        dataclasses.replace(listed, init=str(whole / "small.safetensors"))  # of the same network
    )


def test_a_size_that_the_network_does_not_take_is_named(tmp_path: Path) -> None:
    odd = changed({"data.buckets": (Bucket(30, 48, 1.0),)})
    with pytest.raises(SegjaxError, match=r"data.buckets has 30x48; .* multiples of \d+; give"):
        loop.train(odd, tmp_path, TRAIN, VAL)


def test_other_pictures_do_not_go_on(whole: Path, tmp_path: Path) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    with pytest.raises(SegjaxError, match="began with 10 pictures, now there are 3"):
        loop.train(CONFIG, run, VAL, VAL)


def test_a_folder_where_nothing_was_trained_yet_takes_another_config(tmp_path: Path) -> None:
    other = changed({"seed": 1})
    for config in (CONFIG, other):
        claim(tmp_path, config, started=False)
    claim(tmp_path, other, started=True)
    with pytest.raises(SegjaxError, match="began with seed 1, now it is 0"):
        claim(tmp_path, CONFIG, started=True)


# --- what ends a run ------------------------------------------------------------------------


@pytest.mark.parametrize(("figure", "value"), [("loss", "nan"), ("grad_norm", "inf")])
def test_a_figure_that_is_not_finite_stops_the_run(
    figure: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: Meter, step_fn: Any, state: Any, batch: Any) -> Any:
        done = int(state.step)
        state, figures = call(self, step_fn, state, batch)
        return state, {**figures, figure: jnp.asarray(float(value))} if done == 2 else figures

    call = Meter.call
    monkeypatch.setattr(Meter, "call", failing)
    with pytest.raises(SegjaxError, match=f"^{figure} is {value} at step 3; it must be finite"):
        loop.train(changed({"save_every": 1}), tmp_path, TRAIN, VAL)
    assert Checkpoints(tmp_path / "checkpoints", keep=1).newest() == 2
    assert curve(tmp_path)[-1][0] == 2


def test_a_batch_has_to_divide_among_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    three = jax.devices() * 3
    monkeypatch.setattr(jax, "devices", lambda: three)
    with pytest.raises(SegjaxError, match=r"4 pictures does not divide among 3 .* 3 would"):
        find_devices(4)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SegjaxError, match=r"cannot write .*file/run/checkpoints: Not a directory"):
        loop.train(CONFIG, tmp_path / "file" / "run", TRAIN, VAL)


def test_a_model_that_cannot_be_built_is_named(tmp_path: Path) -> None:
    for change, words in (
        ({"model.encoder": "vgg"}, "encoder: got 'vgg'; known are"),
        ({"model.decoder_options": {"width": 3}}, "unexpected keyword argument 'width'"),
    ):
        with pytest.raises(SegjaxError, match=f"the config's model cannot be built: .*{words}"):
            loop.train(changed(change), tmp_path, TRAIN, VAL)


# --- averages, other weights ----------------------------------------------------------------


def test_the_average_has_a_short_memory_at_first() -> None:
    model = weights.create_model(CONFIG.model)
    optimizer = create_optimizer(CONFIG.optimizer, CONFIG.steps)
    schedule = create_schedule(CONFIG.optimizer, CONFIG.steps)
    state = create_state(model, optimizer)
    layout = find_devices(4).layout(state)
    step = make_train_step(model, optimizer, CONFIG, schedule, layout)
    batch = {
        "image": jnp.asarray(np.stack([TRAIN[i]["image"][:32, :48] for i in range(4)])),
        "mask": jnp.asarray(np.stack([TRAIN[i]["mask"][:32, :48] for i in range(4)])),
    }

    def leaves(tree: Any) -> list[np.ndarray]:
        return [np.array(leaf) for leaf in jax.tree.leaves(tree)]

    for done, decay in ((0, 1 / 10), (1, 2 / 11), (2, 3 / 12), (1_000_000, 0.999)):
        state = state._replace(step=jnp.asarray(done, jnp.int32))
        before = leaves(state.average)
        state, _ = step(state, batch)
        now = leaves((state.params, state.stats))
        for average, old, new in zip(leaves(state.average), before, now, strict=True):
            np.testing.assert_allclose(average, decay * old + (1 - decay) * new, 1e-5, 1e-6)


def test_a_run_starts_from_released_weights(whole: Path) -> None:
    init = whole / "small.safetensors"
    start, origin = loop._create_model(changed({"init": str(init), "model.seed": 7}))
    assert origin == {"init": "small.safetensors"}
    released = weights.load(init, trainable=True).model
    assert numbers(split(start)) == numbers(split(released))
    assert start.encoder.stem.norm is not None


def test_a_licence_goes_on_with_the_weights(whole: Path, tmp_path: Path) -> None:
    released = weights.load(whole / "small.safetensors", trainable=True)
    licensed = tmp_path / "licensed.safetensors"
    weights.save(licensed, released.model, released.config, {"licence": "Not for sale"})
    for way in ("init", "encoder_init"):
        _, origin = loop._create_model(changed({way: str(licensed)}))
        assert origin == {way: "licensed.safetensors", "licence": "Not for sale"}


def test_a_run_starts_with_an_encoder_s_weights(whole: Path) -> None:
    init = {"encoder_init": str(whole / "small.safetensors")}
    start, origin = loop._create_model(changed({**init, "model.seed": 7}))
    assert origin == {"encoder_init": "small.safetensors"}
    fresh, origin = loop._create_model(changed({"model.seed": 7}))
    assert origin == {}
    released = weights.load(whole / "small.safetensors", trainable=True).model
    assert numbers(split(start.encoder)) == numbers(split(released.encoder))
    assert numbers(split(start.decoder)) == numbers(split(fresh.decoder))
    with pytest.raises(SegjaxError, match="got both --init and --encoder-init; the first has an"):
        loop._create_model(changed({**init, "init": "portrait"}))


def test_a_run_does_not_start_from_weights_of_another_network(whole: Path, tmp_path: Path) -> None:
    init = {"init": str(whole / "small.safetensors")}
    other = {**init, "model": ModelConfig("hybrid", "skip_aspp")}
    with pytest.raises(SegjaxError, match=r"another network .* encoder is dilated_resnet, not"):
        loop.train(changed(other), tmp_path, TRAIN, VAL)
    with pytest.raises(SegjaxError, match="neither installed weights nor a file"):
        loop.train(changed({"init": "nobody"}), tmp_path, TRAIN, VAL)


def test_the_schedule_warms_up_and_ends_low() -> None:
    config = dataclasses.replace(CONFIG.optimizer, warmup_steps=10)
    schedule = create_schedule(config, 1000)
    rates = [np.asarray(schedule(step)) for step in (0, 5, 10, 505, 1000)]
    np.testing.assert_allclose(rates, [0, 0.005, 0.01, 0.00505, 0.0001], rtol=1e-5)
    assert np.asarray(create_schedule(config, 1)(0)) == pytest.approx(0.01)  # no room to warm up


def test_kernels_alone_decay() -> None:
    config = dataclasses.replace(CONFIG.optimizer, weight_decay=0.5, warmup_steps=0)
    optimizer = create_optimizer(config, 100)
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    zeros = jax.tree.map(jnp.zeros_like, params)
    update = jax.jit(lambda gradients: optimizer.update(gradients, optimizer.init(params), params))
    updates = update(zeros)[0]
    np.testing.assert_allclose(updates["kernel"], -0.01 * 0.5, rtol=1e-5)
    np.testing.assert_array_equal(updates["bias"], 0)


# --- the log --------------------------------------------------------------------------------


def test_a_log_is_one_curve_however_often_it_was_stopped(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = Log(tmp_path, 0)
    for step in (1, 2, 3):
        log.write(step, loss=step / 4)
    with path.open("a") as file:
        file.write('{"step": 4, "lo')  # killed here
    assert read(path) == [{"step": step, "loss": step / 4} for step in (1, 2, 3)]
    Log(tmp_path, 2).write(3, loss=0.5)
    assert [(line["step"], line["loss"]) for line in read(path)] == [(1, 0.25), (2, 0.5), (3, 0.5)]


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    log = Log(tmp_path / "run", 0)
    (tmp_path / "run" / "log.jsonl").mkdir()
    with pytest.raises(SegjaxError, match=r"cannot write .*log.jsonl: Is a directory"):
        log.write(1)
