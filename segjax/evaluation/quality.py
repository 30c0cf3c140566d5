"""How masks behave in motion, clip by clip: flicker, lag, leak and cut, with their worst frames."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from segjax.errors import SegjaxError
from segjax.evaluation import metrics
from segjax.evaluation.clips import NOBODY, VIDEO, Clip
from segjax.evaluation.metrics import Wrong
from segjax.evaluation.predictors import Predictor


class Case(NamedTuple):
    """A frame that went wrong: pixels uint8 [H, W, 3], mask uint8 [H, W], alpha float [H, W]."""

    name: str
    figure: float
    pixels: np.ndarray
    mask: np.ndarray
    alpha: np.ndarray


class ClipScore(NamedTuple):
    """The figures of one clip by `segjax.evaluation.metrics`; None where it has none.

    Attributes:
      frames: how many there were.
      leaks: of every frame of a clip with a truth.
      cuts: the same.
      worst: the frames with the largest mean "leak" and "cut".
    """

    name: str
    kind: str
    frames: int
    flip_rate: float | None = None
    dtssd: float | None = None
    lag: float | None = None
    leaks: Sequence[Wrong] = ()
    cuts: Sequence[Wrong] = ()
    worst: Mapping[str, Case] = MappingProxyType({})


def score_clip(predict: Predictor, clip: Clip) -> ClipScore:
    """Predicts a clip's frames in turn and measures them at full size.

    Args:
      predict: may remember the frames before; nothing of another clip.
      clip: with true masks, or of the kind `VIDEO`, which gives a flip rate alone.

    Raises:
      SegjaxError: a frame cannot be read, or the clip has one frame, or frames of several sizes.
    """
    try:
        return _score_video(predict, clip) if clip.kind == VIDEO else _score_truth(predict, clip)
    except ValueError as error:
        raise SegjaxError(f"{clip.name}: {error}; give another clip") from error


def _score_video(predict: Predictor, clip: Clip) -> ClipScore:
    count = 0

    def masked() -> Iterable[tuple[np.ndarray, np.ndarray]]:
        nonlocal count
        for pixels, _ in clip.frames():
            count += 1
            yield pixels, predict(pixels)

    rate = metrics.flip_rate(masked())
    return ClipScore(clip.name, clip.kind, count, flip_rate=rate)


def _score_truth(predict: Predictor, clip: Clip) -> ClipScore:
    frames, leaks, cuts = [], [], []
    worst: dict[str, Case] = {}
    for number, (pixels, mask) in enumerate(clip.frames()):
        assert mask is not None
        alpha = predict(pixels)
        frames.append((alpha, mask))
        for name, metric, kept in (("leak", metrics.leak, leaks), ("cut", metrics.cut, cuts)):
            wrong = metric(alpha, mask)
            kept.append(wrong)
            if wrong.mean is not None and (name not in worst or wrong.mean > worst[name].figure):
                case = f"{clip.name}, frame {number}"
                worst[name] = Case(case, wrong.mean, pixels, mask, alpha)
    return ClipScore(
        clip.name,
        clip.kind,
        len(frames),
        dtssd=metrics.dtssd(frames) if len(frames) > 1 else None,
        lag=metrics.lag(frames) if len(frames) > 2 * metrics.SHIFTS else None,
        leaks=leaks,
        cuts=cuts,
        worst=worst,
    )


def summarize_clips(scores: Sequence[ClipScore]) -> dict[str, Any]:
    """The figures of all clips under fixed keys, the same of each kind under `kinds`.

    * `flip_rate`: the mean of the videos without a truth; each stands in `flip_rate_by_clip`.
    * `dtssd`: the mean of the clips with somebody in them.
    * `lag`: of the moving cut-outs, the one of the speed at which it is farthest from 0.
    * `leak`, `cut`: see `_summarize_wrong`, over the frames of the clips with somebody in them.
    * `leak_nobody`: the same of the frames with nobody in them.
    """
    kinds: dict[str, list[ClipScore]] = {}
    for s in scores:
        kinds.setdefault(s.kind, []).append(s)
    videos = kinds.pop(VIDEO, [])
    by_kind = {kind: _summarize(some) for kind, some in kinds.items()}
    lags = [figures["lag"] for kind, figures in by_kind.items() if figures["lag"] is not None]
    return {
        "flip_rate": _mean(s.flip_rate for s in videos),
        **_summarize([s for kind, some in kinds.items() if kind != NOBODY for s in some]),
        "lag": max(lags, key=abs, default=None),
        "leak_nobody": by_kind[NOBODY]["leak_nobody"] if NOBODY in by_kind else None,
        "kinds": by_kind,
        "flip_rate_by_clip": {s.name: s.flip_rate for s in videos},
    }


def worst_cases(scores: Sequence[ClipScore], count: int) -> list[Case]:
    """Of each kind of clip up to `count` frames that leak most, and as many that cut most."""
    cases = []
    for kind in dict.fromkeys(s.kind for s in scores):
        for what in ("leak", "cut"):
            some = [s.worst[what] for s in scores if s.kind == kind and what in s.worst]
            some.sort(key=lambda case: -case.figure)
            cases += [
                case._replace(name=f"{case.name}: {what} {100 * case.figure:.1f} %")
                for case in some[:count]
                if case.figure > 0
            ]
    return cases


def _summarize(scores: Sequence[ClipScore]) -> dict[str, Any]:
    shown = [(s, n) for s in scores for n in range(s.frames) if s.cuts[n].mean is not None]
    empty = [(s, n) for s in scores for n in range(s.frames) if s.cuts[n].mean is None]
    return {
        "frames": len(shown) + len(empty),
        "dtssd": _mean(s.dtssd for s in scores),
        "lag": _mean(s.lag for s in scores),
        "leak": _summarize_wrong([(f"{s.name}, frame {n}", s.leaks[n]) for s, n in shown]),
        "cut": _summarize_wrong([(f"{s.name}, frame {n}", s.cuts[n]) for s, n in shown]),
        "leak_nobody": _summarize_wrong([(f"{s.name}, frame {n}", s.leaks[n]) for s, n in empty]),
    }


def _summarize_wrong(frames: Sequence[tuple[str, Wrong]]) -> dict[str, Any] | None:
    """The frames' mean of each figure of `Wrong`, the worst frame's mean and share, and its name.

    None without frames.
    """
    known = [(name, wrong) for name, wrong in frames if wrong.mean is not None]
    if not known:
        return None
    name, worst = max(known, key=lambda frame: frame[1].mean or 0)
    means = {key: _mean(getattr(wrong, key) for _, wrong in known) for key in Wrong._fields}
    return {**means, "worst_mean": worst.mean, "worst_share": worst.share, "worst_frame": name}


def _mean(figures: Iterable[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return float(np.mean(known)) if known else None
