"""What a run that goes on must have in common with how it began."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from segjax.config import TrainConfig, from_dict, to_dict
from segjax.errors import SegjaxError
from segjax.files import write_json
from segjax.training import devices

MAY_CHANGE = {
    *("log_every", "eval_every", "save_every", "keep", "patience", "profile_steps", "fsdp"),
    *("data.root", "data.threads", "data.workers"),
}
"""Fields that a resumed run may have otherwise, since no weight depends on them."""


def claim(workdir: Path, config: TrainConfig, *, started: bool) -> None:
    """Writes the resolved config; a run that has started goes on as it began or not at all.

    Raises:
      SegjaxError: the run in `workdir` has another config, or it cannot be written.
    """
    path = workdir / "config.json"
    if started and path.exists():
        began = from_dict(TrainConfig, json.loads(path.read_text()), str(path))
        for name, (then, now) in differences(began, config).items():
            if name not in MAY_CHANGE:
                raise SegjaxError(
                    f"the run in {workdir} began with {name} {then}, now it is {now}; resuming "
                    "needs the same; set it back or choose another --workdir"
                )
    if devices.first():
        write_json(path, to_dict(config))


def differences(one: Any, other: Any) -> dict[str, tuple[Any, Any]]:
    """Fields of two configs of one class, by their dotted names, that are not the same."""
    first, second = (dict(_flat(_as_read(config))) for config in (one, other))
    pairs = {name: (first.get(name), second.get(name)) for name in first | second}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def same_pictures(before: int, now: int) -> None:
    """Raises a SegjaxError unless a run that began with so many pictures has as many now."""
    if before != now:
        raise SegjaxError(
            f"the run began with {before} pictures, now there are {now}; resuming needs the "
            "same ones, or they would come in another order; choose another --workdir"
        )


def _as_read(config: Any) -> dict[str, Any]:
    """A config's fields as they are after it was written and read: a list is a tuple then."""
    return to_dict(from_dict(type(config), to_dict(config)))


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
