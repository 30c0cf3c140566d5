"""`segjax serve --source browser`: the page, with the step behind it."""

import os
import platform
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from segjax.cli.serve import Options, device_name
from segjax.errors import SegjaxError
from segjax.live.loop import say
from segjax.web import certificates, server
from segjax.web.pictures import backgrounds_in, scenes
from segjax.web.security import Address, new_token
from segjax.web.studio import Studio

if TYPE_CHECKING:
    from segjax.matting import Matting
    from segjax.weights import Released

KEPT = Path.home() / ".config" / "segjax"
"""Where the certificate lies that the server signs itself."""


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
    pair = _pair(options)
    Address(options.host, options.port, tls=pair is not None)  # refused before it listens
    listening = server.listen(options.host, options.port)
    address = Address(options.host, listening.getsockname()[1], tls=pair is not None)
    tls = certificates.context(*pair) if pair else None

    from segjax import weights

    mattings = Mattings(smoothing=options.smoothing)
    mattings(options.model, "blur")
    models = dict.fromkeys([options.model, *weights.names()])
    studio = Studio(
        mattings, list(models), own | scenes(), device=device_name(), place=platform.node(), say=say
    )
    token = new_token()

    def started() -> None:
        say("compiling takes about half a minute the first time on a machine, seconds after that")
        if pair and not options.cert:
            say(
                "the browser will warn of this certificate, which segjax signed itself; go on only "
                f"if it shows the SHA-256 fingerprint\n  {certificates.fingerprint(pair[0])}"
            )
        if address.loopback:
            say(f"from another computer: {address.tunnel}, then the same address there")
        say("open this address in a browser, in full; Ctrl+C ends the server\n")
        print(f"  {address.url}#{token}\n", flush=True)

    server.run(server.Server(studio, address, token), listening, tls, started)
    say("the server has ended")


def _pair(options: Options) -> tuple[Path, Path] | None:
    """The certificate and key to serve with; None for plain HTTP, on this machine alone."""
    if bool(options.cert) != bool(options.key):
        raise SegjaxError("got one of --cert and --key; TLS needs both; give the other one too")
    if options.cert and options.key:
        return options.cert, options.key
    address = Address(options.host, options.port, tls=True)
    return None if address.loopback else certificates.own_pair(KEPT, address)


class Mattings:
    """The step by model and effect: loaded when first asked for, then shared by all streams."""

    def __init__(self, *, smoothing: bool = True) -> None:
        # A live page has no need of three quarters of a GPU's memory, which JAX takes otherwise.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        from segjax.compilation import use_cache

        use_cache()
        self._smoothing = smoothing
        self._weights: dict[str, Released] = {}
        self._made: dict[tuple[str, str], Matting] = {}
        self._lock = threading.Lock()

    def __call__(self, model: str, effect: str) -> "Matting":
        """One for a new stream.

        Raises:
          SegjaxError: there are no such weights.
        """
        from segjax import weights
        from segjax.matting import Effect, Matting

        with self._lock:
            if model not in self._weights:
                self._weights[model] = weights.load(model)
            if (model, effect) not in self._made:
                kind = "blur" if effect == "blur" else "picture"
                made = Matting(self._weights[model], Effect(kind), smoothing=self._smoothing)
                self._made[model, effect] = made
            return self._made[model, effect].another()
