"""From the benchmarks' JSON to the tables and pictures of the documentation; nothing is typed.

    python benchmarks/figures.py --results out     keeps its reports as docs/benchmarks/DEVICE.json
    python benchmarks/figures.py                   renews what is made of those files

In README.md and docs/benchmarks.md, what stands between `<!-- benchmarks: KIND -->` and
`<!-- /benchmarks -->` is replaced, where KIND is "summary" or "full". Each device also gets
docs/images/roofline-DEVICE.png: the bandwidth that each kernel reaches, under that of a plain copy.
"""

import argparse
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from segjax.files import replacing, write_json

ROOT = Path(__file__).resolve().parent.parent
MARKED = re.compile(r"(<!-- benchmarks: (\w+) -->\n).*?(<!-- /benchmarks -->)", re.DOTALL)

Results = dict[str, dict[str, Any]]
"""{"kernels": …, "step": …, "compare_peers": …}, as far as they were run."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, help="folder of a benchmark's reports to keep")
    parser.add_argument("--root", type=Path, default=ROOT, help="of the documentation")
    options = parser.parse_args()
    kept = options.root / "docs" / "benchmarks"
    if options.results:
        results = {
            path.stem: json.loads(path.read_text())
            for name in ("kernels", "step", "compare_peers")
            if (path := options.results / f"{name}.json").is_file()
        }
        write_json(kept / f"{slug(device(results))}.json", results)
    every = [json.loads(path.read_text()) for path in sorted(kept.glob("*.json"))]
    for document in (options.root / "README.md", options.root / "docs" / "benchmarks.md"):
        old = document.read_text()
        if (new := renewed(old, every)) != old:
            with replacing(document) as beside:
                beside.write_text(new)
    for results in every:
        draw(results, options.root / "docs" / "images" / f"roofline-{slug(device(results))}.png")


def write(folder: Path, results: Results) -> None:
    """What a run of the benchmarks leaves in its own folder: benchmarks.md and roofline.png."""
    if not results.keys() & {"kernels", "step"}:
        return
    with replacing(folder / "benchmarks.md") as beside:
        beside.write_text(full(results))
    try:
        draw(results, folder / "roofline.png")
    except ImportError as error:
        print(f"skipped roofline.png: {error}")


def renewed(text: str, every: list[Results]) -> str:
    """A document with new tables between its markers."""
    kinds = {"summary": summary, "full": full}

    def table(match: re.Match[str]) -> str:
        return match[1] + "\n".join(kinds[match[2]](results) for results in every) + match[3]

    return MARKED.sub(table, text)


def device(results: Results) -> str:
    machines = [report.get("machine", {}) for report in results.values()]
    return next(name for machine in machines if (name := machine.get("device")))


def slug(name: str) -> str:
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")


# --- tables -------------------------------------------------------------------------------------


def summary(results: Results) -> str:
    """The table of the README: what a frame costs and how that compares; a line each."""
    step, kernels = results.get("step", {}), results.get("kernels", {})
    rows = []
    for group in step.get("groups", []):
        if group["name"] in ("step, picture, 720p", "step, blur, 720p"):
            rows += compared(group, f"whole step at 720p, {group['name'].split(', ')[1]}")
    for group in kernels.get("groups", []):
        if group["variant"] in ("picture", "float32") and group["case"] in ("720p", "4K"):
            rows += compared(group, f"`{group['kernel']}` at {group['case']}")
    parts = [f"{heading(results)}\n", table(("", "ours, ms", "fastest other", "ratio"), rows)]
    if step.get("start"):
        seconds = step["start"]["seconds"]
        warm, cold, imports = (f"{seconds[kind]:.1f} s" for kind in ("warm", "cold", "imports"))
        parts.append(
            f"`segjax serve` with one frame takes {warm} from start to end, {cold} the first time "
            f"on a machine; importing JAX, Flax and OpenCV alone takes {imports}.\n"
        )
    return "\n".join(parts)


def compared(group: dict[str, Any], what: str) -> Iterator[tuple[str, ...]]:
    """Our first row of a group beside the fastest of the others, if there are any."""
    ours, *_ = group["rows"]
    others = [row for row in group["rows"][1:] if not row["ours"]]
    cells = (what, milliseconds(ours))
    if not others:
        yield (*cells, "", "")
        return
    best = min(others, key=lambda row: row["median_ms"])
    ratio = ours["median_ms"] / best["median_ms"]
    yield (*cells, f"{best['name']}, {milliseconds(best)}", f"{ratio:.2f}")


def full(results: Results) -> str:
    """Everything, as docs/benchmarks.md has it."""
    parts = [f"## {heading(results)}", versions(results)]
    kernels, step = results.get("kernels", {}), results.get("step", {})
    if kernels.get("groups"):
        parts += ["### Kernels", kernel_table(kernels["groups"])]
    if step.get("groups"):
        parts += ["### The step", step_table(step["groups"])]
    if step.get("streams"):
        parts += [f"### Streams at {RATE} fps, 720p", stream_table(step["streams"])]
    for effect, seen in step.get("launches", {}).items():
        told = ", ".join(f"{count:g} {kind}" for kind, count in seen.items())
        parts.append(f"A frame of {effect} launches {told}.")
    if step.get("start"):
        parts += ["### Start", start_table(step["start"])]
    if step.get("memory"):
        told = ", ".join(
            f"{name.replace('_mib', '')} {mib} MiB" for name, mib in step["memory"].items()
        )
        parts.append(f"Memory at most: {told}.")
    if results.get("compare_peers"):
        parts += ["### compare_peers.py", peer_table(results["compare_peers"])]
    skipped = {
        why: name for report in results.values() for name, why in report.get("skipped", {}).items()
    }
    if skipped:
        parts.append(
            "Skipped: " + "; ".join(f"{name} ({why})" for why, name in skipped.items()) + "."
        )
    return "\n\n".join(parts) + "\n"


RATE = 30


def heading(results: Results) -> str:
    machine = next(
        report["machine"] for report in results.values() if "device" in report["machine"]
    )
    return f"{machine['device']}, {machine['date']}"


def versions(results: Results) -> str:
    machine = next(
        report["machine"] for report in results.values() if "device" in report["machine"]
    )
    parts = [machine["system"], f"Python {machine['python']}"]
    parts += [f"driver {machine['driver']}"] if machine["driver"] else []
    native = results.get("step", {}).get("machine", {}).get("native")
    parts += ["with the C functions"] if native else []
    return ", ".join([*parts, *(f"{name} {text}" for name, text in machine["versions"].items())])


def kernel_table(groups: Iterable[dict[str, Any]]) -> str:
    rows = []
    for group in groups:
        ours, *others = group["rows"]
        rest = sorted(others, key=lambda row: row["median_ms"])
        told = "; ".join(
            f"{row['name']} {ours['median_ms'] / row['median_ms']:.2f}" for row in rest
        )
        rows.append(
            (
                f"`{group['kernel']}`, {group['variant']}",
                group["case"],
                f"{milliseconds(ours)} ({ours['name']})",
                f"{ours['gb_s']:.3g}",
                f"{ours['copy_share']:.0%}",
                told,
            )
        )
    head = ("kernel", "frame", "ours, ms", "GB/s", "of a copy", "ratio to others, fastest first")
    return table(head, rows)


def step_table(groups: Iterable[dict[str, Any]]) -> str:
    rows = [
        (group["name"], row["name"], milliseconds(row), f"{row['p20_ms']:.3g}–{row['p80_ms']:.3g}")
        for group in groups
        if "streams" not in group
        for row in group["rows"]
    ]
    return table(("what", "who", "ms", "20th–80th percentile"), rows)


def stream_table(entries: Iterable[dict[str, Any]]) -> str:
    rows = [
        (
            entry["effect"],
            str(entry["batch"]),
            entry["memory"],
            f"{entry[f'streams_at_{RATE}']:g}",
        )
        for entry in entries
    ]
    return table(("effect", "frames a batch", "frames lie", f"streams at {RATE} fps"), rows)


def start_table(start: dict[str, Any]) -> str:
    events = start["cache_events"]
    rows = [("imports alone", f"{start['seconds']['imports']:.2f}", "", "")]
    for kind in ("warm", "cold"):
        over = f"+{start[f'{kind}_over_imports_s']:.2f}"
        hits = f"{events[kind]['hits']} hits, {events[kind]['misses']} misses"
        rows.append((f"{kind} start", f"{start['seconds'][kind]:.2f}", over, hits))
    return table(("", "seconds", "over the imports", "compile cache"), rows)


def peer_table(report: dict[str, Any]) -> str:
    rows = [
        (threads, key, f"{value:.2f}")
        for threads, part in report.items()
        if threads.isdigit()
        for key, value in part.items()
        if "_ratio" in key
    ]
    return table(("threads", "", "ours / theirs"), rows)


def milliseconds(row: dict[str, Any]) -> str:
    return f"{row['median_ms']:.3g}"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


# --- pictures -----------------------------------------------------------------------------------


def draw(results: Results, path: Path) -> None:
    """The bandwidth reached at every size, a panel a kernel, under the roof that a copy sets."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    groups = results.get("kernels", {}).get("groups", [])
    plain = [group for group in groups if group["variant"] in ("picture", "float32")]
    names = list(dict.fromkeys(group["kernel"] for group in plain))
    if not names:
        return
    figure, panels = pyplot.subplots(
        1, len(names), figsize=(5.2 * len(names), 4.6), sharey=True, squeeze=False
    )
    for panel, name in zip(panels[0], names, strict=True):
        chosen = sorted((g for g in plain if g["kernel"] == name), key=lambda g: g["bytes"])
        places = range(len(chosen))
        roof = [group["copy_gb_s"] for group in chosen]
        panel.plot(places, roof, color="black", linewidth=2, label="a copy: the roof")
        ours = chosen[0]["rows"][0]["name"]
        colours = itertools.cycle(("C0", "C1", "C2", "C4", "C5", "C7"))
        for row in dict.fromkeys(row["name"] for group in chosen for row in group["rows"]):
            points = [
                (at, found["gb_s"])
                for at, group in zip(places, chosen, strict=True)
                for found in group["rows"]
                if found["name"] == row
            ]
            style = {"color": next(colours), "marker": "."}
            if row == ours:
                style = {"color": "C3", "marker": "o", "linewidth": 2.5}
            panel.plot(*zip(*points, strict=True), label=row, **style)
        labels = [f"{group['case']}\n{group['bytes'] / 1e6:.3g} MB" for group in chosen]
        panel.set_xticks(places, labels, fontsize=7)
        panel.set(yscale="log", title=name)
        panel.yaxis.set_major_formatter("{x:g}")
        panel.grid(alpha=0.3)
        panel.legend(fontsize=7)
    panels[0][0].set_ylabel("GB/s: bytes that must move / time")
    figure.suptitle(heading(results))
    figure.tight_layout()
    with replacing(path) as beside:
        figure.savefig(beside, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
