"""The `segjax` command: one module a sub-command, imported when it is called."""

import importlib
import inspect
import keyword
import os
import sys
from typing import NoReturn

from segjax.errors import SegjaxError

COMMANDS = {
    "serve": "keep the person, replace the room: camera or file in, window or file out",
    "plate": "take a picture of the empty room, which helps serve to find the person",
    "doctor": "check camera, virtual camera, display, GPU and weights, and say how to mend them",
    "segment": "write the person's alpha mask of a picture, a folder or a video",
    "evaluate": "measure a model against masks or labels: IoU by class, boundary F …",
    "report": "measure models on pictures and in motion, as a page and as JSON",
    "browse": "draw what training will see: pictures with their masks or labels",
    "train": "train a model from a config",
    "average": "average the weights of runs that began from the same ones",
    "import": "turn weights of torchvision and Hugging Face into ours",
    "describe": "show a network's parts, parameters, operations, memory, field and speed",
    "export": "write a network as ONNX or StableHLO, for programs without segjax",
    "release": "write a run's weights with their model card",
}


def main(argv: list[str] | None = None) -> NoReturn:
    """Runs `segjax COMMAND …` and exits: 0 done, 2 the user's mistake, 130 interrupted."""
    arguments = sys.argv[1:] if argv is None else argv
    name = arguments[0] if arguments else "--help"
    if name in COMMANDS:
        run(name, arguments[1:], prog=f"segjax {name}")
    if name == "--version":
        from segjax import __version__

        print(f"segjax {__version__}")
        sys.exit(0)
    lines = [f"  {command:10} {text}" for command, text in COMMANDS.items()]
    usage = "\n".join(
        ["usage: segjax COMMAND [--help]", "", *lines, "", "segjax COMMAND --help shows examples."]
    )
    if name in ("-h", "--help"):
        print(usage)
        sys.exit(0)
    print(f"error: {name!r} is no command of segjax\n\n{usage}", file=sys.stderr)
    sys.exit(2)


def run(name: str, argv: list[str], *, prog: str) -> NoReturn:
    """Parses the options of one command, runs it, and exits."""
    import tyro

    try:
        file = f"{name}_" if keyword.iskeyword(name) else name
        module = importlib.import_module(f"segjax.cli.{file}")
        parse = getattr(module, "parse", None)
        if parse:
            options = parse(argv, prog)
        else:
            # Given in full, because tyro's own reading of a docstring leaves out its examples.
            described = inspect.getdoc(module.Options)
            options = tyro.cli(module.Options, args=argv, prog=prog, description=described)
        module.main(options)
    except SegjaxError as error:
        print(f"error: {error}", file=sys.stderr)
        _exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        _exit(130)
    _exit(0)


def _exit(code: int) -> NoReturn:
    workers = sys.modules.get("segjax.web.worker")
    if workers and not workers.end_all():
        # Compiling cannot be interrupted, and Python would end by aborting in it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
