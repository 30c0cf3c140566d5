"""`segjax evaluate`: how good a model is on a folder of pictures and masks, or labels."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from segjax.data import NamedSource
from segjax.data.catalog import PREFIX
from segjax.data.classes import Classes, read_classes
from segjax.data.files import FileSource
from segjax.data.folders import find_files, find_pairs, select
from segjax.data.opening import find_data
from segjax.errors import SegjaxError
from segjax.evaluation.pictures import write_label_pictures, write_pictures
from segjax.evaluation.predictors import OnnxPredictor, ReleasedPredictor, load_predictor, refine
from segjax.evaluation.report import score, score_labels, summarize, summarize_labels
from segjax.files import write_json
from segjax.postprocess import DenseCRF


@dataclass(frozen=True)
class Options:
    """Measure a model against true masks: person IoU, boundary F, MAD; or against labels: mIoU.

    A network of one class is measured by masks/, one of several by labels/: mIoU, IoU and accuracy
    of each class, pixel accuracy, Dice, boundary F, confusion matrix. Every picture counts by
    itself, at its full size and without memory of the one before.

    Examples:
      segjax evaluate --data person --list val.txt --report out/val.json
      segjax evaluate --data person --list val.txt --list webcam.txt --report out/webcam.json \\
        --pictures out/webcam
      segjax evaluate --data person --list val.txt --model peer.onnx --report out/peer.json
      segjax evaluate --data camvid --list test.txt --ignore 11 --report out/test.json \\
        --model runs/camvid_unet/camvid_unet.safetensors --scales 0.75 1 1.25 --flip
      segjax evaluate --data tfds:oxford_iiit_pet --list test --report out/pets.json \\
        --model runs/pets/pets.safetensors
    """

    data: str
    """Folder with images/STEM.jpg and masks/STEM.png (0 room … 255 person), or labels/STEM.png
    (class ids) and, if it is there, classes.txt (their names, one a line). Or tfds:NAME, of which
    --list names the split."""
    report: Path
    """JSON file to write. Of masks: images, mean_iou, median_iou, dataset_iou, boundary_f, mad,
    pixel_accuracy, per_image. Of labels: images, miou, pixel_accuracy, mean_accuracy, dice,
    per_class_iou, per_class_accuracy, boundary_f, confusion (rows: truth), per_image."""
    lists: Annotated[
        tuple[str, ...], tyro.conf.arg(name="list", metavar="FILE"), tyro.conf.UseAppendAction
    ] = ()
    """Text file of stems, one a line, as given or inside --data. May be given several times: what
    stands in all of them counts. Without one, every picture of the folder does. Of tfds:NAME, the
    split: test, validation[:10%]."""
    model: str = "portrait"
    """Name or path of released weights, or an .onnx file."""
    pictures: Path | None = None
    """Folder for contact sheets of the worst and the best pictures, and of masks' outlines alone
    or of labels' confusion matrix."""
    ignore: tuple[int, ...] | None = None
    """Label ids that do not count, besides 255; by default those of the weights' own run."""
    names: tuple[str, ...] = ()
    """Names of the classes, for data without classes.txt; by default those of the weights' run."""
    window: tuple[int, int] | None = None
    """HEIGHT WIDTH: show the network tiles of this size, which overlap and are blended, instead of
    the whole picture."""
    scales: tuple[float, ...] = (1.0,)
    """Show the picture so many times as high and wide as otherwise; probabilities are averaged."""
    flip: bool = False
    """Show the mirrored picture too, at each scale."""
    crf: bool = False
    """Draw edges by a dense CRF: seconds a picture."""
    dense_crf: DenseCRF = dataclasses.field(default_factory=DenseCRF)
    """Parameters of --crf."""


def main(options: Options) -> None:
    """Evaluates, writes the report and prints its figures.

    Raises:
      SegjaxError: data, lists or model are missing or broken or do not fit each other, or an
        output cannot be written.
    """
    predictor = load_predictor(options.model)
    source, classes = _open(options, predictor)
    crf = options.dense_crf if options.crf else None
    way: dict[str, Any] = {
        "window": options.window,
        "scales": options.scales,
        "flip": options.flip,
    }
    predict = refine(predictor, **way, crf=crf)
    progress = track(range(len(source)), "evaluating", console=Console(stderr=True))
    if classes is None:
        scores = [score(predict, source, index) for index in progress]
        report = summarize(scores)
        draw = functools.partial(write_pictures, scores=scores)
    else:
        scores = [score_labels(predict, source, index, classes) for index in progress]
        report = summarize_labels(scores, classes)
        draw = functools.partial(write_label_pictures, scores=scores, classes=classes)
    origin = {
        "model": options.model,
        "data": options.data,
        "lists": list(options.lists),
        "prediction": {**way, "crf": dataclasses.asdict(crf) if crf else None},
    }
    write_json(options.report, {**origin, **report})
    if options.pictures:
        draw(options.pictures, predict, source)

    console = Console()
    console.print(f"{options.model} on {', '.join(options.lists) or options.data}", soft_wrap=True)
    for table in _tables(report):
        console.print(table)
    console.print(f"written: {options.report}", *filter(None, [options.pictures]), soft_wrap=True)


def find_stems(data: Path, lists: Sequence[str]) -> list[str]:
    """The stems that count, in the order of the first list; without one, every picture's.

    Raises:
      SegjaxError: the folder or a list is missing or empty, or no stem stands in all lists.
    """
    if not data.is_dir():
        raise SegjaxError(
            f"{data} is no folder; it must hold images/ and masks/ or labels/; give --data another"
        )
    if lists:
        found = [str(Path(name).absolute()) if Path(name).is_file() else name for name in lists]
        return select(data, found)
    stems = sorted(find_files(data / "images"))
    if not stems:
        raise SegjaxError(f"{data / 'images'} holds no picture; give --data another folder")
    return stems


def _open(
    options: Options, predictor: ReleasedPredictor | OnnxPredictor
) -> tuple[NamedSource, Classes | None]:
    """The pictures that count, and what their labels mean if they have labels."""
    known, number = predictor.info, predictor.classes
    ignore = known.get("ignore", ()) if options.ignore is None else options.ignore
    if options.data.startswith(PREFIX):
        data = find_data(options.data, classes=number, ignore=ignore, names=options.names)
        return data.open(options.lists), data.classes
    root = Path(options.data)
    stems = find_stems(root, options.lists)
    there = {name for name in ("masks", "labels") if (root / name).is_dir()}
    if number > 1 and there == {"masks"}:
        raise SegjaxError(
            f"{options.model} tells {number} classes apart, and {root} has no labels/; "
            "masks/ measures a network of one class; give another --model or --data"
        )
    if number == 1 and there != {"labels"}:
        return FileSource(find_pairs(root, stems)), None
    names = options.names or known.get("classes", ())
    classes = read_classes(root, max(2, number), ignore=ignore, names=names)
    return FileSource(find_pairs(root, stems, "labels"), classes), classes


def _tables(report: dict[str, Any]) -> Iterator[Table]:
    """The figures of the set, and those of its classes if it has any."""
    table = Table("figure")
    table.add_column("value", justify="right")
    for key, value in report.items():
        if isinstance(value, int | float):
            table.add_row(key, f"{value:d}" if key == "images" else f"{value:.4g}")
    yield table
    if "per_class_iou" in report:
        by_class = Table("class")
        for what in ("IoU", "accuracy"):
            by_class.add_column(what, justify="right")
        for name, *figures in zip(
            report["per_class_iou"],
            report["per_class_iou"].values(),
            report["per_class_accuracy"].values(),
            strict=True,
        ):
            by_class.add_row(name, *("–" if one is None else f"{one:.4f}" for one in figures))
        yield by_class
