"""`segjax serve`: the person stays, the room is replaced, live or from a file."""

import inspect
import os
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from segjax.cli import settings
from segjax.errors import SegjaxError
from segjax.files import write_json
from segjax.images import read_image
from segjax.live.backgrounds import Background, parse_background
from segjax.live.cameras import list_cameras
from segjax.live.controls import Controls, Seen, Views
from segjax.live.governor import Governor
from segjax.live.loop import Loop, say
from segjax.live.overlays import Overlay, overlaid
from segjax.live.sinks import open_sink
from segjax.live.sources import open_source
from segjax.live.window import Window
from segjax.web.settings import PERSONS, Person

if TYPE_CHECKING:
    from segjax.live.guard import Matting
    from segjax.web.preview import PageSink

SAMPLE_FRAMES = 300
"""Frames of the endless sample, where --max-frames does not say."""


@dataclass(frozen=True)
class Options:
    """Keep the person, replace the room: a camera or a file in, a window or a file out.

    What leaves is a frame composed with its own mask or, before the first mask and whenever the
    model fails, a cover without any byte of the camera.

    Examples:
      segjax serve                                             camera 0, blurred, in a window
      segjax serve --source list
      segjax serve --background bookshelf --sink virtual-camera --sink window --save
      segjax serve --source "HD Pro Webcam" --background beach.jpg
      segjax serve --source talk.mp4 --background "#00b140" --sink talk_green.mp4
      segjax serve --source talk.mp4 --background transparent --sink talk.webm --sink frames/
      segjax serve --source sample --sink null --report report.json
      segjax serve --source browser                            a page for the browser's own camera
    """

    source: Annotated[str, tyro.conf.arg(metavar="SRC")] = "0"
    """A camera by index or name, a video file, an image, a folder of images (a clip at 30 fps in
    the order of their names), an rtsp:// or http:// address, or `sample`, a built-in moving
    picture. `list` lists the cameras.
    `browser` serves a page: the browser's camera in, the picture back."""
    background: Annotated[str, tyro.conf.arg(metavar="BG")] = "blur"
    """`blur`, `bokeh` (out of focus, lamps become discs), `blur:STRENGTH` and `bokeh:STRENGTH`
    (above 0, up to 1; without a number 0.5), `#rrggbb`, an image, a video (looped), `transparent`,
    or a room drawn for you: `studio`, `blinds`, `evening`, `bookshelf`, `plaster`, `paper`, `dusk`,
    `brand` or `brand:#rrggbb`."""
    sinks: Annotated[
        tuple[str, ...], tyro.conf.arg(name="sink", metavar="SINK"), tyro.conf.UseAppendAction
    ] = ()
    """`window` (the default), `virtual-camera` for calls (`segjax doctor` says what it needs;
    `virtual-camera:DEVICE` chooses one), a video file (.mp4 .mov .mkv .webm; .mov and .webm hold
    transparency), a folder for PNGs, `page` to look on and change the run in a browser, or `null`.
    May be given several times."""
    model: str = "portrait"
    """Name or path of released weights."""
    max_frames: int | None = None
    """Stop after so many frames. The sample, which never ends, stops after 300."""
    report: Path | None = None
    """JSON file to write: device, frames, dropped, fps, stages and more."""
    camera_size: Annotated[str, tyro.conf.arg(metavar="WIDTHxHEIGHT")] = "1280x720"
    """What a camera is asked for; it may grant another."""
    camera_rate: float = 30.0
    """Frames a second that a camera is asked for."""
    smoothing: bool = True
    """Smooth the mask in time. Switch it off for a folder of pictures that are no clip."""
    overlay: Path | None = None
    """PNG with transparency, such as a logo or a frame, between the room and the person; scaled to
    cover the picture."""
    person: Person = "all"
    """Who is shown of several: the largest, or the one most in the middle, and then that one for as
    long as they are there. Two who touch are one."""
    plate: Path | None = None
    """A picture of the empty room from this very camera, in its place: it removes what the network
    mistakes for a person."""
    edge_softness: float = 0.5
    """How soft the person's outline is, from 0, hard, to 1."""
    governor: bool = True
    """Lower a camera's quality (coarser masks, then fewer frames) while the machine is too busy for
    all of it."""
    cpu_share: float = 1.0
    """Share of all processors that may be used on a camera, above 0; 1 is no limit."""
    port: int = 8000
    """Of the page; 0 takes any that is free."""
    host: str = "127.0.0.1"
    """Where the page listens: this computer alone, or the address by which others reach it, then
    by TLS only."""
    cert: Path | None = None
    """PEM certificate of the page. Without one, for other computers, one is made."""
    key: Path | None = None
    """Its private key."""
    backgrounds: Path | None = None
    """Folder of pictures and videos that the page offers."""
    save: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Keep these options for the next time. Flags then override what was kept."""


NEVER_KEPT = ("save", "max_frames", "report")
"""Options of one run alone."""


def parse(argv: list[str], prog: str) -> Options:
    """The options of a command line, with kept settings in the place of the defaults.

    Raises:
      SegjaxError: the settings are not usable.
    """
    path = settings.settings_file()
    kept = settings.load(path, Options(), never=NEVER_KEPT) if path else Options()
    if any(word.split("=")[0] == "--sink" for word in argv):
        kept = replace(kept, sinks=())  # or those given would be added to them
    if kept != Options():
        say(f"settings of {path}")
    return tyro.cli(
        Options, args=argv, prog=prog, description=inspect.getdoc(Options), default=kept
    )


def _keep(options: Options) -> None:
    path = settings.settings_file()
    if path is None:
        raise SegjaxError("got --save while SEGJAX_SETTINGS is off; unset it, or leave out --save")
    settings.save(path, options, never=NEVER_KEPT)
    say(f"kept for the next time: {path}")


def main(options: Options) -> None:
    """Runs from the source to the sinks, then prints the report and writes it.

    Raises:
      SegjaxError: an option, the source, a sink or the weights are not usable; or every frame was
        covered.
    """
    if options.source == "list":
        lines = [f"{index}  {name}" for index, name in list_cameras().items()]
        print("\n".join(lines) or "no camera found")
        return
    check_softness(options.edge_softness)
    if options.person not in PERSONS:  # settings may hold any text
        raise SegjaxError(
            f"got --person {options.person}; known are {', '.join(PERSONS)}; give one of these"
        )
    if not 0 <= options.port <= 65535:
        raise SegjaxError(
            f"got --port {options.port}; ports go from 0, which takes any that is free, to 65535; "
            "give 8000"
        )
    if options.source == "browser":
        from segjax.cli.page import serve_page

        if options.overlay or options.plate:
            say("--overlay and --plate are not used: the page has none of them yet")
        if options.save:
            _keep(options)
        serve_page(options)
        return
    max_frames = options.max_frames
    if max_frames is None and options.source == "sample":
        max_frames = SAMPLE_FRAMES
    if max_frames is not None and max_frames < 1:
        raise SegjaxError(f"got --max-frames {max_frames}; a run has at least 1; give more")
    if not 1 <= options.camera_rate <= 240:
        raise SegjaxError(
            f"got --camera-rate {options.camera_rate:g}; it is frames a second, from 1 to 240; "
            "give 30"
        )
    if not 0 < options.cpu_share <= 1:
        raise SegjaxError(
            f"got --cpu-share {options.cpu_share:g}; it is a share of all processors, above 0 and "
            "up to 1; give 0.5 for one half"
        )
    # Everything that the user may have got wrong comes before the seconds that JAX takes to start.
    overlay = Overlay(options.overlay) if options.overlay else None
    background = overlaid(parse_background(options.background), overlay)
    source = open_source(
        options.source, size=size_of(options.camera_size), rate=options.camera_rate, say=say
    )
    if options.plate:
        check_plate(options.plate, source.size)
    transparent = background.kind == "transparent"
    page = open_page(options, transparent=transparent) if "page" in options.sinks else None
    specs = [spec for spec in options.sinks or ("window",) if spec != "page"]
    sinks = [open_sink(spec, source, transparent=transparent) for spec in specs]
    sinks += [page] if page else []
    if options.save:
        _keep(options)

    views = Views()
    matting = views.of(load_matting(options, background))
    governor = None
    if options.governor:
        share = options.cpu_share
        governor = Governor(matting.qualities, rate=source.rate, cpu_share=share)
    device = device_name()
    say(f"{source.name} → {options.background} → {', '.join(sink.name for sink in sinks)}")
    loop = Loop(
        source,
        matting,
        background,
        sinks,
        device=device,
        max_frames=max_frames,
        governor=governor,
    )

    def make(other: Background) -> Seen:
        return views.of(load_matting(options, other))

    for window in sinks:
        if isinstance(window, Window):
            window.controls = Controls(
                loop,
                options.background,
                background,
                matting,
                make,
                views,
                say,
                overlay,
            )
    if page:
        from segjax.cli.page import remote_control

        remote_control(options, page, loop, source.name, background, overlay, matting, make, device)
    report = loop.run()

    print(report.summary())
    Console().print(report.table())
    if options.report:
        write_json(options.report, report.as_json())
    if report.frames and report.covered == report.frames:
        reasons = ", ".join(report.covered_because)
        raise SegjaxError(f"all {report.frames} frames were covered ({reasons}); see above for why")
    for name, reason in report.failed.items():
        raise SegjaxError(f"{name} is not whole: {reason}; the other outputs are")


def open_page(options: Options, *, transparent: bool) -> "PageSink":
    """The sink `page`."""
    from segjax.web.preview import PageSink

    if transparent:
        raise SegjaxError(
            "the page cannot show transparency; give another --background, or leave out --sink page"
        )
    return PageSink()


def load_matting(options: Options, background: Background) -> "Matting":
    """The step, with the released weights in it."""
    # A live demo has no need of three quarters of a GPU's memory, which JAX takes otherwise.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    from segjax import weights
    from segjax.compilation import use_cache
    from segjax.matting import Effect, Matting

    use_cache()
    effect = Effect(
        background.kind,
        strength=background.strength,
        color=background.color,
        overlaid=background.layered,
    )
    matting = Matting(
        weights.load(options.model),
        effect=effect,
        smoothing=options.smoothing,
        person=options.person,
        plate=read_image(options.plate) if options.plate else None,
    )
    matting.softness = options.edge_softness
    return matting


def check_plate(path: Path, size: tuple[int, int]) -> None:
    """Raises a SegjaxError if it is no picture, or cannot be of the same view as a source."""
    height, width = read_image(path).shape[:2]
    if abs(width / height * size[0] / size[1] - 1) > 0.02:
        raise SegjaxError(
            f"{path} is {width}x{height} pixels and the source {size[1]}x{size[0]}, which is of "
            "another shape; take it by the same camera: segjax plate"
        )


def check_softness(softness: float) -> None:
    """Raises a SegjaxError if it is none."""
    if not 0 <= softness <= 1:
        raise SegjaxError(
            f"got --edge-softness {softness:g}; it is a number from 0, for a hard outline, to 1; "
            "0.5 is the usual one"
        )


def device_name() -> str:
    """The device that JAX computes on, which the user is told, and told why it is no GPU."""
    import jax

    device = jax.devices()[0]
    if device.platform == "cpu":
        name = f"CPU ({os.cpu_count()} cores)"
        if shutil.which("nvidia-smi"):
            say("an NVIDIA GPU is here, but JAX cannot use it: `pip install 'segjax[gpu]'`")
    else:
        name = device.device_kind
    say(f"running on {name}")
    return name


def size_of(text: str) -> tuple[int, int]:
    """WIDTHxHEIGHT as (height, width).

    Raises:
      SegjaxError: it is not that.
    """
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or not all(16 <= int(side) <= 8192 for side in match.groups()):
        raise SegjaxError(f"got --camera-size {text!r}; it is WIDTHxHEIGHT; write '1280x720'")
    width, height = map(int, match.groups())
    return height, width
