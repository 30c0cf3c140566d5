"""The house: what the wheel carries, what a command imports, and rules that no linter holds."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import segjax
from segjax import cli

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


# --- the wheel ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def served(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder far from the checkout, where the wheel was installed in `env` and has served.

    Its dependencies are those of the environment that runs the tests; it has no network, and
    leaves `report.json` and `modules.txt`, the names and files of all that it imported.
    """
    folder = tmp_path_factory.mktemp("served")
    venv.create(folder / "env", with_pip=False, symlinks=os.name != "nt")
    programs = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
    run(
        *(sys.executable, "-m", "pip", "--python", programs / "python"),
        *("install", "--quiet", "--no-deps", "--no-index", wheel),
    )
    (site,) = (folder / "env").rglob("site-packages")
    # Only a path: the .pth file there that leads to the checkout is not read.
    (site / "served.pth").write_text(f"{Path(np.__file__).parent.parent}\nimport at_start\n")
    (site / "at_start.py").write_text(
        "import atexit, socket, sys\n"
        "def refuse(*arguments, **options):\n"
        "    raise OSError('this environment has no network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "@atexit.register\n"
        "def tell():\n"
        "    with open('modules.txt', 'w') as file:\n"
        "        for name, module in sys.modules.items():\n"
        "            print(name, getattr(module, '__file__', None), file=file)\n"
    )
    hidden = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    kept = {key: text for key, text in os.environ.items() if key not in hidden}
    home = {"HOME": str(folder), "USERPROFILE": str(folder), "JAX_PLATFORMS": "cpu"}
    run(
        *(programs / "segjax", "serve", "--source", "sample", "--sink", "null"),
        *("--max-frames", "30", "--report", "report.json"),
        cwd=folder,
        env=kept | home,
    )
    return folder


def test_the_wheel_carries_both_packages_the_weights_and_the_licences(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
    assert {"segjax/__main__.py", "segjax_kernels/__init__.py", "segjax/py.typed"} <= names
    assert "segjax/assets/portrait/portrait.safetensors" in names
    assert "segjax/assets/portrait/LICENSE" in names
    licences = {name.partition("/licenses/")[2] for name in names if "/licenses/" in name}
    assert licences == {"LICENSE", "segjax/assets/portrait/LICENSE"}
    assert "License-Expression: Apache-2.0 AND LicenseRef-segjax-portrait-weights" in text
    assert not {name for name in names if name.startswith(("tests/", "configs/", "kernels/"))}


def test_the_installed_wheel_serves_outside_the_checkout(served: Path) -> None:
    assert json.loads((served / "report.json").read_text())["frames"] == 30
    for package in ("segjax", "segjax_kernels"):
        assert imported(served)[package].is_relative_to(served / "env")


def test_serving_imports_no_training_library(served: Path) -> None:
    libraries = {"tensorflow", "tensorflow_datasets", "grain", "orbax", "array_record"}
    assert "jax" in imported(served)
    assert not libraries & set(imported(served))


def imported(served: Path) -> dict[str, Path]:
    lines = (served / "modules.txt").read_text().splitlines()
    return {name: Path(file) for name, _, file in (line.partition(" ") for line in lines)}


# --- the commands ---------------------------------------------------------------------------


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_each_command_explains_itself_by_examples(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert re.search(rf"^ +segjax {name} ", out, re.MULTILINE)


def test_an_unknown_command_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["srve"]) == 2
    assert "error: 'srve' is no command of segjax" in capsys.readouterr().err


def test_the_version_stands_in_three_places(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["--version"]) == 0
    assert capsys.readouterr().out == f"segjax {segjax.__version__}\n"
    assert PROJECT["version"] == segjax.__version__
    assert f"\n## {segjax.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def exit_code(argv: list[str]) -> object:
    with pytest.raises(SystemExit) as raised:
        cli.main(argv)
    return raised.value.code


# --- make -----------------------------------------------------------------------------------


def test_an_old_python_is_refused_in_one_line(tmp_path: Path) -> None:
    program(tmp_path / "python3.9", 'echo "Python 3.9.18"; exit 1')
    done = make("test", f"VENV={tmp_path}/venv", f"PYTHON={tmp_path}/python3.9")
    assert done.returncode != 0
    assert "is Python 3.9.18; segjax needs Python 3.11 or newer" in done.stdout
    assert not (tmp_path / "venv").exists()


def test_opencv_without_libgl_gives_way_to_the_headless_build(tmp_path: Path) -> None:
    log = tmp_path / "pip.log"
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin" / "pip", f'echo "$@" >> {log}')
    program(
        tmp_path / "bin" / "python",
        'case "$2" in *metadata*) echo 5.0.0.93;; *) echo "ImportError: libGL.so.1: cannot open '
        'shared object file: No such file or directory" >&2; exit 1;; esac',
    )
    (tmp_path / ".made").touch()
    done = make(f"{tmp_path}/.plain", f"VENV={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "opencv-python does not load: libGL.so.1" in done.stdout
    assert "taking opencv-python-headless 5.0.0.93 instead" in done.stdout
    assert log.read_text().splitlines()[1:] == [
        "uninstall --quiet --yes opencv-python opencv-python-headless",
        "install --quiet --no-deps opencv-python-headless==5.0.0.93",
    ]


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # Without the variables of a make that may be running these tests.
    kept = {key: text for key, text in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL")}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=kept, capture_output=True, text=True, check=False
    )


# --- the files ------------------------------------------------------------------------------


def test_every_requirement_is_pinned_once_and_none_by_address() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9.-]+==[0-9a-z.+]+( ; .+)?", pin) for pin in pins), pins
    names = [pin.partition("==")[0] for pin in pins]
    assert len(names) == len(set(names))
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    wanted = {re.split(r"[\[<>=; ]", text)[0] for group in groups for text in group} - {"segjax"}
    assert wanted <= set(names)


def test_no_file_names_a_registry_or_somebodys_folder() -> None:
    hosts = ("py" + "pi.org", "python" + "hosted", "index" + "-url", "registry." + "npmjs")
    folders = ("/ro" + "ot/", "/ho" + "me/", "/Us" + "ers/", "/wo" + "rk/")
    for path in tracked_texts():
        text = path.read_text()
        found = [word for word in (*hosts, *folders) if word in text]
        assert not found, f"{path.relative_to(ROOT)} holds {found}"


def tracked_texts() -> Iterator[Path]:
    parts = ["segjax", "kernels", "configs", "tests", "benchmarks", "docs", ".ci"]
    files = [path for part in parts for path in (ROOT / part).rglob("*") if path.is_file()]
    # Where the checkout is a work tree of git's, its .git is a file.
    files += [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]
    binary = {".jpg", ".png", ".safetensors", ".onnx", ".pyc", ".mp4", ".npz"}
    return (path for path in files if path.suffix not in binary)


@pytest.mark.parametrize("script", sorted(ROOT.glob("*.py")), ids=lambda path: path.name)
def test_root_scripts_are_thin(script: Path) -> None:
    assert len(script.read_text().splitlines()) < 60
    assert own(imports(script)) == {"segjax.cli"}


@pytest.mark.parametrize("config", sorted((ROOT / "configs").rglob("*.py")), ids=lambda p: p.name)
def test_configs_import_only_the_config_module_and_recipes(config: Path) -> None:
    used = imports(config) - set(sys.stdlib_module_names)
    recipe = {f"recipes.{path.stem}" for path in (ROOT / "configs" / "recipes").glob("*.py")}
    assert used == {"segjax.config"} or (used <= recipe and len(used) == 1)


def test_nothing_imports_scripts_configs_tests_or_benchmarks() -> None:
    outer = {"train", "serve", "configs", "tests", "benchmarks"}
    for path in [*(ROOT / "segjax").rglob("*.py"), *(ROOT / "kernels").rglob("*.py")]:
        assert not {name.partition(".")[0] for name in imports(path)} & outer, path


def imports(path: Path) -> set[str]:
    """The modules that a file imports, anywhere: `from segjax.cli import run` → segjax.cli."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}


def own(names: set[str]) -> set[str]:
    return {name for name in names if name.partition(".")[0] in ("segjax", "segjax_kernels")}


def run(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
