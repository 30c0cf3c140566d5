"""Settings that stay: a command's options in one TOML file, which its flags override."""

import dataclasses
import os
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import tomli_w

from segjax.errors import SegjaxError
from segjax.files import replacing

PLACES = ("source", "background")
"""Options that may name a file, which is then saved by its whole path."""


def settings_file() -> Path | None:
    """Where they lie: `settings.toml` in the user's folder for such things, or as SEGJAX_SETTINGS
    says, of which `off` means none."""
    chosen = os.environ.get("SEGJAX_SETTINGS")
    if chosen:
        return None if chosen == "off" else Path(chosen)
    base = os.environ.get("APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "segjax" / "settings.toml"


def load(path: Path, plain: Any, *, never: Collection[str]) -> Any:
    """`plain` options with those of the file in place; all of `plain` if there is no file.

    Raises:
      SegjaxError: the file cannot be read, or holds what is no such option, or one of `never`.
    """
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except FileNotFoundError:
        return plain
    except (OSError, ValueError) as error:  # of which TOMLDecodeError and UnicodeDecodeError are
        raise SegjaxError(
            f"the settings {path} cannot be read ({error}); they are TOML; mend or delete the file"
        ) from error
    known = {name: getattr(plain, name) for name in _names(plain) if name not in never}
    given: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in known:
            raise SegjaxError(
                f"the settings {path} hold {key!r}; they may hold "
                f"{', '.join(each.replace('_', '-') for each in known)}; delete the line"
            )
        given[name] = _as(known[name], value, f"the settings {path} hold {key} = {value!r}")
    return dataclasses.replace(plain, **given)


def save(path: Path, options: Any, *, never: Collection[str]) -> None:
    """Writes what differs from the options' own defaults.

    Raises:
      SegjaxError: the file cannot be written.
    """
    plain = type(options)()
    values: dict[str, Any] = {}
    for name in _names(options):
        value = getattr(options, name)
        if name in never or value == getattr(plain, name):
            continue
        if isinstance(value, Path) or (name in PLACES and Path(value).exists()):
            value = str(Path(value).absolute())
        values[name.replace("_", "-")] = list(value) if isinstance(value, tuple) else value
    with replacing(path) as beside:
        beside.write_text("# Read by `segjax serve`; flags override it.\n" + tomli_w.dumps(values))


def _names(options: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(options)]


def _as(plain: Any, value: Any, got: str) -> Any:
    """A value of the kind that the option is of."""
    if isinstance(plain, bool):
        fits, rule = isinstance(value, bool), "it is true or false"
    elif isinstance(plain, float):
        fits, rule = type(value) in (int, float), "it is a number"
    elif isinstance(plain, int):
        fits, rule = type(value) is int, "it is a whole number"
    elif isinstance(plain, tuple):
        fits = isinstance(value, list) and all(isinstance(each, str) for each in value)
        rule = "it is a list of texts"
    else:
        fits, rule = isinstance(value, str), "it is a text in quotes"
    if not fits:
        raise SegjaxError(f"{got}; {rule}; mend or delete the line")
    kind: Any = Path if plain is None else type(plain)  # None stands for a path
    return kind(value)
