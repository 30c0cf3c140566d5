"""How much do masks flicker where nothing moves?

    python benchmarks/flip_rate.py --clips ../shared/data/videos --pattern "sign_*" \\
        --model portrait --model ../shared/peers/mediapipe_landscape_144x256.onnx \\
        --report out/flip_rate.json

The flip rate (`segjax.evaluation.metrics.flip_rate`) of every clip and its mean over the clips,
for each model: released weights smoothed as `segjax segment` does, ONNX networks raw. A mask that
never moves has the rate 0, so look at the masks too (`segjax segment`) before trusting a low one.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import jax
import numpy as np
from rich.console import Console
from rich.table import Table

import segjax
from segjax.cli.segment import load_clip
from segjax.errors import SegjaxError
from segjax.evaluation.metrics import flip_rate
from segjax.evaluation.predictors import Predictor
from segjax.files import write_json
from segjax.live.recording import FORMATS
from segjax.live.videos import VideoFile


def main() -> None:
    parser = argparse.ArgumentParser(description="Flip rate of clips, by model.")
    parser.add_argument("--clips", type=Path, required=True, help="folder of videos")
    parser.add_argument("--pattern", default="*", help="which of them, as in a shell")
    parser.add_argument("--model", action="append", help="name, path or .onnx; repeatable")
    parser.add_argument("--report", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args()
    try:
        report = measure(find_clips(options.clips, options.pattern), options.model or ["portrait"])
        write_json(options.report, report)
    except SegjaxError as error:
        parser.exit(2, f"error: {error}\n")
    show(report)


def find_clips(folder: Path, pattern: str) -> list[Path]:
    clips = sorted(path for path in folder.glob(pattern) if path.suffix.lower() in FORMATS)
    if not clips:
        raise SegjaxError(
            f"{folder} holds no video {pattern!r} ({', '.join(FORMATS)}); give --clips another"
        )
    return clips


def measure(clips: list[Path], models: list[str]) -> dict:
    """`clips`: {clip: {model: rate}}, and `mean`: {model: rate}."""
    rates: dict[str, dict[str, float]] = {clip.name: {} for clip in clips}
    for model in models:
        for clip in clips:
            # Loaded anew for each clip, so that nothing of the one before is remembered.
            rates[clip.name][model] = flip_rate(masks(clip, load_clip(model)))
    return {
        "mean": {model: float(np.mean([row[model] for row in rates.values()])) for model in models},
        "clips": rates,
        "device": str(jax.devices()[0]),
        "versions": {module.__name__: module.__version__ for module in (segjax, jax, cv2, av)},
    }


def masks(clip: Path, predict: Predictor) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for frame in VideoFile(clip):
        yield frame.pixels, predict(frame.pixels)


def show(report: dict) -> None:
    table = Table("flips / 10,000 still pixels", *(Path(model).stem for model in report["mean"]))
    for name, row in {**report["clips"], "mean": report["mean"]}.items():
        table.add_row(name, *(f"{rate:.2f}" for rate in row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
