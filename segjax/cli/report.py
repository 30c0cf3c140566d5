"""`segjax report`: how good models are in every way that is known, as a page and as JSON."""

import datetime
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import tyro
from rich.console import Console
from rich.progress import track

import segjax
from segjax.cli.evaluate import find_stems
from segjax.cli.segment import load_clip
from segjax.data.files import FileSource, read_pair
from segjax.data.folders import find_pairs
from segjax.errors import SegjaxError
from segjax.evaluation import quality
from segjax.evaluation.clips import (
    VIDEO,
    Clip,
    empty_clips,
    folder_clip,
    moving_clips,
)
from segjax.evaluation.metrics import iou, overlap
from segjax.evaluation.pictures import case_row
from segjax.evaluation.predictors import Predictor, is_onnx, load_predictor
from segjax.evaluation.quality_page import draw_page
from segjax.evaluation.report import Score, score, summarize
from segjax.evaluation.robustness import CHANGES
from segjax.files import replacing_folder, write_json
from segjax.live.recording import FORMATS
from segjax.live.videos import VideoFile
from segjax.sheets import CELL

SPEEDS = (5, 15, 40)
"""Pixels a frame of the moving cut-outs."""

TURNS = 15
"""How often each stage is timed, in turns with the others."""


@dataclass(frozen=True)
class Options:
    """Measure models against each other on pictures and in motion: one HTML page and JSON.

    Pictures with masks give IoU, boundary F and MAD, as they are and as bad cameras would show
    them. Clips give dtSSD, lag, leak and cut where the truth is known: folders of --clips with
    images/ and masks/, people of --data cut out and moved through rooms, and rooms with nobody in
    them. Videos of --clips give a flip rate. Weights of ours are smoothed in time as in a stream;
    .onnx networks are raw.

    Examples:
      segjax report --data person --clips videos --out out/report
      segjax report --model portrait --model peer.onnx --data person --clips videos \\
        --pattern "sign_*" --out out/report
      segjax report --data person --clips videos --quick --out out/report
    """

    data: Path
    """Folder with images/STEM.jpg, masks/STEM.png (0 room … 255 person) and lists of stems."""
    clips: Path
    """Folder with videos, and with folders that hold images/ and masks/ of a clip's frames."""
    out: Path
    """Folder for report.html and report.json. Of each model: mean_iou, dataset_iou, boundary_f,
    mad, dtssd, flip_rate, lag, leak, cut, leak_nobody, kinds, robustness, speed_ms."""
    models: Annotated[
        tuple[str, ...], tyro.conf.arg(name="model", metavar="NAME"), tyro.conf.UseAppendAction
    ] = ()
    """Name or path of released weights, or an .onnx file; may be given several times. Without one:
    portrait."""
    lists: Annotated[
        tuple[str, ...], tyro.conf.arg(name="list", metavar="FILE"), tyro.conf.UseAppendAction
    ] = ()
    """Text file of stems, one a line, as given or inside --data. May be given several times: what
    stands in all of them counts. Without one: val.txt."""
    pattern: str = "*"
    """Which videos of --clips, as in a shell."""
    quick: bool = False
    """A look in under a minute: 24 pictures, one person, 12 frames of a clip, two videos."""


@dataclass(frozen=True)
class Extent:
    """How much is measured; None is all. The size is of the made clips' frames."""

    pictures: int | None = None
    changed: int | None = 100
    people: int = 6
    frames: int | None = None
    rooms: int = 12
    videos: int | None = None
    size: tuple[int, int] = (360, 640)


WHOLE = Extent()
QUICK = Extent(pictures=24, changed=6, people=1, frames=12, rooms=2, videos=2)


def main(options: Options) -> None:
    """Measures every model and writes the page and the JSON, or neither.

    Raises:
      SegjaxError: data, clips, lists or a model are missing or broken, or the output cannot be
        written.
    """
    extent = QUICK if options.quick else WHOLE
    lists = options.lists or ("val.txt",)
    pictures = find_pairs(options.data, find_stems(options.data, lists))
    clips = find_clips(options.clips, options.pattern, extent)
    made = FileSource(pictures), extent.size
    clips += moving_clips(*made, SPEEDS, people=extent.people, frames=extent.frames or 40)
    clips += empty_clips(*made, rooms=extent.rooms)
    shown = _some(pictures, extent.pictures)
    figures, worst = {}, {}
    for name, model in _named(options.models or ("portrait",)).items():
        figures[name], worst[name] = measure(model, name, shown, clips, extent)
    report = {
        "made": datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        "data": f"{options.data} ({', '.join(lists)})",
        "clips": str(options.clips),
        "quick": options.quick,
        "versions": _versions(),
        "models": figures,
    }
    with replacing_folder(options.out) as beside:
        (beside / "report.html").write_text(draw_page(report, worst), encoding="utf-8")
        write_json(beside / "report.json", report)
    Console().print(f"written: {options.out / 'report.html'}", soft_wrap=True)


def find_clips(folder: Path, pattern: str, extent: Extent) -> list[Clip]:
    """The clips of a folder: its folders of frames with masks, and its videos.

    Raises:
      SegjaxError: there is none, or one of them is broken.
    """
    if not folder.is_dir():
        raise SegjaxError(f"{folder} is no folder; it must hold clips; give --clips another")
    framed = [path for path in sorted(folder.iterdir()) if (path / "masks").is_dir()]
    clips = [folder_clip(path, extent.frames) for path in framed]
    videos = [path for path in sorted(folder.glob(pattern)) if path.suffix.lower() in FORMATS]
    clips += [_video(path, extent.frames) for path in videos[: extent.videos]]
    if not clips:
        raise SegjaxError(
            f"{folder} holds no video {pattern!r} ({', '.join(FORMATS)}) and no folder with "
            "images/ and masks/; give --clips or --pattern another"
        )
    return clips


def measure(
    model: str,
    name: str,
    pairs: Sequence[tuple[Path, Path]],
    clips: Sequence[Clip],
    extent: Extent,
) -> tuple[dict[str, Any], list[tuple[str, np.ndarray]]]:
    """All figures of a model, and its worst cases with their captions.

    Raises:
      SegjaxError: the model is missing or broken or tells several classes apart, or a picture or
        clip cannot be read.
    """
    console = Console(stderr=True)
    in_turn = load_clip(model)
    alone = load_predictor(model)
    source = FileSource(pairs)
    order = track(range(len(pairs)), f"{name}: pictures", console=console)
    scores = [score(alone, source, index) for index in order]
    worst = sorted(zip(scores, pairs, strict=True), key=lambda scored: scored[0].iou)
    changed = _some(pairs, extent.changed)
    robustness = {
        change: _changed_iou(alone, changed, make)
        for change, make in track(
            [("unchanged", np.array), *CHANGES.items()], f"{name}: bad cameras", console=console
        )
    }
    played = []
    for clip in track(clips, f"{name}: clips", console=console):
        getattr(in_turn, "reset", lambda: None)()  # foreign networks remember nothing
        played.append(quality.score_clip(in_turn, clip))
    figures = summarize(scores)
    del figures["per_image"]
    figures |= {"worst_iou": worst[0][0].iou, "worst_picture": worst[0][0].stem}
    figures |= quality.summarize_clips(played)
    figures |= {"robustness": robustness, "speed_ms": speeds(model, in_turn)}
    rows = [_row(alone, *scored) for scored in worst[:4]]
    rows += [
        (case.name, _drawn(case.pixels, case.mask, case.alpha))
        for case in quality.worst_cases(played, 1)
    ]
    return figures, rows


def speeds(model: str, in_turn: Predictor) -> dict[str, float]:
    """Milliseconds of a frame of 1280×720: the mask at its size, and of our own weights each stage.

    Medians of calls that take turns.
    """
    frame = np.random.default_rng(0).integers(0, 256, (90, 160, 3)).astype(np.uint8)
    frame = cv2.resize(frame, (1280, 720), interpolation=cv2.INTER_CUBIC)
    calls: dict[str, Callable[[], Any]] = {"frame to mask": lambda: in_turn(frame)}
    if not is_onnx(model):
        import jax

        from segjax import weights
        from segjax.matting.stages import Stage, stages

        def of_stage(stage: Stage) -> Callable[[], Any]:
            run, given = jax.jit(stage.run), jax.device_put(stage.given[0])
            return lambda: jax.block_until_ready(run(*given))

        parts = stages(weights.load(model), [frame])
        calls |= {name: of_stage(stage) for name, stage in parts.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(TURNS + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(1000 * (time.perf_counter() - start))
    # The first compiles.
    return {name: round(statistics.median(taken[1:]), 3) for name, taken in times.items()}


def _row(predict: Predictor, scored: Score, pair: tuple[Path, Path]) -> tuple[str, np.ndarray]:
    pixels, mask = read_pair(*pair)
    return f"{scored.stem}: IoU {scored.iou:.3f}", _drawn(pixels, mask, predict(pixels))


def _drawn(pixels: np.ndarray, mask: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Its row, as high as the picture asks for."""
    height, width = mask.shape
    return case_row(pixels, mask, alpha, height=min(CELL, round(CELL * height / width)))


def _changed_iou(
    predict: Predictor,
    pairs: Sequence[tuple[Path, Path]],
    change: Callable[[np.ndarray], np.ndarray],
) -> float:
    ious = []
    for pair in pairs:
        pixels, mask = read_pair(*pair)
        ious.append(iou(*overlap(predict(change(pixels)), mask)))
    return float(np.mean(ious))


def _video(path: Path, limit: int | None) -> Clip:
    def frames() -> Any:
        for frame in VideoFile(path):
            if limit and frame.index >= limit:
                return
            yield frame.pixels, None

    return Clip(path.stem, VIDEO, frames)


def _some(pairs: Sequence[tuple[Path, Path]], count: int | None) -> Sequence[tuple[Path, Path]]:
    """Up to `count` of them, from the first to the last."""
    return pairs if count is None else pairs[:: max(1, len(pairs) // count)][:count]


def _named(models: Sequence[str]) -> dict[str, str]:
    """Models by short names, or by their whole ones where two would have the same."""
    short = {Path(model).stem: model for model in models}
    return short if len(short) == len(set(models)) else {model: model for model in models}


def _versions() -> dict[str, str]:
    import jax

    device = jax.devices()[0]
    versions = {module.__name__: module.__version__ for module in (segjax, jax, cv2)}
    return {"device": getattr(device, "device_kind", str(device)), **versions}
