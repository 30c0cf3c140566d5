"""`segjax evaluate`: how good a model is on a folder of pictures and masks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from segjax.data.folders import find_files, find_pairs, select
from segjax.errors import SegjaxError
from segjax.evaluation.predictors import load_predictor
from segjax.evaluation.report import score, summarize, write_pictures
from segjax.files import write_json


@dataclass(frozen=True)
class Options:
    """Measure a model against true masks: person IoU, boundary F, MAD.

    Every picture counts by itself, at its full size and without memory of the one before.

    Examples:
      segjax evaluate --data person --list val.txt --report out/val.json
      segjax evaluate --data person --list val.txt --list webcam.txt --report out/webcam.json \\
        --pictures out/webcam
      segjax evaluate --data person --list val.txt --model peer.onnx --report out/peer.json
    """

    data: Path
    """Folder with images/STEM.jpg and masks/STEM.png (0 room … 255 person)."""
    report: Path
    """JSON file to write: images, mean_iou, median_iou, dataset_iou, boundary_f, mad, per_image."""
    lists: Annotated[
        tuple[str, ...], tyro.conf.arg(name="list", metavar="FILE"), tyro.conf.UseAppendAction
    ] = ()
    """Text file of stems, one a line, as given or inside --data. May be given several times: what
    stands in all of them counts. Without one, every picture of the folder does."""
    model: str = "portrait"
    """Name or path of released weights, or an .onnx file."""
    pictures: Path | None = None
    """Folder for contact sheets of the worst and the best pictures, and of their outlines alone."""


def main(options: Options) -> None:
    """Evaluates, writes the report and prints its figures.

    Raises:
      SegjaxError: data, lists or model are missing or broken, or an output cannot be written.
    """
    console = Console()
    stems = _stems(options)
    pairs = find_pairs(options.data, stems)
    predictor = load_predictor(options.model)
    scores = [
        score(predictor, image, mask)
        for image, mask in track(pairs, "evaluating", console=Console(stderr=True))
    ]
    report = summarize(scores)
    origin = {"model": options.model, "data": str(options.data), "lists": list(options.lists)}
    write_json(options.report, {**origin, **report})
    if options.pictures:
        write_pictures(options.pictures, predictor, pairs, scores)

    console.print(f"{options.model} on {', '.join(options.lists) or options.data}", soft_wrap=True)
    table = Table()
    table.add_column("figure")
    table.add_column("value", justify="right")
    for key, value in report.items():
        if key != "per_image":
            table.add_row(key, f"{value:d}" if key == "images" else f"{value:.4g}")
    console.print(table)
    console.print(f"written: {options.report}", *filter(None, [options.pictures]), soft_wrap=True)


def _stems(options: Options) -> list[str]:
    """The stems that count, in the order of the first list."""
    if not options.data.is_dir():
        raise SegjaxError(
            f"{options.data} is no folder; it must hold images/ and masks/; give --data another"
        )
    if options.lists:
        lists = [
            str(Path(name).absolute()) if Path(name).is_file() else name for name in options.lists
        ]
        return select(options.data, lists)
    stems = sorted(find_files(options.data / "images"))
    if not stems:
        raise SegjaxError(f"{options.data / 'images'} holds no picture; give --data another folder")
    return stems
