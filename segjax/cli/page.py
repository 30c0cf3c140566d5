"""The page: `segjax serve --source browser`, with the step behind it; and `--sink page`, where it
is the preview and the remote control of a run."""

import contextlib
import functools
import os
import platform
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segjax.cli.serve import Options, device_name
from segjax.errors import SegjaxError
from segjax.live.backgrounds import BLURS, Background, Picture, parse_background
from segjax.live.loop import Loop, say
from segjax.live.overlays import Overlay, overlaid
from segjax.web import certificates, peer, server, studio
from segjax.web.pictures import Pictures, backgrounds_in, scenes
from segjax.web.preview import PageSink, Remote
from segjax.web.security import Address, new_token
from segjax.web.settings import Settings

if TYPE_CHECKING:
    from segjax.matting import Matting
    from segjax.weights import Released

KEPT = Path.home() / ".config" / "segjax"
"""Where the certificate lies that the server signs itself."""

USUAL_SHAPE = (360, 640)
"""Of a camera's pictures, for which the step is made ready before one is seen."""

BLANK = np.zeros((16, 16, 3), np.uint8)


def serve_page(options: Options) -> None:
    """Serves the page until Ctrl+C.

    Raises:
      SegjaxError: an option, the port, the certificate or the weights are not usable.
    """
    if options.sinks or options.background != "blur":
        say(
            "--sink and --background are not used: the picture goes back to the page, where the "
            "background is chosen; more to choose from come with --backgrounds FOLDER"
        )
    own = backgrounds_in(options.backgrounds) if options.backgrounds else {}
    place = Place(options)

    from segjax import weights

    mattings = Mattings(smoothing=options.smoothing)
    mattings(studio.Step(options.model))
    models = dict.fromkeys([options.model, *weights.names()])
    shared = studio.Studio(
        mattings,
        list(models),
        own | scenes(),
        device=device_name(),
        place=platform.node(),
        settings=Settings(softness=options.edge_softness, person=options.person),
        say=say,
    )
    webrtc_s = peer.TRY_S if peer.available() and not place.address.loopback else 0.0

    def started() -> None:
        shared.get_ready(*USUAL_SHAPE)
        say("compiling takes about half a minute the first time on a machine, seconds after that")
        place.say_where("open this address in a browser, in full; Ctrl+C ends the server")

    made = server.Server(shared, place.address, place.token, webrtc_s=webrtc_s)
    server.run(made, place.listening, place.tls, started)
    say("the server has ended")


def remote_control(
    options: Options,
    sink: PageSink,
    loop: Loop,
    name: str,
    background: Background,
    overlay: Overlay | None,
    matting: Any,
    make: Callable[[Background], Any],
    device: str,
) -> None:
    """Has the page show what a run gives its sink, and change the run.

    Args:
      name: of the source, without what an address keeps secret.
      background: what the run begins with, composed by `matting`: what `--background` names, with
        the overlay before it.
      make: the step for a background of another kind.

    Raises:
      SegjaxError: an option, the port or the certificate are not usable.
    """
    own = backgrounds_in(options.backgrounds) if options.backgrounds else {}
    # Not the run's own: a page looks at it in another size, and the run would wait for that.
    behind = parse_background(options.background)
    if behind.kind == "picture":
        own = {options.background: lambda: parse_background(options.background)} | own
    place = Place(options)

    def step(effect: studio.Effect) -> Any:
        if effect == background.kind:
            return matting
        return make(overlaid(BLURS[effect]() if effect in BLURS else Picture(BLANK), overlay))

    remote = Remote(
        loop,
        sink,
        Pictures(own | scenes()),
        begun_with(behind, options.edge_softness),
        matting,
        functools.cache(step),
        overlay,
        name=name,
        device=device,
        place=platform.node(),
        say=say,
    )
    made = server.Server(remote, place.address, place.token)

    @contextlib.contextmanager
    def serving() -> Iterator[None]:
        with server.in_background(made, place.listening, place.tls):
            place.say_where("the run is shown and changed at this address, to be opened in full")
            yield

    sink.serving = serving()


def begun_with(background: Background, softness: float) -> Settings:
    """What a run composes at first, as a page shows it; a picture of its own is the first there."""
    settings = Settings(strength=background.strength, softness=softness)
    if background.kind == "color":
        return replace(settings, effect="color", color=f"#{bytes(background.color).hex()}")
    if background.kind == "picture":
        return replace(settings, effect="picture", picture="given-0")
    return replace(settings, effect=background.kind)


class Place:
    """Where the page is: it listens already. Raises as `serve_page` does."""

    def __init__(self, options: Options) -> None:
        pair = _pair(options)
        Address(options.host, options.port, tls=pair is not None)  # refused before it listens
        self.listening = server.listen(options.host, options.port)
        port = self.listening.getsockname()[1]
        self.address = Address(options.host, port, tls=pair is not None)
        self.tls = certificates.context(*pair) if pair else None
        self.token = new_token()
        self._own = pair[0] if pair and not options.cert else None

    def say_where(self, how: str) -> None:
        """Tells the user the address, and how others get there."""
        if self._own:
            say(
                "the browser will warn of this certificate, which segjax signed itself; go on only "
                f"if it shows the SHA-256 fingerprint\n  {certificates.fingerprint(self._own)}"
            )
        if self.address.loopback:
            say(f"from another computer: {self.address.tunnel}, then the same address there")
        say(f"{how}\n")
        print(f"  {self.address.url}#{self.token}\n", flush=True)


def _pair(options: Options) -> tuple[Path, Path] | None:
    """The certificate and key to serve with; None for plain HTTP, on this machine alone."""
    if bool(options.cert) != bool(options.key):
        raise SegjaxError("got one of --cert and --key; TLS needs both; give the other one too")
    if options.cert and options.key:
        return options.cert, options.key
    address = Address(options.host, options.port, tls=True)
    return None if address.loopback else certificates.own_pair(KEPT, address)


class Mattings:
    """The steps: weights are loaded when first asked for, what is compiled is shared by streams."""

    def __init__(self, *, smoothing: bool = True) -> None:
        # A live page has no need of three quarters of a GPU's memory, which JAX takes otherwise.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        from segjax.compilation import use_cache

        use_cache()
        self._smoothing = smoothing
        self._weights: dict[str, Released] = {}
        self._made: dict[studio.Step, Matting] = {}
        self._lock = threading.Lock()

    def __call__(self, step: studio.Step) -> "Matting":
        """One for a new stream.

        Raises:
          SegjaxError: there are no such weights.
        """
        from segjax import weights
        from segjax.matting import Effect, Matting

        with self._lock:
            if step.model not in self._weights:
                self._weights[step.model] = weights.load(step.model)
            if step not in self._made:
                self._made[step] = Matting(
                    self._weights[step.model],
                    Effect(step.effect),
                    smoothing=self._smoothing,
                    person=step.person,
                )
            return self._made[step].another()
