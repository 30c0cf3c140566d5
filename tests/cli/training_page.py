"""docs/training.md as a stranger follows it: its files are written, its commands are run in order.

python tests/cli/training_page.py FOLDER    in a new folder, by bash, word for word
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


class Step(NamedTuple):
    """One block of the page."""

    file: str
    """The name of a file to write; empty for a block of commands."""
    text: str
    """The file's text, or a command a line."""


def read_steps(page: Path = PAGE) -> list[Step]:
    """The blocks of the page that are files (`python`, named in their first line) or commands."""
    steps = []
    for language, text in re.findall(r"^```(sh|python)\n(.*?)^```$", page.read_text(), re.M | re.S):
        name = text.partition("\n")[0].removeprefix("# ") if language == "python" else ""
        steps.append(Step(name, text))
    return steps


def follow(folder: Path) -> None:
    """Runs the page in `folder`; the first command that fails raises CalledProcessError."""
    folder.mkdir(parents=True)
    programs = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    for step in read_steps():
        if step.file:
            (folder / step.file).write_text(step.text)
            continue
        for command in step.text.splitlines():
            print(f"$ {command}", flush=True)
            subprocess.run(["bash", "-c", command], cwd=folder, env=environment, check=True)


if __name__ == "__main__":
    follow(Path(sys.argv[1]))
