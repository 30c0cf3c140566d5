"""The README's way to the page as a new user goes it, in an empty home: what it says, how long.

python tests/web/first_time.py FOLDER    in a new folder; needs Chromium and Playwright itself
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path

from test_web_serve import ROOT, visit

LINE = re.compile(r"^1\. `(make live)`", re.MULTILINE)
ADDRESS = re.compile(r"\s+(https?://\S+/#[0-9a-f]{32})\s*")


def copy_tree(to: Path) -> None:
    """What a clone of this tree would hold, with what is not committed yet."""
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"]
    for name in subprocess.check_output(listed, text=True).split("\0"):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)


def new_users(home: Path) -> dict[str, str]:
    """The environment of a user who has nothing yet: no virtual environment, cache or settings."""
    ours = Path(sys.prefix).resolve()
    paths = os.environ["PATH"].split(os.pathsep)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "SEGJAX", "JAX", "XLA", "VIRTUAL_ENV", "MAKE", "MFLAGS"))
    }
    others = [path for path in paths if not Path(path).resolve().is_relative_to(ours)]
    return kept | {"HOME": str(home), "PATH": os.pathsep.join(others), "PYTHONUNBUFFERED": "1"}


def follow(folder: Path) -> None:
    """Goes the way in `folder`, and says each printed line with the minutes since the start."""
    tree, home = folder / "segjax", folder / "home"
    home.mkdir(parents=True)
    copy_tree(tree)
    found = LINE.search((tree / "README.md").read_text())
    assert found, "README.md names no command to start with"
    chromium = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), "")
    started_s = time.monotonic()

    def say(line: str) -> None:
        print(f"{(time.monotonic() - started_s) / 60:5.2f}  {line}", flush=True)

    say(f"$ {found[1]} PORT=0")
    child = subprocess.Popen(
        [*found[1].split(), "PORT=0"],
        cwd=tree,
        env=new_users(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    told: Future[str] = Future()

    def read() -> None:
        assert child.stdout
        for line in child.stdout:
            say(line.rstrip())
            if address := ADDRESS.fullmatch(line):
                told.set_result(address[1])
        if not told.done():
            told.set_exception(RuntimeError("it ended without an address"))

    reading = threading.Thread(target=read)
    reading.start()
    try:
        visit(told.result(), folder, chromium, limit_ms=600_000)
        say("(the browser shows the person without the room)")
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGINT)
        reading.join()


if __name__ == "__main__":
    follow(Path(sys.argv[1]).resolve())
