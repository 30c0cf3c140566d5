"""The training loop, top to bottom in the order in which it runs."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from segjax import weights
from segjax.config import TrainConfig, from_dict, to_dict
from segjax.data import Source
from segjax.data.loader import train_batches
from segjax.errors import SegjaxError
from segjax.files import write_json
from segjax.models import Segmenter
from segjax.training.checkpoint import Checkpoints
from segjax.training.log import Log
from segjax.training.optimizer import create_optimizer, create_schedule
from segjax.training.state import create_state, make_train_step, merge
from segjax.training.validation import (
    draw_examples,
    folded_parameters,
    make_predict,
    validate,
)

EXAMPLES = 8
"""Validation pictures that are drawn with their predictions."""

MAY_CHANGE = {"log_every", "eval_every", "save_every", "keep", "data.root", "data.threads"}
"""Fields that a resumed run may have otherwise, since no weight depends on them."""


def train(
    config: TrainConfig,
    workdir: Path,
    train_source: Source,
    val_source: Source,
    draws: list[float] | None = None,
) -> Path:
    """Trains, or goes on training, in `workdir`, which holds after it

        config.json          the resolved config
        log.jsonl            loss, validation and speed by step
        checkpoints/         the newest ones and the best
        pictures/            predictions on validation pictures, a file a validation
        NAME.safetensors     the averaged weights with the best validation so far

    Args:
      config: the run.
      workdir: a new folder, or one that the same config was trained in.
      train_source: pictures to train on.
      val_source: pictures to validate on.
      draws: how often each training picture is drawn, relative to the others.

    Returns:
      The path of the weights.

    Raises:
      SegjaxError: the loss is not finite, the batch does not divide among the devices, the folder
        belongs to another config or cannot be written, or SIGINT or SIGTERM came.
    """
    checkpoints = Checkpoints(workdir / "checkpoints", keep=config.keep)
    _claim(workdir, config, started=checkpoints.newest() is not None)
    released = workdir / f"{config.name}.safetensors"

    model = _create_model(config)
    optimizer = create_optimizer(config.optimizer, config.steps)
    schedule = create_schedule(config.optimizer, config.steps)
    step_fn = make_train_step(model, optimizer, config.loss, schedule, config.optimizer.ema_decay)
    predict = make_predict(model)

    replicated, by_batch = _shardings(config.data.batch_size)
    state = jax.device_put(create_state(model, optimizer), replicated)
    best = -1.0
    if restored := checkpoints.restore(state):
        state, position = restored
        best = position["best"]
        _same_pictures(position, len(train_source))
    step = int(state.step)
    log = Log(workdir / "log.jsonl", step)
    batches = train_batches(
        train_source,
        batch_size=config.data.batch_size,
        buckets=[((b.height, b.width), b.weight) for b in config.data.buckets],
        seed=config.seed,
        augmentation=config.data.augmentation,
        weights=draws,
        start_step=step,
        threads=config.data.threads,
    )

    def evaluate(step: int) -> float:
        average = nnx.clone(model)
        merge(average, *state.average)
        parameters = folded_parameters(average)
        figures = validate(lambda pixels: predict(parameters, pixels), val_source)
        log.write(step, val=figures)
        items = [val_source[index] for index in range(min(EXAMPLES, len(val_source)))]
        picture = workdir / "pictures" / f"step_{step:07d}.png"
        draw_examples(picture, lambda pixels: predict(parameters, pixels), items)
        if figures["mean_iou"] > best:
            weights.save(released, average, config.model, _facts(config, step, figures))
        return figures["mean_iou"]

    with (
        closing(checkpoints),
        _interruptible() as interrupted,
        _progress(config.steps, step) as progress,
    ):
        clock = _Clock(config.data.batch_size)
        while step < config.steps:
            with clock.waiting():
                batch = jax.device_put(next(batches), by_batch)
            state, figures = step_fn(state, batch)
            step += 1
            values = {name: float(value) for name, value in figures.items()}
            for name in ("loss", "grad_norm"):
                if not np.isfinite(values[name]):
                    raise SegjaxError(
                        f"{name} is {values[name]} at step {step}; it must be finite; the last "
                        "checkpoint is whole: look at the data, or start in another --workdir with "
                        "a lower --optimizer.learning-rate"
                    )
            if step % config.log_every == 0 or step == config.steps:
                speed = clock.read()
                log.write(step, **values, **speed)
                progress(
                    step,
                    f"loss {values['loss']:.3f} · {speed['step_ms']:.0f} ms a step · "
                    f"{speed['images_per_s']:.0f} images/s",
                )
            mean_iou = None
            if step % config.eval_every == 0 or step == config.steps:
                mean_iou = evaluate(step)
                best = max(best, mean_iou)
                clock.restart()
                progress(step, f"validation IoU {mean_iou:.4f}, best {best:.4f}")
            signals = list(interrupted)  # one that comes from here on waits for the next step
            if mean_iou is not None or step % config.save_every == 0 or signals:
                position = {"best": best, "pictures": len(train_source)}
                checkpoints.save(state, position, mean_iou)
            if signals and step < config.steps:
                raise SegjaxError(
                    f"stopped at step {step} by {signals[0]}; the checkpoint is written; run "
                    "the same command again to go on"
                )
    return released


def _create_model(config: TrainConfig) -> Segmenter:
    if config.init and config.encoder_init:
        raise SegjaxError("got both --init and --encoder-init; the first has an encoder; give one")
    if not config.init:
        try:
            model = weights.create_model(config.model)
        except (ValueError, TypeError) as error:
            raise SegjaxError(f"the config's model cannot be built: {error}; mend it") from error
        if config.encoder_init:
            weights.load_encoder(model, config.encoder_init)
        return model
    start = weights.load(config.init, trainable=True)
    for name, (theirs, ours) in _differences(start.config, config.model).items():
        if name != "seed":
            raise SegjaxError(
                f"the weights {config.init} are of another network than the config's: {name} is "
                f"{theirs}, not {ours}; --init needs the same network; take their config"
            )
    return start.model


def _claim(workdir: Path, config: TrainConfig, *, started: bool) -> None:
    """Writes the resolved config; a run that has started goes on as it began or not at all."""
    path = workdir / "config.json"
    if started and path.exists():
        began = from_dict(TrainConfig, json.loads(path.read_text()), str(path))
        for name, (then, now) in _differences(began, config).items():
            if name not in MAY_CHANGE:
                raise SegjaxError(
                    f"the run in {workdir} began with {name} {then}, now it is {now}; resuming "
                    "needs the same; set it back or choose another --workdir"
                )
    write_json(path, to_dict(config))


def _differences(one: Any, other: Any) -> dict[str, tuple[Any, Any]]:
    """Fields of two configs, by their dotted names, that are not the same."""
    first, second = (dict(_flat(to_dict(config))) for config in (one, other))
    pairs = {name: (first.get(name), second.get(name)) for name in first | second}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _same_pictures(position: dict[str, Any], pictures: int) -> None:
    before = position.get("pictures", pictures)
    if before != pictures:
        raise SegjaxError(
            f"the run began with {before} pictures, now there are {pictures}; resuming needs the "
            "same ones, or they would come in another order; choose another --workdir"
        )


def _facts(config: TrainConfig, step: int, figures: dict[str, float]) -> dict[str, Any]:
    return {
        "run": config.name,
        "step": step,
        "pictures_seen": step * config.data.batch_size,
        "data": Path(config.data.root).name,
        "lists": list(config.data.train),
        "validation": {"lists": list(config.data.val), **figures},
    }


def _shardings(batch_size: int) -> tuple[NamedSharding, NamedSharding]:
    """Of the state (a copy on each local device) and of a batch (a share on each)."""
    devices = jax.local_devices()
    if batch_size % len(devices):
        raise SegjaxError(
            f"a batch of {batch_size} pictures does not divide among {len(devices)} devices; it "
            f"must; {len(devices) * max(1, batch_size // len(devices))} would"
        )
    mesh = Mesh(np.array(devices), ("data",))
    return NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))


class _Clock:
    """Time a step, and how much of it was spent waiting for data."""

    def __init__(self, batch_size: int):
        self._batch_size = batch_size
        self.restart()

    def restart(self) -> None:
        """Forgets what was measured, after something that is no step."""
        self._since, self._waited, self._steps = time.perf_counter(), 0.0, 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around getting the batch of a step."""
        began = time.perf_counter()
        yield
        self._waited += time.perf_counter() - began
        self._steps += 1

    def read(self) -> dict[str, float]:
        """Figures since the last reading."""
        seconds = time.perf_counter() - self._since
        figures = {
            "step_ms": round(seconds / self._steps * 1e3, 2),
            "images_per_s": round(self._steps * self._batch_size / seconds, 2),
            "waiting_share": round(self._waited / seconds, 4),
        }
        self.restart()
        return figures


@contextmanager
def _interruptible() -> Iterator[list[str]]:
    """A list that gets the name of SIGINT or SIGTERM when one comes: the step is finished first.

    A second one acts at once.
    """
    received: list[str] = []
    previous: dict[int, Any] = {}

    def note(number: int, frame: Any) -> None:
        received.append(signal.Signals(number).name)
        signal.signal(number, previous[number])

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _progress(steps: int, done: int) -> Iterator[Any]:
    bar = Progress(
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with bar:
        task = bar.add_task("", total=steps, completed=done)
        yield lambda step, text: bar.update(task, completed=step, description=text)
