"""`segjax release`: from a finished run to a folder of released weights with its model card."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from segjax import weights
from segjax.config import TrainConfig, from_dict
from segjax.errors import SegjaxError
from segjax.files import replacing
from segjax.images import read_image, write_image
from segjax.training.log import read as read_log

PERSON = ("mean_iou", "median_iou", "dataset_iou", "boundary_f", "mad")
LABELS = ("miou", "pixel_accuracy", "mean_accuracy", "dice", "boundary_f")
"""Figures of a report, by what the network tells; a log has the first two."""


@dataclass(frozen=True)
class Options:
    """Write released weights and the model card of the run that made them.

    Examples:
      segjax evaluate --data people --list val.txt --model runs/portrait/portrait.safetensors \\
        --report out/val.json
      segjax release --run runs/portrait --out segjax/assets/portrait --about configs/portrait.md \\
        --hardware "2 cores of an AMD EPYC" --report out/val.json
    """

    run: Path
    """Folder of the run: config.json, log.jsonl and the weights."""
    out: Path
    """Folder to write: NAME.safetensors, README.md (the card), curve.png. A file LICENSE that is
    there already is named on loading by its first line."""
    about: Path
    """Text in Markdown that the card begins with: purpose, data, licence, limits."""
    hardware: str
    """What it was trained on, in words."""
    weights: Path | None = None
    """Weights to release in place of the run's own, such as `segjax average` makes of them and of
    other runs'."""
    half: bool = False
    """Keep kernels as float16, in half the bytes: to be evaluated as they come out of the file."""
    report: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = ()
    """A report of `segjax evaluate`, a row of the card; may be given several times, so that peers
    stand beside ours."""
    outlines: Path | None = None
    """The picture `outlines.png` of `segjax evaluate --pictures`, for the card."""


def main(options: Options) -> None:
    """Writes the folder.

    Raises:
      SegjaxError: the run has no validated weights, or a file is missing or broken.
    """
    path = options.run / "config.json"
    config = from_dict(TrainConfig, _read_json(path), str(path))
    reports = [_read_json(path) for path in options.report]
    about = _read_text(options.about, "the text that the card begins with")
    outlines = read_image(options.outlines) if options.outlines else None
    released = weights.load(options.run / f"{config.name}.safetensors", trainable=True)
    lines = read_log(options.run / "log.jsonl")
    licence = options.out / "LICENSE"
    info = dict(released.info)
    if options.weights:
        released = weights.load(options.weights, trainable=True)
        # The run's validation is of its own weights.
        info = {name: value for name, value in info.items() if name != "validation"}
        info |= released.info
    if licence.is_file() and (text := _read_text(licence, "the licence").strip()):
        info["licence"] = text.splitlines()[0]
    # All that can fail by what it is given comes before the first file.
    card = write_card(options, config, info, lines, reports, about)
    weights.save(
        options.out / f"{config.name}.safetensors",
        released.model,
        released.config,
        info,
        half=options.half,
    )
    draw_curve(options.out / "curve.png", lines, _batch(config))
    if outlines is not None:
        write_image(options.out / "outlines.png", outlines)
    with replacing(options.out / "README.md") as beside:
        beside.write_text(card)
    print(f"released to {options.out}: read {options.out / 'README.md'}")


def write_card(
    options: Options,
    config: TrainConfig,
    info: dict[str, Any],
    lines: list[dict[str, Any]],
    reports: list[dict[str, Any]],
    about: str,
) -> str:
    """The model card in Markdown: the text given, then facts of the run alone."""
    steps = [line for line in lines if "step_ms" in line]
    validated = [line for line in lines if "val" in line]
    curves = _curves(validated)
    hours = _hours(steps)
    batch = _batch(config)
    parts = [
        about.rstrip(),
        "## How it was trained",
        f"    segjax train --config configs/{config.name}.py",
        f"{info['step']:,} of {config.steps:,} steps of {batch} pictures "
        f"({info['step'] * batch:,} pictures seen), {hours:.1f} hours on {options.hardware}, "
        f"{np.median([line['images_per_s'] for line in steps]):.0f} pictures a second. The weights "
        f"are the moving average with the best {curves[0]} in validation."
        + _averaged(info.get("averaged", [])),
        "![Validation and loss by pictures seen](curve.png)",
        f"| pictures seen | {' | '.join(curves)} |\n|---|---|---|\n"
        + "\n".join(
            f"| {line['step'] * batch:,} | "
            + " | ".join(f"{line['val'][name]:.4f}" for name in curves)
            + " |"
            for line in _thinned(validated, 12)
        ),
    ]
    if reports:
        parts += ["## What it is worth", _table(reports)]
    if options.outlines:
        parts.append(
            "The best (above) and the worst pictures of the first set, with their IoU: white was "
            "found, red was missed, blue was taken for a person. The photographs themselves may "
            "not be passed on.\n\n![Outlines of the best and worst cases](outlines.png)"
        )
    return "\n\n".join(parts) + "\n"


def _averaged(parts: list[dict[str, Any]]) -> str:
    """What the card says of weights that are the mean of several runs'."""
    if not parts:
        return ""
    shares = ", ".join(f"{part['share']:.1%} of {part['step']:,} steps" for part in parts)
    return (
        f" What is released is the mean of the weights of {len(parts)} runs (`segjax average`): "
        f"{shares}."
    )


def draw_curve(path: Path, lines: list[dict[str, Any]], batch_size: int) -> None:
    """Writes a picture of the validations and the training loss by pictures seen."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    scores = figure.subplots()
    scores.set(xlabel="pictures seen", ylabel="validation")
    scores.grid(alpha=0.3)
    validated = [line for line in lines if "val" in line]
    for name in _curves(validated):
        seen = [line["step"] * batch_size for line in validated]
        scores.plot(seen, [line["val"][name] for line in validated], marker=".", label=name)
    losses = scores.twinx()
    losses.set(ylabel="training loss")
    steps = [line for line in lines if "loss" in line]
    losses.plot(
        [line["step"] * batch_size for line in steps],
        [line["loss"] for line in steps],
        color="0.7",
        linewidth=0.8,
        zorder=0,
    )
    scores.legend(loc="lower right")
    with replacing(path) as beside:
        figure.savefig(beside, dpi=100)


def _table(reports: list[dict[str, Any]]) -> str:
    names = PERSON if "mean_iou" in reports[0] else LABELS
    for report in reports:
        if missing := [name for name in (*names, "images", "lists", "model") if name not in report]:
            raise SegjaxError(
                f"a report lacks {missing[0]}; all are of `segjax evaluate`, all of masks or all "
                "of labels; leave the other out"
            )
    rows = [f"| model | pictures | images | {' | '.join(names)} |", "|---" * 8 + "|"]
    for report in reports:
        figures = [f"{report['images']:,}", *(f"{report[name]:.3f}" for name in names)]
        lists = " ∩ ".join(Path(name).name for name in report["lists"])
        rows.append(f"| {Path(report['model']).stem} | {lists} | " + " | ".join(figures) + " |")
    return "\n".join(rows)


def _curves(validated: list[dict[str, Any]]) -> tuple[str, ...]:
    """The two figures of a log's validations that are shown."""
    return (PERSON if validated and "mean_iou" in validated[0]["val"] else LABELS)[:2]


def _batch(config: TrainConfig) -> int:
    """Pictures in a step."""
    return config.data.batch_size * config.optimizer.accumulate


def _hours(steps: list[dict[str, Any]]) -> float:
    spent, before = 0.0, 0
    for line in steps:
        spent += line["step_ms"] / 3.6e6 * (line["step"] - before)
        before = line["step"]
    return spent


def _thinned(lines: list[Any], most: int) -> list[Any]:
    """At most `most` of them, evenly, the last always."""
    if len(lines) <= most:
        return lines
    return [lines[round(i)] for i in np.linspace(0, len(lines) - 1, most)]


def _read_text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SegjaxError(f"{path}, {what}, cannot be read: {error}; give a text file") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise SegjaxError(f"{path} does not exist; give the folder of a run, or a report") from None
    except (OSError, ValueError) as error:
        raise SegjaxError(f"{path} cannot be read as JSON: {error}; write it again") from error
