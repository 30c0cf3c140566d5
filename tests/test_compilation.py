import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from segjax import compilation
from segjax.compilation import use_cache

PROGRAM = """
import sys, jax, jax.numpy as jnp
from segjax.compilation import use_cache

compiled = []
jax.monitoring.register_event_listener(lambda event, **_: compiled.append(event))
print(use_cache())
print(jax.jit(lambda x: jnp.cumsum(x**2))(jnp.arange(4))[-1])
print(compiled.count("/jax/compilation_cache/cache_hits") > 0)
"""


def run(home: Path, **env: str) -> list[str]:
    """The cache's folder, a result that is 14, and whether any program came from the cache."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path), **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_second_start_finds_its_programs_and_survives_damaged_ones(tmp_path: Path) -> None:
    folder, result, hit = run(tmp_path)
    assert Path(folder).parent == tmp_path / ".cache" / "segjax" / "xla"
    assert (result, hit) == ("14", "False")
    assert run(tmp_path)[1:] == ["14", "True"]
    entries = [path for path in Path(folder).iterdir() if path.name.endswith("-cache")]
    assert entries
    for path in entries:
        path.write_bytes(path.read_bytes()[:10])
    assert run(tmp_path)[1:] == ["14", "False"]


def test_what_was_not_used_for_longest_goes_when_it_is_full(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for power in range(2, 8):
        jax.jit(lambda x, power=power: jax.numpy.cumsum(x**power))(jax.numpy.arange(4.0))
    programs = sorted(folder.glob("*-cache"))
    assert len(programs) >= 6
    for age, path in enumerate(programs):
        os.utime(path, (1e9 - age, 1e9 + age))  # made in another order than used
    first = sum(path.stat().st_size for path in programs[:3])
    monkeypatch.setattr(compilation, "LARGEST_BYTES", first + 1)
    assert use_cache(tmp_path) == folder
    assert sorted(folder.iterdir()) == programs[:3]


def test_a_program_is_added_without_a_look_at_the_others(folder: Path) -> None:
    (folder / "other-cache").mkdir()  # which whoever reads it stumbles over
    jax.jit(lambda x: jax.numpy.cumsum(x**9))(jax.numpy.arange(4.0))
    assert any(path.is_file() for path in folder.glob("*-cache"))


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    assert run(tmp_path, SEGJAX_CACHE="off") == ["None", "14", "False"]
    assert not any(tmp_path.iterdir())


@pytest.fixture
def untouched():
    yield
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()


@pytest.fixture
def folder(tmp_path: Path, untouched: None) -> Path:
    """Of an empty cache in use."""
    made = use_cache(tmp_path)
    assert made is not None
    compilation_cache.reset_cache()
    return made


@pytest.mark.usefixtures("untouched")
def test_another_processor_has_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = use_cache(tmp_path)
    assert here == use_cache(tmp_path)
    monkeypatch.setattr(compilation, "_cpu", lambda: "other")
    there = use_cache(tmp_path)
    assert here is not None and there is not None and here != there
    assert here.parent == there.parent == tmp_path


@pytest.mark.usefixtures("untouched")
def test_a_folder_that_cannot_be_made_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert use_cache(tmp_path / "file") is None


def test_the_processor_is_told_by_a_few_letters() -> None:
    assert len(compilation._cpu()) == 12 and compilation._cpu() == compilation._cpu()
