"""`segjax segment`: masks of pictures and videos as files: the person's alpha, or labels."""

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from rich.progress import track

from segjax.cli.stills import Writer, load_writer, to_mask
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

    A model of several classes gives palette PNGs of their numbers, and beside each the picture with
    the classes' colours laid over it, NAME_overlay.jpg.

    A folder's pictures are independent of each other unless --sequence says that they are the
    frames of a clip; a video always is one, and gives one PNG a frame, numbered from 000000.

    Examples:
      segjax segment me.jpg --out me_alpha.png
      segjax segment photos --out masks
      segjax segment frames --sequence --out masks
      segjax segment talk.mp4 --out talk_masks
      segjax segment talk.mp4 --out talk_alpha.mp4
      segjax segment street.jpg --model camvid.safetensors --crf --out labels
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """Picture, folder of pictures, or video."""
    out: Path
    """Folder for the PNGs; or a .png file for a picture, a video file for a video."""
    model: str = "portrait"
    """Name or path of released weights, or an .onnx file (which remembers nothing)."""
    sequence: bool = False
    """Take a folder's pictures, in the order of their names, for the frames of one clip."""
    crf: bool = False
    """Draw single pictures' edges by a dense CRF: seconds a picture."""
    tile: tuple[int, int] | None = None
    """HEIGHT WIDTH: show the network tiles of this size, which overlap and are blended, instead of
    the whole picture: for pictures larger than those it was trained on."""


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
        if options.sequence:
            _check_still(options, "a sequence")
            clip = load_clip(options.model)
            _segment_files(
                files, out, lambda path, pixels: write_image(path, to_mask(clip(pixels))), True
            )
        else:
            write = load_writer(options.model, crf=options.crf, tile=options.tile)
            _segment_files(files, out, write, False)
    elif is_image(source):
        _check_out(out, [source], suffixes={".png"})
        pixels = read_image(source)
        write = load_writer(options.model, crf=options.crf, tile=options.tile)
        write(out / f"{source.stem}.png" if _is_folder(out) else out, pixels)
    elif source.exists():
        _check_out(out, [source], suffixes=FORMATS)
        _check_still(options, "a video")
        video = VideoFile(source)
        _segment_video(video, out, load_clip(options.model))
    else:
        raise SegjaxError(f"{source} does not exist; give a picture, a folder of them, or a video")
    Console().print(f"written: {out}", soft_wrap=True)


def load_clip(model: str) -> Predictor:
    """A predictor for the frames of one clip in turn, which remembers those before if it can.

    Raises:
      SegjaxError: as `load_predictor`, or the network tells more than a person from a room.
    """
    if is_onnx(model):
        predictor = load_predictor(model)
        _check_person(model, predictor.classes)
        return predictor
    from segjax import weights
    from segjax.compilation import use_cache
    from segjax.matting import AlphaClip

    use_cache()
    released = weights.load(model)
    _check_person(model, released.config.classes)
    return AlphaClip(released)


def _check_person(model: str, classes: int) -> None:
    if classes != 1:
        raise SegjaxError(
            f"{model} tells {classes} classes apart; a clip's alpha needs a network of one, the "
            "person; give another model, or pictures instead of a clip"
        )


def _segment_files(files: Sequence[Path], out: Path, write: Writer, one_size: bool) -> None:
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
            write(beside / f"{path.stem}.png", pixels)


def _segment_video(video: VideoFile, out: Path, predict: Predictor) -> None:
    as_pictures = _is_folder(out)
    with PngFolder(out) if as_pictures else Recording(out, rate=video.rate) as sink, video:
        for frame in track(video, "segmenting", console=Console(stderr=True)):
            mask = to_mask(predict(frame.pixels))
            pixels = mask if as_pictures else np.dstack([mask] * 3)
            sink.write(dataclasses.replace(frame, pixels=pixels))


def _check_still(options: Options, what: str) -> None:
    if options.crf or options.tile:
        raise SegjaxError(
            f"--crf and --tile are for single pictures, not for {what}; leave them away"
        )


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
