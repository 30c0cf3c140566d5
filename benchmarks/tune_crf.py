"""Does a dense CRF help a network, and with which parameters?

    python benchmarks/tune_crf.py --model runs/camvid_unet/camvid_unet.safetensors \\
        --data ../shared/data/camvid --ignore 11 --report out/crf.json

Parameters are searched on training pictures alone, one after the other, each kept if the mIoU of
those pictures rises. Then the validation pictures are measured once, without and with the CRF.
"""

import argparse
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from segjax.data.classes import read_classes
from segjax.data.files import read_pair
from segjax.data.folders import find_pairs, read_list
from segjax.errors import SegjaxError
from segjax.evaluation.metrics import confusion_matrix, label_figures
from segjax.evaluation.predictors import Predictor, load_predictor
from segjax.files import write_json
from segjax.labels import to_labels
from segjax.postprocess import DenseCRF, dense_crf

SEARCH: dict[str, Sequence[float]] = {
    "appearance": (1.0, 3.0, 5.0),
    "smoothness": (0.5, 1.0, 3.0),
    "far": (20.0, 40.0, 80.0),
    "colour": (5.0, 10.0, 20.0),
    "near": (1.0, 3.0),
    "iterations": (3, 5, 10),
}
"""In the order of the search, from `START`; the first two weigh the CRF against the network."""

START = DenseCRF(smoothness=1.0, appearance=1.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="weights of several classes")
    parser.add_argument("--data", type=Path, required=True, help="images/, labels/ and the lists")
    parser.add_argument("--ignore", type=int, nargs="*", default=[], help="ids that do not count")
    parser.add_argument("--tune", default="train.txt", help="list that is searched on")
    parser.add_argument("--check", default="val.txt", help="list that is measured at the end")
    parser.add_argument("--count", type=int, default=12, help="pictures searched on, evenly spread")
    parser.add_argument("--most", type=int, help="only so many pictures at the end, evenly spread")
    parser.add_argument("--report", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args()
    try:
        report = measure(options)
        write_json(options.report, report)
    except SegjaxError as error:
        parser.exit(2, f"error: {error}\n")
    show(report)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """`tried` in the order of the search, the best `crf`, and figures of the `check`ed pictures."""
    predictor = load_predictor(options.model)
    if predictor.classes < 2:
        raise SegjaxError(f"{options.model} tells one class; a CRF here needs labels; give another")
    data = Pictures(predictor, options)
    found = [data.seen(pair) for pair in data.pairs(options.tune, options.count)]
    alone = data.miou([to_labels(seen) for seen, _, _ in found], [true for _, _, true in found])
    tried: list[dict[str, Any]] = [{"crf": None, "miou": alone}]

    def score(crf: DenseCRF) -> float:
        labels = [to_labels(np.asarray(dense_crf(p, image, crf))) for p, image, _ in found]
        miou = data.miou(labels, [true for _, _, true in found])
        tried.append({"crf": dataclasses.asdict(crf), "miou": miou})
        return miou

    best, crf = score(START), START
    for name, values in SEARCH.items():
        for value in values:
            other = dataclasses.replace(crf, **{name: value})
            if other != crf and (reached := score(other)) > best:
                best, crf = reached, other
    return {
        "machine": harness.machine(),
        "tuned_on": {"list": options.tune, "images": len(found), "alone": alone, "crf": best},
        "crf": dataclasses.asdict(crf),
        "tried": tried,
        "check": data.check(options.check, options.most, crf),
    }


class Pictures:
    """Pictures of a folder, their labels and what the network makes of them."""

    def __init__(self, predictor: Predictor, options: argparse.Namespace):
        self._predictor, self._data = predictor, options.data
        self._classes: int = getattr(predictor, "classes")  # noqa: B009
        self._known = read_classes(options.data, self._classes, ignore=tuple(options.ignore))

    def pairs(self, name: str, most: int | None) -> list[tuple[Path, Path]]:
        """Picture and label files of a list; at most so many, evenly spread."""
        stems = read_list(self._data / name)
        if most and most < len(stems):
            stems = [stems[round(at)] for at in np.linspace(0, len(stems) - 1, most)]
        return find_pairs(self._data, stems, "labels")

    def seen(self, pair: tuple[Path, Path]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Probabilities, picture and true labels."""
        image, true = read_pair(*pair, self._known)
        return self._predictor(image), image, true

    def miou(self, labels: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> float:
        """Of all pictures together."""
        pairs = zip(labels, truth, strict=True)
        total = sum(confusion_matrix(one, true, self._classes) for one, true in pairs)
        return label_figures(np.asarray(total))["miou"]

    def check(self, name: str, most: int | None, crf: DenseCRF) -> dict[str, Any]:
        """mIoU without and with the CRF, and its median seconds a picture."""
        alone, drawn, truth, seconds = [], [], [], []
        for pair in track(self.pairs(name, most), name, console=Console(stderr=True)):
            probabilities, image, true = self.seen(pair)
            began = time.perf_counter()
            better = np.asarray(dense_crf(probabilities, image, crf))
            seconds.append(time.perf_counter() - began)
            alone.append(to_labels(probabilities))
            drawn.append(to_labels(better))
            truth.append(true)
        return {
            "list": name,
            "images": len(truth),
            "alone": self.miou(alone, truth),
            "crf": self.miou(drawn, truth),
            "seconds": round(float(np.median(seconds)), 2),
        }


def show(report: dict[str, Any]) -> None:
    table = Table("pictures", "count", "network alone", "with the CRF", "change")
    for row in (report["tuned_on"], report["check"]):
        change = f"{row['crf'] - row['alone']:+.4f}"
        figures = (f"{row['alone']:.4f}", f"{row['crf']:.4f}", change)
        table.add_row(row["list"], str(row["images"]), *figures)
    Console().print(table)
    print(f"{report['crf']}; {report['check']['seconds']} s a picture")


if __name__ == "__main__":
    main()
