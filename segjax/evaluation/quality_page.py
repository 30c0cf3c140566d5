"""A quality report as one HTML page: no script, nothing from elsewhere, light and dark."""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

import cv2
import numpy as np

Figures = Mapping[str, Any]
Read = Callable[[Figures], float | None]
"""One figure of a model's; None where it was not measured."""

STYLE = """
:root { color-scheme: light dark; --line: light-dark(#d5d8dd, #3a3f47);
  --quiet: light-dark(#5a616b, #a3abb6); --back: light-dark(#fff, #15181c);
  --fore: light-dark(#1b1f24, #e8eaed); --best: light-dark(#dff3e4, #17402a); }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1rem; background: var(--back);
  color: var(--fore); font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .4rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; }
p, dd { color: var(--quiet); } p { max-width: 46rem; margin: .3rem 0 .8rem; }
dt { font-weight: 600; } dd { margin: 0 0 .5rem; max-width: 46rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; }
thead th { vertical-align: bottom; min-width: 5.5rem; }
tbody th { font-weight: 400; width: 17rem; min-width: 10rem; }
td { white-space: nowrap; }
summary { padding: .6rem 0; min-height: 2.75rem; cursor: pointer; font-weight: 600; }
td.best { background: var(--best); font-weight: 600; }
.cases { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 28rem), 1fr));
  gap: .8rem; }
figure { margin: 0; } figcaption { font-size: .85rem; color: var(--quiet); }
img { width: 100%; height: auto; border-radius: 4px; display: block; }
"""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

MEANINGS = {
    "mean_iou, dataset_iou": "Overlap of found and true person over their union: the mean of the "
    "pictures' own, and that of all pixels together.",
    "boundary_f": "Agreement of the outlines within 0.75 % of the diagonal.",
    "mad": "Mean difference of the masks × 1000.",
    "dtssd": "Difference between the changes from frame to frame × 100.",
    "flip_rate": "Of 10,000 pixels that are still, how many change sides from frame to frame. Each "
    "of flip rate, lag, leak and cut can be bought with the others.",
    "lag": "Frames by which the mask trails what moves; of the speeds, the one farthest from 0.",
    "leak": "How much of the room shows: the mean, and the share of its pixels above 0.1. It is "
    "measured, and says nothing of what else may show.",
    "cut": "How much of the person is missing: the mean, and the share of pixels below 0.9.",
    "far": "Of the pixels 2 px or more from the true edge alone.",
}


def draw_page(report: Figures, pictures: Mapping[str, Sequence[tuple[str, np.ndarray]]]) -> str:
    """The page of a report as `segjax report` writes it.

    Args:
      report: `models` by name, and `data`, `made` and `versions`, which stand above them.
      pictures: by model, captions and rows uint8 [h, w, 3].
    """
    models = report["models"]
    parts = [
        "<h1>Masks: a quality report</h1>",
        f"<p>{escape(_origin(report))}</p>",
        "<p>Best of each line on green. Arrows say which way is better.</p>",
        _section("Pictures", "Each by itself, at its full size.", _table(models, _PICTURES)),
        _section("Clips with a known truth", _about(report), _table(models, _motion(_whole))),
        *(
            f"<details><summary>{escape(kind)}</summary>"
            f"{_table(models, _motion(_of_kind(kind)))}</details>"
            for kind in _keys(models, "kinds")
        ),
        _section(
            "Flicker",
            "Flips for every 10,000 still pixels of videos without a truth.",
            _table(models, _rows(models, "flip_rate_by_clip", "↓", "flip_rate")),
        ),
        _section(
            "Bad cameras",
            "Mean IoU of some of the pictures as they are and as a bad camera would give them.",
            _table(models, _rows(models, "robustness", "↑")),
        ),
        _section(
            "Speed by stage",
            f"Milliseconds on {report['versions']['device']}, at 1280×720; medians.",
            _table(models, _rows(models, "speed_ms", "↓")),
        ),
        "<h2>Worst cases</h2><p>Picture, truth, found, and both: red was missed, blue is too much."
        "</p>",
        *(_cases(name, rows) for name, rows in pictures.items()),
        "<h2>What the words mean</h2><dl>",
        *(f"<dt>{escape(k)}</dt><dd>{escape(text)}</dd>" for k, text in MEANINGS.items()),
        "</dl>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>Masks: a quality report</title><style>{STYLE}</style></head>\n<body><main>"
        + "\n".join(parts)
        + "</main></body></html>\n"
    )


Row = tuple[str, str, Read, Callable[[float], str]]
"""Its name, an arrow towards the better, its figure of a model, and how that is written."""


def _number(x: float) -> str:
    return f"{x:.2f}"


def _share(x: float) -> str:
    return f"{100 * x:.2f} %"


def _fine(x: float) -> str:
    return f"{x:.3f}"


_PICTURES: list[Row] = [
    ("mean_iou", "↑", lambda m: m["mean_iou"], _fine),
    ("median_iou", "↑", lambda m: m["median_iou"], _fine),
    ("worst picture's IoU", "↑", lambda m: m["worst_iou"], _fine),
    ("dataset_iou", "↑", lambda m: m["dataset_iou"], _fine),
    ("boundary_f", "↑", lambda m: m["boundary_f"], _fine),
    ("mad", "↓", lambda m: m["mad"], _number),
]


def _whole(model: Figures) -> Figures:
    return model


def _of_kind(kind: str) -> Callable[[Figures], Figures]:
    return lambda model: model["kinds"].get(kind, {})


def _motion(part: Callable[[Figures], Figures]) -> list[Row]:
    def figure(key: str) -> Read:
        return lambda model: part(model).get(key)

    def wrong(what: str, key: str) -> Read:
        return lambda model: (part(model).get(what) or {}).get(key)

    rows: list[Row] = [
        ("flip_rate", "↓", figure("flip_rate"), _number),
        ("lag, frames", "→ 0", figure("lag"), _number),
        ("dtssd", "↓", figure("dtssd"), _number),
    ]
    names = {
        "mean": "mean",
        "share": "share of pixels",
        "far_mean": "mean, far",
        "far_share": "share, far",
        "worst_mean": "mean of the worst frame",
        "worst_share": "share of the worst frame",
    }
    for what in ("leak", "cut", "leak_nobody"):
        shown = {"leak_nobody": "leak, nobody there"}.get(what, what)
        rows += [
            (f"{shown}: {text}", "↓", wrong(what, key), _share)
            for key, text in names.items()
            if not (what == "leak_nobody" and "far" in key)  # there is no edge
        ]
    return rows


def _keys(models: Figures, group: str) -> list[str]:
    return list(dict.fromkeys(key for model in models.values() for key in model.get(group) or {}))


def _rows(models: Figures, group: str, arrow: str, total: str | None = None) -> list[Row]:
    """A line for each key of a group of figures, before them that of the `total`."""

    def figure(key: str) -> Read:
        return lambda model: (model.get(group) or {}).get(key)

    write = _fine if arrow == "↑" else _number
    rows: list[Row] = [(key, arrow, figure(key), write) for key in _keys(models, group)]
    if total:
        rows.insert(0, (total, arrow, lambda model: model.get(total), write))
    return rows


def _table(models: Figures, rows: Iterable[Row]) -> str:
    """The rows of which any model has a figure."""
    # A long name may break where its parts meet.
    names = [escape(name).replace("_", "_<wbr>") for name in models]
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    lines = []
    for name, arrow, read, write in rows:
        figures = [read(model) for model in models.values()]
        known = [x for x in figures if x is not None]
        if not known:
            continue
        order = {"↑": lambda x: -x, "↓": lambda x: x}.get(arrow, abs)
        best = min(known, key=order) if len(known) > 1 else None
        cells = "".join(
            "<td>–</td>"
            if x is None
            else f'<td class="best">{write(x)}</td>'
            if x == best
            else f"<td>{write(x)}</td>"
            for x in figures
        )
        lines.append(
            f'<tr><th scope="row">{escape(name)}\N{NO-BREAK SPACE}{arrow}</th>{cells}</tr>'
        )
    if not lines:
        return "<p>Nothing was measured here.</p>"
    return (
        f'<div class="wide" tabindex="0"><table><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _section(title: str, about: str, body: str) -> str:
    return f"<h2>{escape(title)}</h2><p>{escape(about)}</p>{body}"


def _origin(report: Figures) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in report["versions"].items())
    quick = " A quick look: few pictures, short clips." if report["quick"] else ""
    return f"{report['made']}, data {report['data']}, clips {report['clips']}; {versions}.{quick}"


def _about(report: Figures) -> str:
    return (
        "People cut out of the data's pictures who go to and fro in rooms of other pictures, and "
        "folders of frames with masks; below, each kind by itself. Weights of ours are smoothed "
        "in time as in a stream, foreign networks are raw."
    )


def _cases(name: str, rows: Sequence[tuple[str, np.ndarray]]) -> str:
    figures = []
    for caption, row in rows:
        data = cv2.imencode(".jpg", row[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
        text = base64.b64encode(data.tobytes()).decode()
        height, width = row.shape[:2]
        figures.append(
            f'<figure><img src="data:image/jpeg;base64,{text}" alt="{escape(caption)}" '
            f'width="{width}" height="{height}"><figcaption>{escape(caption)}</figcaption></figure>'
        )
    return f'<h3>{escape(name)}</h3><div class="cases">{"".join(figures)}</div>'
