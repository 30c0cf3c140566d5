"""The training loop, top to bottom in the order in which it runs."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from segjax import weights
from segjax.config import TrainConfig
from segjax.data import Source
from segjax.data.loader import train_batches
from segjax.data.statistics import median_frequency_weights
from segjax.errors import SegjaxError
from segjax.models import Segmenter
from segjax.prediction import PicturePredictor, picture_area
from segjax.training import devices
from segjax.training.checkpoint import Checkpoints
from segjax.training.interruption import interruptible
from segjax.training.log import Log
from segjax.training.metering import Meter, Profile
from segjax.training.optimizer import create_optimizer, create_schedule
from segjax.training.resuming import claim, differences, same_pictures
from segjax.training.state import Figures, create_state, make_train_step, merge
from segjax.training.teacher import find_teacher
from segjax.training.validation import draw_examples, headline, validate

EXAMPLES = 8
"""Validation pictures that are drawn with their predictions."""


def train(
    config: TrainConfig,
    workdir: Path,
    train_source: Source,
    val_source: Source,
    draws: list[float] | None = None,
    names: Sequence[str] = (),
    convolve: Callable[..., jax.Array] | None = None,
) -> Path:
    """Trains, or goes on training, in `workdir`, which holds after it

        config.json          the resolved config
        log.jsonl            loss, validation and speed by step; tensorboard/ has the same
        checkpoints/         the newest ones and the best
        pictures/            predictions on validation pictures, a file a validation
        profile/             of `config.profile_steps`
        NAME.safetensors     the averaged weights with the best validation so far

    Of several processes (see `segjax.training.devices`) each is called alike, with the same folder
    and the same pictures.

    Args:
      config: the run.
      workdir: a new folder, or one that the same config was trained in.
      train_source: pictures to train on.
      val_source: pictures to validate on.
      draws: how often each training picture is drawn, relative to the others.
      names: of the classes, if there are several; the config's by default.
      convolve: computes convolutions; see `make_train_step`.

    Returns:
      The path of the weights.

    Raises:
      SegjaxError: the loss is not finite, the batch does not divide among the devices, the folder
        belongs to another config or cannot be written, or SIGINT or SIGTERM came to any process.
    """
    names = names or config.data.names
    row = devices.find_devices(config.data.batch_size, fsdp=config.fsdp)
    checkpoints = Checkpoints(workdir / "checkpoints", keep=config.keep)
    claim(workdir, config, started=checkpoints.newest() is not None)
    released = workdir / f"{config.name}.safetensors"

    model, origin = _create_model(config)
    _check_buckets(config, model.multiple)
    optimizer = create_optimizer(config.optimizer, config.steps)
    schedule = create_schedule(config.optimizer, config.steps)
    state = create_state(model, optimizer)
    layout = row.layout(state)
    state = jax.device_put(state, layout)
    best, since_best = -1.0, 0
    if restored := checkpoints.restore(state):
        state, position = restored
        best, since_best = position["best"], position.get("since_best", 0)
        same_pictures(position.get("pictures", len(train_source)), len(train_source))
    step, parts = int(state.step), config.optimizer.accumulate

    class_weights = _class_weights(config, train_source)
    teacher = None
    if config.teacher:
        teacher = find_teacher(config.teacher, model)
        origin |= {"teacher": Path(config.teacher).name, **_licence(origin, teacher.info)}
    make = partial(
        make_train_step,
        model,
        optimizer,
        config,
        schedule,
        layout,
        class_weights=class_weights,
        teacher=teacher,
    )
    step_fn = make(convolve=convolve)
    counted = make() if convolve else step_fn
    predict = PicturePredictor(model, area=picture_area(config.model))
    batches = train_batches(
        train_source,
        batch_size=config.data.batch_size,
        buckets=[((b.height, b.width), b.weight) for b in config.data.buckets],
        seed=config.seed,
        augmentation=config.data.augmentation,
        classes=config.model.classes,
        weights=draws,
        start_step=step * parts,
        threads=config.data.threads,
        workers=config.data.workers,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )

    def evaluate(step: int) -> float:
        average = nnx.clone(model)
        merge(average, *row.local(state.average))
        predict.take(average)
        figures = validate(
            predict, val_source, config.model.classes, row, ignore=config.data.ignore
        )
        log.write(step, val=figures)
        if devices.first():
            items = [val_source[index] for index in range(min(EXAMPLES, len(val_source)))]
            log.draw(step, draw_examples(predict, items, config.model.classes))
            if headline(figures) > best:
                facts = {**_facts(config, step, figures, names), **origin}
                weights.save(released, average, config.model, facts)
        return headline(figures)

    with (
        closing(checkpoints),
        closing(batches),
        closing(Log(workdir, step, active=devices.first(), names=names)) as log,
        closing(Profile(workdir / "profile", config.profile_steps)) as profile,
        interruptible() as signals,
        _progress(config.steps, step) as progress,
    ):
        meter = Meter(config.data.batch_size * parts, config.compute, counted, convolve)
        sent: deque[Sent] = deque()
        while step < config.steps and not _gave_up(config, since_best):
            profile.before(step + 1)
            figures = []
            for _ in range(parts):
                with meter.waiting():
                    batch = row.put_batch(next(batches))
                state, part = meter.call(step_fn, state, batch)
                figures.append(part)
            step += 1
            meter.step()
            profile.after(step, figures)

            # While the devices compute a step, the figures of the one before are read.
            sent.append((step, figures, row.any(bool(signals))))
            last = step == config.steps
            evaluates = last or step % config.eval_every == 0
            logs = last or step % config.log_every == 0
            due = evaluates or logs or step % config.save_every == 0
            values, stops = {}, False
            while len(sent) > (0 if due or stops else 1):
                values, stopped = _read(*sent.popleft())
                stops = stops or stopped

            if logs:
                speed = meter.read()
                log.write(step, **values, **speed)
                progress(
                    step,
                    f"loss {values['loss']:.3f} · {speed['step_ms']:.0f} ms a step · "
                    f"{speed['images_per_s']:.0f} images/s",
                )
            score = None
            if evaluates:
                score = evaluate(step)
                since_best = 0 if score > best else since_best + 1
                best = max(best, score)
                progress(step, f"validation IoU {score:.4f}, best {best:.4f}")
            if evaluates or stops or step % config.save_every == 0:
                position = {
                    "best": best,
                    "since_best": since_best,
                    "pictures": len(train_source),
                }
                checkpoints.save(state, position, score)
                meter.restart()
            if stops and step < config.steps:
                raise SegjaxError(
                    f"stopped at step {step} by {signals[0] if signals else 'another process'}; "
                    "the checkpoint is written; run the same command again to go on"
                )
    return released


Sent = tuple[int, list[Figures], jax.Array | bool]
"""A step that was sent to the devices, what its parts give, and whether to stop after it."""


def _read(
    step: int, parts: list[Figures], stops: jax.Array | bool
) -> tuple[dict[str, float], bool]:
    """The mean figures of a step's parts, when they are there."""
    rows = jax.device_get(parts)
    values = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    for name in ("loss", "grad_norm"):
        if not np.isfinite(values[name]):
            raise SegjaxError(
                f"{name} is {values[name]} at step {step}; it must be finite; the last checkpoint "
                "is whole: look at the data, or start in another --workdir with a lower "
                "--optimizer.learning-rate"
            )
    return values, bool(stops)


def _gave_up(config: TrainConfig, since_best: int) -> bool:
    return 0 < config.patience <= since_best


def _check_buckets(config: TrainConfig, multiple: int) -> None:
    for bucket in config.data.buckets:
        if bucket.height % multiple or bucket.width % multiple:
            raise SegjaxError(
                f"data.buckets has {bucket.height}x{bucket.width}; the network takes sides that "
                f"are multiples of {multiple}; give such"
            )


def _create_model(config: TrainConfig) -> tuple[Segmenter, dict[str, str]]:
    """The network to begin with, and of which weights it is."""
    if config.init and config.encoder_init:
        raise SegjaxError("got both --init and --encoder-init; the first has an encoder; give one")
    if not config.init:
        try:
            model = weights.create_model(config.model)
        except (ValueError, TypeError) as error:
            raise SegjaxError(f"the config's model cannot be built: {error}; mend it") from error
        if not config.encoder_init:
            return model, {}
        info = weights.load_encoder(model, config.encoder_init)
        return model, {"encoder_init": Path(config.encoder_init).name, **_licence(info)}
    start = weights.load(config.init, trainable=True)
    for name, (theirs, ours) in differences(start.config, config.model).items():
        if name not in ("seed", "area"):
            raise SegjaxError(
                f"the weights {config.init} are of another network than the config's: {name} is "
                f"{theirs}, not {ours}; --init needs the same network; take their config"
            )
    return start.model, {"init": Path(config.init).name, **_licence(start.info)}


def _licence(*infos: dict[str, Any]) -> dict[str, str]:
    """What may not be done with weights may not be done with what goes on from them."""
    licences = sorted({info["licence"] for info in infos if "licence" in info})
    return {"licence": "; ".join(licences)} if licences else {}


def _class_weights(config: TrainConfig, source: Source) -> np.ndarray | None:
    """float32 [classes] as `config.loss` wants them; None if all classes weigh the same."""
    classes, loss = config.model.classes, config.loss
    if loss.class_weights and len(loss.class_weights) != classes:
        raise SegjaxError(
            f"loss.class_weights has {len(loss.class_weights)} numbers; there must be one for each "
            f"of the {classes} classes; correct it"
        )
    if loss.median_frequency:
        return median_frequency_weights(source, classes)
    return np.array(loss.class_weights, np.float32) if loss.class_weights else None


def _facts(
    config: TrainConfig, step: int, figures: dict[str, Any], names: Sequence[str]
) -> dict[str, Any]:
    several = {"classes": list(names), "ignore": list(config.data.ignore)}
    return {
        "run": config.name,
        "step": step,
        "pictures_seen": step * config.optimizer.accumulate * config.data.batch_size,
        "data": Path(config.data.root).name,
        "lists": list(config.data.train),
        "validation": {"lists": list(config.data.val), **figures},
        **(several if config.model.classes > 1 else {}),
    }


@contextmanager
def _progress(steps: int, done: int) -> Iterator[Any]:
    bar = Progress(
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
        disable=not devices.first(),
    )
    with bar:
        task = bar.add_task("", total=steps, completed=done)
        yield lambda step, text: bar.update(task, completed=step, description=text)
