"""`segjax train`: trains a model from a config file."""

import dataclasses
import importlib.util
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tyro

import segjax.config
from segjax.config import TrainConfig, meant, to_dict
from segjax.errors import SegjaxError
from segjax.memory import keep_all_freed_memory

USAGE = """Trains a model from a config file, or goes on where the run in --workdir stopped.

Examples:
    segjax train --config configs/portrait.py --workdir runs/portrait
    segjax train --config configs/portrait.py --steps 2000 --data.root ~/people
    segjax train --config configs/portrait.py --init portrait --workdir runs/more

On several machines the same command is run once on each, with a --workdir that they share, and
    --distributed auto                                     under Slurm, Open MPI, Kubernetes, TPU
    --distributed HOST:PORT --processes 2 --process 0      elsewhere; HOST is that of process 0
"""


@dataclasses.dataclass(frozen=True)
class Options:
    """What `parse` found."""

    config: TrainConfig
    workdir: Path
    distributed: str | None = None
    """Where process 0 of several listens, or "auto"."""
    processes: int | None = None
    process: int | None = None


def parse(argv: list[str], prog: str) -> Options:
    """Reads what is no field of the config, then every field as a flag over its value."""
    path, argv = _take(argv, "--config")
    workdir, argv = _take(argv, "--workdir")
    distributed, argv = _take(argv, "--distributed")
    processes, argv = _take_number(argv, "--processes")
    process, argv = _take_number(argv, "--process")
    if distributed is None and (processes, process) != (None, None):
        raise SegjaxError(
            "got --processes or --process alone; they tell one of several processes which it is, "
            "and --distributed where they meet; give it too"
        )
    if path is None:
        print(f"usage: {prog} --config FILE.py [--workdir DIR] [--FIELD VALUE …]\n\n{USAGE}")
        if not argv or argv[0] in ("-h", "--help"):
            print(f"{prog} --config FILE.py --help lists the fields.")
            sys.exit(0 if argv else 2)
        raise SegjaxError("got no --config; it names a Python file with a `config`; give one")
    base = load_config(Path(path))
    config = tyro.cli(TrainConfig, args=argv, default=base, prog=prog, description=USAGE)
    folder = Path(workdir) if workdir else Path("runs") / config.name
    return Options(config, folder, distributed, processes, process)


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
    sys.path.insert(0, str(path.parent))  # configs may share a recipe that lies beside them
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        line = f"{type(error).__name__}: {error}{_meant(error)}"
        raise SegjaxError(f"{path} fails: {line}; mend it") from error
    finally:
        sys.path.remove(str(path.parent))
    config = getattr(module, "config", None)
    if not isinstance(config, TrainConfig):
        raise SegjaxError(f"{path} has no `config = TrainConfig(…)`; add it")
    return config


def _meant(error: Exception) -> str:
    """Which field of a config was meant where an unknown one was given."""
    given = re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    config: Any = given and getattr(segjax.config, given[1], None)
    if not given or not dataclasses.is_dataclass(config):
        return ""
    return meant(given[2], [field.name for field in dataclasses.fields(config)])


def main(options: Options) -> None:
    """Lints the data, then trains."""
    keep_all_freed_memory()
    try:
        from segjax.data.folders import draw_weights
        from segjax.data.opening import find_data
        from segjax.training import devices
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
    if options.distributed:
        devices.join(options.distributed, options.processes, options.process)
    say = print if devices.first() else _quiet
    say(json.dumps(to_dict(config), indent=2))
    # One process prepares the copy that all read.
    with devices.first_process_first():
        found = find_data(
            data.root, classes=config.model.classes, ignore=data.ignore, names=data.names
        )
        if devices.first():
            found.check(data.train, data.val)
        source, val_source = found.open(data.train), found.open(data.val)
    draws = draw_weights(data.root, source.stems, data.favoured, data.favour)
    say(_plan(config, len(source), options.workdir))
    names = found.classes.names if found.classes else ()
    convolve = _convolve(config, say)
    path = train(config, options.workdir, source, val_source, draws, names, convolve)
    say(f"the best weights: {path}")


def _convolve(config: TrainConfig, say: Callable[[str], None]) -> Callable[..., Any] | None:
    """What convolves with products in bfloat16 on a CPU, where XLA takes longer than in float32."""
    import jax

    from segjax_kernels.cpu import trains
    from segjax_kernels.cpu.training import convolve

    if config.compute != "bfloat16" or jax.default_backend() != "cpu":
        return None
    if jax.device_count() == 1 and trains():
        return convolve
    why = (
        "the C functions are for one device alone"
        if trains()
        else "the C functions are not built (python -m segjax_kernels.cpu.build), or the processor "
        "has neither AVX512-BF16 nor AMX"
    )
    say(f"warning: bfloat16 is slower than float32 here, where XLA emulates it: {why}\n")
    return None


def _quiet(text: str) -> None:
    """Says nothing: another process does."""


def _plan(config: TrainConfig, pictures: int, workdir: Path) -> str:
    batch = config.data.batch_size * config.optimizer.accumulate
    seen = config.steps * batch
    return (
        f"{pictures} pictures, {config.steps} steps of {batch}: each seen "
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


def _take_number(argv: list[str], flag: str) -> tuple[int | None, list[str]]:
    value, rest = _take(argv, flag)
    if value is not None and not value.isdecimal():
        raise SegjaxError(f"{flag} is {value!r}; it is a whole number from 0; correct it")
    return (None if value is None else int(value)), rest
