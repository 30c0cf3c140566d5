"""`segjax segment`: the person's alpha mask of pictures and videos, as files."""

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from rich.progress import track

from segjax.errors import SegjaxError
from segjax.evaluation.predictors import Predictor, is_onnx, load_predictor
from segjax.files import replacing_folder
from segjax.images import find_images, is_image, read_image, write_image
from segjax.live.recording import FORMATS, Recording
from segjax.live.sinks import PngFolder
from segjax.live.videos import VideoFile


@dataclass(frozen=True)
class Options:
    """Write the person's alpha mask: 8-bit grey PNGs (255 is the person) at full size.

    A folder's pictures are independent of each other unless --sequence says that they are the
    frames of a clip; a video always is one, and gives one PNG a frame, numbered from 000000.

    Examples:
      segjax segment me.jpg --out me_alpha.png
      segjax segment photos --out masks
      segjax segment frames --sequence --out masks
      segjax segment talk.mp4 --out talk_masks
      segjax segment talk.mp4 --out talk_alpha.mp4
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """Picture, folder of pictures, or video."""
    out: Path
    """Folder for the PNGs; or a .png file for a picture, a video file for a video."""
    model: str = "portrait"
    """Name or path of released weights, or an .onnx file (which remembers nothing)."""
    sequence: bool = False
    """Take a folder's pictures, in the order of their names, for the frames of one clip."""


def main(options: Options) -> None:
    """Segments the source and writes all of its masks, or none.

    Raises:
      SegjaxError: the source or the model is missing or broken, the output does not fit the
        source or cannot be written.
    """
    source, out = options.source, options.out
    if source.is_dir():
        files = find_images(source)
        _check_out(out, files, suffixes=())
        _check_stems(files)
        predict = load_clip(options.model) if options.sequence else load_predictor(options.model)
        _segment_files(files, out, predict, one_size=options.sequence)
    elif is_image(source):
        _check_out(out, [source], suffixes={".png"})
        pixels = read_image(source)
        mask = _to_mask(load_predictor(options.model)(pixels))
        write_image(out / f"{source.stem}.png" if _is_folder(out) else out, mask)
    elif source.exists():
        _check_out(out, [source], suffixes=FORMATS)
        video = VideoFile(source)
        _segment_video(video, out, load_clip(options.model))
    else:
        raise SegjaxError(f"{source} does not exist; give a picture, a folder of them, or a video")
    Console().print(f"written: {out}", soft_wrap=True)


def load_clip(model: str) -> Predictor:
    """A predictor for the frames of one clip in turn, which remembers those before if it can.

    Raises:
      SegjaxError: as `load_predictor`.
    """
    if is_onnx(model):
        return load_predictor(model)
    from segjax import weights
    from segjax.compilation import use_cache
    from segjax.matting import AlphaClip

    use_cache()
    return AlphaClip(weights.load(model))


def _segment_files(files: Sequence[Path], out: Path, predict: Predictor, *, one_size: bool) -> None:
    first: tuple[int, ...] | None = None
    with replacing_folder(out) as beside:
        for path in track(files, "segmenting", console=Console(stderr=True)):
            pixels = read_image(path)
            first = first or pixels.shape
            if one_size and pixels.shape != first:
                raise SegjaxError(
                    f"{path} is {pixels.shape[1]}x{pixels.shape[0]}, the first picture "
                    f"{first[1]}x{first[0]}; a sequence has one size; leave --sequence away"
                )
            write_image(beside / f"{path.stem}.png", _to_mask(predict(pixels)))


def _segment_video(video: VideoFile, out: Path, predict: Predictor) -> None:
    as_pictures = _is_folder(out)
    with PngFolder(out) if as_pictures else Recording(out, rate=video.rate) as sink, video:
        for frame in track(video, "segmenting", console=Console(stderr=True)):
            mask = _to_mask(predict(frame.pixels))
            pixels = mask if as_pictures else np.dstack([mask] * 3)
            sink.write(dataclasses.replace(frame, pixels=pixels))


def _is_folder(out: Path) -> bool:
    return out.is_dir() or not out.suffix


def _check_out(out: Path, files: Sequence[Path], *, suffixes: Collection[str]) -> None:
    """Refuses an output that cannot hold the masks, or that is a source, before any work."""
    if not _is_folder(out) and out.suffix.lower() not in suffixes:
        fits = "a folder" + (f" or a file that ends in {', '.join(suffixes)}" if suffixes else "")
        raise SegjaxError(f"got --out {out}; these masks go into {fits}; give such a one")
    if _is_folder(out) and out.exists() and not out.is_dir():
        raise SegjaxError(f"{out} is a file; the masks need a folder; give --out another name")
    for path in files:
        target = out / f"{path.stem}.png" if _is_folder(out) else out
        if target.resolve() == path.resolve():
            raise SegjaxError(
                f"{path} would be overwritten by its mask; a source is kept; give another --out"
            )


def _check_stems(files: Sequence[Path]) -> None:
    """Refuses pictures whose masks would have one name."""
    by_stem: dict[str, Path] = {}
    for path in files:
        twin = by_stem.setdefault(path.stem, path)
        if twin is not path:
            raise SegjaxError(
                f"{path.parent} holds both {twin.name} and {path.name}; the masks of both would "
                f"be {path.stem}.png; rename one"
            )


def _to_mask(alpha: np.ndarray) -> np.ndarray:
    """alpha float [H, W] in [0, 1] → uint8 [H, W] in 0..255."""
    return np.rint(np.clip(alpha, 0, 1) * 255).astype(np.uint8)
