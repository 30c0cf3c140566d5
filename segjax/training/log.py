"""The log of a run: one JSON object a line, and one curve however often the run was stopped."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX import SummaryWriter

from segjax.errors import SegjaxError
from segjax.files import cannot_write, replacing
from segjax.images import write_image


class Log:
    """Appends to log.jsonl in `workdir`, and tells TensorBoard the same by events in tensorboard/.

    Lines of steps after `start_step` were never reached and are removed. Of several processes one
    writes: the others' logs are not `active`. A list of figures is one of each class, which
    TensorBoard shows by its name in `names`, or its number.
    """

    def __init__(
        self, workdir: Path, start_step: int, *, active: bool = True, names: Sequence[str] = ()
    ):
        self._labels = names
        self._path, self._pictures = workdir / "log.jsonl", workdir / "pictures"
        self._active = active
        if not active:
            return
        if self._path.exists():
            kept = [line for line in read(self._path) if line["step"] <= start_step]
            with replacing(self._path) as beside:
                beside.write_text("".join(json.dumps(line) + "\n" for line in kept))
        try:
            self._events = SummaryWriter(str(workdir / "tensorboard"), purge_step=start_step + 1)
        except OSError as error:
            raise SegjaxError(cannot_write(workdir, error)) from error

    def write(self, step: int, **figures: Any) -> None:
        """Adds one line."""
        if not self._active:
            return
        try:
            with self._path.open("a") as file:
                file.write(json.dumps({"step": step, **figures}) + "\n")
        except OSError as error:
            raise SegjaxError(cannot_write(self._path, error)) from error
        for name, value in figures.items():
            table = value if isinstance(value, dict) else {name: value}
            group = name if isinstance(value, dict) else "train"
            for key, number in self._numbers(table):
                self._events.add_scalar(f"{group}/{key}", number, step)

    def _numbers(self, table: dict[str, Any]) -> Iterator[tuple[str, float]]:
        for key, value in table.items():
            if isinstance(value, int | float):
                yield key, value
            elif isinstance(value, list):
                labels = self._labels if len(self._labels) == len(value) else range(len(value))
                for label, number in zip(labels, value, strict=True):
                    if number is not None:
                        yield f"{key}/{label}", number

    def draw(self, step: int, pixels: np.ndarray) -> None:
        """Keeps a picture, uint8 RGB, as a file in pictures/ too."""
        if self._active:
            write_image(self._pictures / f"step_{step:07d}.png", pixels)
            self._events.add_image("examples", pixels, step, dataformats="HWC")

    def close(self) -> None:
        """Writes what TensorBoard was not told yet."""
        if self._active:
            self._events.close()


def read(path: Path | str) -> list[dict[str, Any]]:
    """The lines of a log; one that a kill cut short is passed over."""
    lines = []
    for line in Path(path).read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return lines
