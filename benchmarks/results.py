"""From training runs and their evaluations to docs/results.md; no figure is typed.

    segjax evaluate --data camvid --list test.txt --ignore 11 --report RUN/test.json \
      --model RUN/NAME.safetensors
    python benchmarks/results.py --runs RUN … --data camvid
    python benchmarks/results.py

The first line writes a report into the folder of a run, as many as there are lists; `val`, `test`
and `test_views` (more scales, mirrored) have their columns. The second keeps what counts of each
run as docs/results/NAME.json, and draws the first pictures of the `--list` as each network sees
them. Each renews what is made of the files kept: in docs/results.md what stands between
`<!-- results: DATA -->` and `<!-- /results -->`, and docs/images/results-DATA-curves.png.
"""

import argparse
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from figures import table

from segjax import weights
from segjax.config import TrainConfig, from_dict, to_dict
from segjax.data.classes import read_classes
from segjax.data.files import read_pair
from segjax.data.folders import find_pairs, read_list
from segjax.errors import SegjaxError
from segjax.evaluation.architecture import describe
from segjax.evaluation.predictors import load_predictor
from segjax.files import replacing, write_json
from segjax.images import write_image
from segjax.labels import to_labels
from segjax.models import shapes_of
from segjax.sheets import captioned, fit, legend, paint
from segjax.training.log import read

ROOT = Path(__file__).resolve().parent.parent
MARKED = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- /results -->)", re.DOTALL)
CELL = (150, 200)
"""Height and width of a picture in the grid."""

LEFT_OUT = {"per_image", "model", "data"}
"""Of a report: what is long, and paths on the machine where it was made."""

POINTS = 200
"""Of a curve that is kept, at most."""

GITLANX = "GitLanx/Semantic-Segmentation-PyTorch"
SCRATCH = "a public TensorFlow version"

Run = dict[str, Any]


class Peer(NamedTuple):
    """A figure that others publish: mIoU in per cent on a data set's test pictures."""

    data: str
    decoder: str
    miou: float
    pretrained: bool
    source: str


PEERS = (
    Peer("camvid", "fcn32s", 48.6, True, GITLANX),
    Peer("camvid", "fcn8s", 50.4, True, GITLANX),
    Peer("camvid", "unet", 49.8, True, GITLANX),
    Peer("camvid", "segnet", 54.1, True, GITLANX),
    Peer("camvid", "segnet", 42.5, False, SCRATCH),
    Peer("camvid", "deeplabv1", 52.1, True, GITLANX),
    Peer("camvid", "deeplabv2", 55.5, True, GITLANX),
    Peer("camvid", "deeplabv3", 53.2, True, GITLANX),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, nargs="*", default=[], help="folders of runs to keep")
    parser.add_argument(
        "--device", default="", help="what they ran on, in words; else as the logs have it"
    )
    parser.add_argument("--data", type=Path, help="their data folder, for the grid of pictures")
    parser.add_argument("--list", default="test.txt", help="of the pictures in the grid")
    parser.add_argument("--count", type=int, default=5, help="of pictures in the grid")
    parser.add_argument("--root", type=Path, default=ROOT, help="of the documentation")
    options = parser.parse_args()
    docs = options.root / "docs"
    for folder in options.runs:
        run = gather(folder, options.device)
        write_json(docs / "results" / f"{run['name']}.json", run)
    if options.runs and options.data:
        name = options.data.resolve().name
        grid = draw_grid(options.runs, options.data, options.list, options.count)
        write_image(docs / "images" / f"results-{name}-pictures.png", grid)
    every = [json.loads(path.read_text()) for path in sorted((docs / "results").glob("*.json"))]
    document = docs / "results.md"
    old = document.read_text()
    if (new := renewed(old, every)) != old:
        with replacing(document) as beside:
            beside.write_text(new)
    for name in sorted({run["data"] for run in every}):
        draw_curves(of(name, every), docs / "images" / f"results-{name}-curves.png")


def gather(folder: Path, device: str = "") -> Run:
    """What counts of a run: its network's size, how far it went and what it reached."""
    path = folder / "config.json"
    config = from_dict(TrainConfig, json.loads(path.read_text()), str(path))
    lines = read(folder / "log.jsonl")
    steps = [line for line in lines if "step_ms" in line]
    validated = [line for line in lines if "val" in line]
    if not steps or not validated:
        raise SegjaxError(f"{folder} has no validation in its log; results need one; train longer")
    batch = config.data.batch_size * config.optimizer.accumulate
    bucket = max(config.data.buckets, key=lambda bucket: bucket.weight)
    shapes = shapes_of(lambda: weights.create_model(config.model))
    architecture = describe(shapes, (bucket.height, bucket.width))
    before = [0, *(line["step"] for line in steps)]
    spent = (
        line["step_ms"] * (line["step"] - was) for line, was in zip(steps, before, strict=False)
    )
    told = [line["peak_of"].partition(",")[0] for line in steps if "peak_of" in line]
    return {
        "name": config.name,
        "data": Path(config.data.root).name,
        "model": to_dict(config.model),
        "size": [bucket.height, bucket.width],
        "parameters": architecture.parameters,
        "flops": 2 * architecture.macs,
        "steps": lines[-1]["step"],
        "planned_steps": config.steps,
        "pictures_seen": lines[-1]["step"] * batch,
        "hours": sum(spent) / 3.6e6,
        "device": device or (told[-1] if told else ""),
        "reports": {
            path.stem: {key: value for key, value in report.items() if key not in LEFT_OUT}
            for path in sorted(folder.glob("*.json"))
            if "per_image" in (report := json.loads(path.read_text()))
        },
        "loss": [[line["step"] * batch, line["loss"]] for line in thinned(steps)],
        "val": [[line["step"] * batch, score(line["val"])] for line in thinned(validated)],
    }


def score(figures: dict[str, Any]) -> float:
    """The figure that counts: mIoU of labels, mean IoU of masks."""
    return figures["miou"] if "miou" in figures else figures["mean_iou"]


def thinned(lines: list[Any]) -> list[Any]:
    """At most `POINTS` of them, evenly, the first and the last always."""
    places = np.linspace(0, len(lines) - 1, min(POINTS, len(lines)))
    return [lines[round(place)] for place in places]


def of(data: str, every: Sequence[Run]) -> list[Run]:
    """The runs on one data set, the best first."""
    chosen = [run for run in every if run["data"] == data]
    return sorted(chosen, key=lambda run: -max(value for _, value in run["val"]))


# --- tables -------------------------------------------------------------------------------------


def renewed(text: str, every: Sequence[Run]) -> str:
    """The document with new tables between its markers."""

    def tables(match: re.Match[str]) -> str:
        runs = of(match[2], every)
        parts = [cost_table(runs), worth_table(runs), *class_table(runs), *sources(runs)]
        return match[1] + "\n".join(parts if runs else []) + match[3]

    return MARKED.sub(tables, text)


def cost_table(runs: Sequence[Run]) -> str:
    """What each network is and what its training took."""
    head = ("model", "encoder", "parameters", "GFLOP", "steps", "pictures seen", "hours", "device")
    rows = []
    for run in runs:
        done, planned = run["steps"], run["planned_steps"]
        rows.append(
            (
                f"`{run['model']['decoder']}`",
                f"`{run['model']['encoder']}`",
                f"{run['parameters'] / 1e6:.2f} M",
                f"{run['flops'] / 1e9:.2f} at {run['size'][0]}×{run['size'][1]}",
                f"{done:,}" if done == planned else f"{done:,} of {planned:,}",
                f"{run['pictures_seen']:,}",
                f"{run['hours']:.2f}",
                run["device"] or "not told",
            )
        )
    return table(head, rows)


def worth_table(runs: Sequence[Run]) -> str:
    """What each network reached, beside what others publish."""
    labels = any("miou" in report for run in runs for report in run["reports"].values())
    name = "mIoU" if labels else "mean IoU"
    kinds = [
        kind
        for kind in ("val", "test", "test_views")
        if any(kind in run["reports"] for run in runs)
    ]
    shown = {"val": f"{name}, val", "test": f"{name}, test", "test_views": f"{name}, test, views"}
    figures = {
        **({"mean_accuracy": "mean accuracy"} if labels else {"dataset_iou": "data set's IoU"}),
        "pixel_accuracy": "pixel accuracy",
        "boundary_f": "boundary F",
    }
    last = next((kind for kind in ("test", "val") if kind in kinds), "")
    head = [
        "model",
        f"best {name} while training",
        *(shown[kind] for kind in kinds),
        *(f"{words}, {last}" for words in figures.values() if last),
        "public, from scratch",
        "public, ImageNet weights",
    ]
    rows = []
    for run in runs:
        reports = run["reports"]
        cells = [f"`{run['model']['decoder']}`", percent(max(value for _, value in run["val"]))]
        cells += [percent(score(reports[kind])) if kind in reports else "" for kind in kinds]
        cells += [percent(reports.get(last, {}).get(figure)) for figure in figures if last]
        for pretrained in (False, True):
            found = [peer.miou for peer in peers(run) if peer.pretrained == pretrained]
            cells.append(", ".join(f"{miou:.1f}" for miou in found))
        rows.append(tuple(cells))
    return table(tuple(head), rows)


def class_table(runs: Sequence[Run]) -> Iterator[str]:
    """The IoU of each class on the test pictures."""
    known = [run for run in runs if "per_class_iou" in run["reports"].get("test", {})]
    if known:
        names = list(known[0]["reports"]["test"]["per_class_iou"])
        rows = [
            (
                f"`{run['model']['decoder']}`",
                *(percent(run["reports"]["test"]["per_class_iou"].get(name)) for name in names),
            )
            for run in known
        ]
        yield table(("IoU, test", *names), rows)


def sources(runs: Sequence[Run]) -> Iterator[str]:
    """Where the public figures come from."""
    every = dict.fromkeys(peer for run in runs for peer in peers(run))
    for pretrained, words in ((False, "from scratch"), (True, "with ImageNet weights")):
        named = dict.fromkeys(peer.source for peer in every if peer.pretrained == pretrained)
        if named:
            yield f"Public figures {words}: {', '.join(named)}.\n"


def peers(run: Run) -> list[Peer]:
    key = (run["data"], run["model"]["decoder"])
    return [peer for peer in PEERS if (peer.data, peer.decoder) == key]


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


# --- pictures -----------------------------------------------------------------------------------


def draw_curves(runs: Sequence[Run], path: Path) -> None:
    """Validation figure and training loss of each run by the pictures that it has seen."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    panels = figure.subplots(1, 2)
    colours = itertools.cycle(f"C{number}" for number in range(10))
    for run, colour in zip(runs, colours, strict=False):
        for panel, key in zip(panels, ("val", "loss"), strict=True):
            style = {"marker": "."} if key == "val" else {}
            seen, values = zip(*run[key], strict=True)
            panel.plot(seen, values, color=colour, label=run["name"], linewidth=1.2, **style)
    for panel, what in zip(panels, ("validation IoU", "training loss"), strict=True):
        panel.set(xlabel="pictures seen", ylabel=what, ylim=(0, 1.05 * panel.get_ylim()[1]))
        panel.grid(alpha=0.3)
    panels[0].legend(fontsize=8)
    with replacing(path) as beside:
        figure.savefig(beside, dpi=100)


def draw_grid(runs: Sequence[Path], data: Path, chosen: str, count: int) -> np.ndarray:
    """uint8 [H, W, 3]: a row a picture, evenly spread over a list; photograph, truth, each network.

    All runs tell the same classes apart, or are of one class.
    """
    configs = [
        from_dict(TrainConfig, json.loads((run / "config.json").read_text())) for run in runs
    ]
    own = configs[0].data
    number = configs[0].model.classes
    known = read_classes(data, number, ignore=own.ignore, names=own.names) if number > 1 else None
    stems = read_list(data / chosen)
    places = np.linspace(0, len(stems) - 1, min(count, len(stems)))
    pairs = find_pairs(data, [stems[round(at)] for at in places], "labels" if known else "masks")
    predictors = [
        load_predictor(str(run / f"{config.name}.safetensors"))
        for run, config in zip(runs, configs, strict=True)
    ]

    def drawn(found: np.ndarray) -> np.ndarray:
        if known:
            return paint(to_labels(found) if found.ndim == 3 else found, known.colours)
        grey = found if found.dtype == np.uint8 else np.rint(found * 255).astype(np.uint8)
        return np.dstack([grey] * 3)

    titles = ["photograph", "truth", *(config.model.decoder for config in configs)]
    lines = []
    for pair in pairs:
        pixels, true = read_pair(*pair, known)
        cells = [fit(pixels, CELL)]
        cells += [
            fit(drawn(found), CELL, exact=known is not None)
            for found in (true, *(predict(pixels) for predict in predictors))
        ]
        lines.append(cells)
    lines[0] = [captioned(title, cell) for title, cell in zip(titles, lines[0], strict=True)]
    sheet = np.concatenate([np.concatenate(cells, axis=1) for cells in lines])
    if known:
        sheet = np.concatenate([sheet, legend(known.names, known.colours, sheet.shape[1])])
    return sheet


if __name__ == "__main__":
    main()
