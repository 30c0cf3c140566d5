"""The log of a run: one JSON object a line, and one curve however often the run was stopped."""

import json
from pathlib import Path
from typing import Any

from segjax.errors import SegjaxError
from segjax.files import cannot_write, replacing


class Log:
    """Appends to `path`; lines of steps after `start_step` were never reached and are removed."""

    def __init__(self, path: Path, start_step: int):
        self._path = path
        if path.exists():
            kept = [line for line in read(path) if line["step"] <= start_step]
            with replacing(path) as beside:
                beside.write_text("".join(json.dumps(line) + "\n" for line in kept))

    def write(self, step: int, **figures: Any) -> None:
        """Adds one line."""
        try:
            with self._path.open("a") as file:
                file.write(json.dumps({"step": step, **figures}) + "\n")
        except OSError as error:
            raise SegjaxError(cannot_write(self._path, error)) from error


def read(path: Path | str) -> list[dict[str, Any]]:
    """The lines of a log; one that a kill cut short is passed over."""
    lines = []
    for line in Path(path).read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return lines
