"""`segjax train`: trains a model from a config file."""

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import tyro

from segjax.config import TrainConfig, to_dict
from segjax.errors import SegjaxError

USAGE = """Trains a model from a config file, or goes on where the run in --workdir stopped.

Examples:
    segjax train --config configs/portrait.py --workdir runs/portrait
    segjax train --config configs/portrait.py --steps 2000 --data.root ~/people
    segjax train --config configs/portrait.py --init portrait --workdir runs/more
"""


@dataclasses.dataclass(frozen=True)
class Options:
    """What `parse` found."""

    config: TrainConfig
    workdir: Path


def parse(argv: list[str], prog: str) -> Options:
    """Reads --config and --workdir, then every field of the config as a flag over its value."""
    path, argv = _take(argv, "--config")
    workdir, argv = _take(argv, "--workdir")
    if path is None:
        print(f"usage: {prog} --config FILE.py [--workdir DIR] [--FIELD VALUE …]\n\n{USAGE}")
        if not argv or argv[0] in ("-h", "--help"):
            print(f"{prog} --config FILE.py --help lists the fields.")
            sys.exit(0 if argv else 2)
        raise SegjaxError("got no --config; it names a Python file with a `config`; give one")
    base = load_config(Path(path))
    config = tyro.cli(TrainConfig, args=argv, default=base, prog=prog, description=USAGE)
    return Options(config, Path(workdir) if workdir else Path("runs") / config.name)


def load_config(path: Path) -> TrainConfig:
    """The `config` of a Python file.

    Raises:
      SegjaxError: no such file, it fails, or it has no `config` of the right type.
    """
    if not path.is_file():
        raise SegjaxError(f"{path} does not exist; --config names a Python file with a `config`")
    spec = importlib.util.spec_from_file_location(f"segjax_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise SegjaxError(f"{path} is not a Python file; --config names one with a `config`")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SegjaxError(f"{path} fails: {type(error).__name__}: {error}; mend it") from error
    config = getattr(module, "config", None)
    if not isinstance(config, TrainConfig):
        raise SegjaxError(f"{path} has no `config = TrainConfig(…)`; add it")
    return config


def main(options: Options) -> None:
    """Lints the data, then trains."""
    try:
        from segjax.data.folders import open_folder, read_list
        from segjax.data.linter import check
        from segjax.training.loop import train
    except ModuleNotFoundError as error:
        raise SegjaxError(
            f"the module {error.name} is missing; training needs the extra `train`; "
            "run: pip install 'segjax[train]'"
        ) from error
    from segjax.compilation import use_cache

    config = options.config
    data = config.data
    use_cache()
    print(json.dumps(to_dict(config), indent=2))
    check(data.root, train=data.train, val=data.val)
    source = open_folder(data.root, data.train)
    draws: list[float] | None = None
    if data.favoured:
        favoured = set(read_list(Path(data.root) / data.favoured))
        draws = [data.favour if stem in favoured else 1.0 for stem in source.stems]
    print(_plan(config, len(source), options.workdir))
    path = train(config, options.workdir, source, open_folder(data.root, data.val), draws)
    print(f"the best weights: {path}")


def _plan(config: TrainConfig, pictures: int, workdir: Path) -> str:
    seen = config.steps * config.data.batch_size
    return (
        f"{pictures} pictures, {config.steps} steps of {config.data.batch_size}: each seen "
        f"{seen / pictures:.1f} times; everything goes to {workdir}"
    )


def _take(argv: list[str], flag: str) -> tuple[str | None, list[str]]:
    """The value of `--flag VALUE` or `--flag=VALUE`, and the other arguments."""
    rest: list[str] = []
    value: Any = None
    arguments = iter(argv)
    for argument in arguments:
        if argument == flag:
            value = next(arguments, None)
            if value is None:
                raise SegjaxError(f"{flag} has no value; give one behind it")
        elif argument.startswith(f"{flag}="):
            value = argument.partition("=")[2]
        else:
            rest.append(argument)
    return value, rest
