"""The order of what is done on the side."""

import subprocess
import sys
import threading

from segjax.web import worker as workers
from segjax.web.worker import Worker


def test_what_is_urgent_comes_first_and_each_in_its_order() -> None:
    worker, go_on, done = Worker("test"), threading.Event(), []
    worker.submit(go_on.wait)
    for name in "abc":
        worker.submit(done.append, name, urgent=name == "c")
    last = worker.submit(done.append, "d", urgent=False)
    assert not worker.ended(0)
    go_on.set()
    last.result(10)
    assert done == ["c", "a", "b", "d"]
    failed = worker.submit(lambda: 1 / 0)
    assert isinstance(failed.exception(10), ZeroDivisionError)
    worker.close()
    assert worker.ended(10)


def test_all_are_ended_but_who_does_not_come_back() -> None:
    idle, busy, go_on = Worker("idle"), Worker("busy"), threading.Event()
    busy.submit(go_on.wait)
    assert not workers.end_all(0.2)
    assert idle.ended(0) and not busy.ended(0)
    go_on.set()
    assert workers.end_all(10) and busy.ended(0)


COMPUTING = """
import time
import numpy as np, cv2
from segjax.web.worker import Worker
picture = np.zeros((4000, 4000, 3), np.uint8)
worker = Worker("busy")
def compute():
    until_s = time.monotonic() + {seconds}
    while time.monotonic() < until_s:
        cv2.resize(picture, (3000, 3000))
worker.submit(compute)
time.sleep(0.1)
"""


def test_a_process_ends_in_peace_while_one_computes() -> None:
    """It aborted in C++ when OpenCV wanted Python back, which had gone."""
    done = end(COMPUTING.format(seconds=0.5))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_command_ends_with_its_code_while_one_goes_on_computing() -> None:
    command = """
from segjax.cli import run
run("serve", ["--source", "missing.mp4", "--sink", "null"], prog="serve")
"""
    done = end(COMPUTING.format(seconds=600) + command)
    assert done.returncode == 2
    assert "missing.mp4" in done.stderr and "terminate" not in done.stderr


def end(program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300
    )
