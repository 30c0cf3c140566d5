"""Several devices and several processes make the same run as one device."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import several_run
from several_run import CONFIG, TRAIN, VAL

from segjax.training import devices, loop
from segjax.training.checkpoint import Checkpoints
from segjax.training.log import read

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> list[list[float]]:
    """The curve of one device."""
    workdir = tmp_path_factory.mktemp("one")
    loop.train(CONFIG, workdir, TRAIN, VAL)
    return curve(workdir)


def start(workdir: Path, *arguments: object, count: int) -> subprocess.Popen[str]:
    flags = f"--xla_force_host_platform_device_count={count}"
    env = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, several_run.__file__, workdir, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [str(part) for part in command], env=env, stdout=pipe, stderr=pipe, text=True
    )


def curve(workdir: Path) -> list[list[float]]:
    """Each step's figures, and at last those of the validation."""
    lines = read(workdir / "log.jsonl")
    names = ("loss", "ce", "dice", "edge", "auxiliary", "grad_norm")
    rows = [[line[name] for name in names] for line in lines if "loss" in line]
    assert len(rows) == CONFIG.steps and [line["step"] for line in lines[:-1]] == [*range(1, 21)]
    return [*rows, [lines[-1]["val"]["miou"], lines[-1]["val"]["pixel_accuracy"]]]


def assert_same(found: list[list[float]], wanted: list[list[float]]) -> None:
    for row, (here, there) in enumerate(zip(found, wanted, strict=True)):
        np.testing.assert_allclose(here, there, rtol=1e-4, err_msg=f"row {row}")


def test_eight_devices_give_the_curve_of_one(
    one: list[list[float]], tmp_path: Path, cache: Path
) -> None:
    run = start(tmp_path, cache, count=8)
    assert run.wait() == 0, run.communicate()
    assert_same(curve(tmp_path), one)


def test_two_processes_stop_together_are_killed_and_go_on_as_one(
    one: list[list[float]], tmp_path: Path, cache: Path
) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    runs = [start(tmp_path, cache, port, process, count=4) for process in (0, 1)]
    try:
        said = runs[0].communicate(timeout=280)
        assert runs[0].returncode == -signal.SIGKILL, said
    finally:
        for run in runs:
            run.kill()
    stopped = "stopped at step 5 by {}; the checkpoint is written; run the same command again to go"
    assert stopped.format("another process") in said[0]
    assert stopped.format("SIGTERM") in runs[1].communicate()[0]
    # Until it was killed it was the run of one device, whatever the parameters were divided into.
    assert_same(curve(tmp_path), one)
    assert Checkpoints(tmp_path / "checkpoints", keep=2).newest() == 10

    loop.train(CONFIG, tmp_path, TRAIN, VAL)
    assert_same(curve(tmp_path), one)


def test_large_arrays_are_divided_by_their_longest_fitting_side() -> None:
    mesh = jax.sharding.AbstractMesh((4,), ("data",))
    shapes = {"small": (8, 8), "odd": (99, 99), "kernel": (3, 3, 64, 32), "long": (3, 4096)}
    arrays = {name: jax.ShapeDtypeStruct(shape, "float32") for name, shape in shapes.items()}

    def specs(*, fsdp: bool) -> dict[str, tuple[object, ...]]:
        layout = devices.Devices(mesh, fsdp).layout(arrays)  # pyright: ignore[reportArgumentType]
        return {name: tuple(sharding.spec) for name, sharding in layout.items()}

    divided = {"kernel": (None, None, "data"), "long": (None, "data")}
    assert specs(fsdp=True) == {"small": (), "odd": (), **divided}
    assert specs(fsdp=False) == dict.fromkeys(shapes, ())
