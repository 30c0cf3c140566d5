"""The commands and files of docs/training.md fit together, on networks that train in a second."""

import contextlib
import io
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache
from training_page import Step, read_steps

from segjax import cli

TINY = """ModelConfig(
        "dilated_resnet", "skip_aspp", classes=CLASSES,
        encoder_options={"widths": (8, 8, 8), "depths": (0, 0, 0)},
        decoder_options={"widths": (8, 8), "rates": (), "branch": 8},
    )"""
SMALLER = {
    'segjax.load("portrait").config': TINY.replace("CLASSES", "1"),
    '    init="portrait",\n': "",
    "import Bucket, DataConfig, OptimizerConfig": "import Bucket, DataConfig, ModelConfig",
    "    optimizer=OptimizerConfig(learning_rate=5e-4, warmup_steps=20, ema_decay=0.98),\n": "",
    'ModelConfig("mobilenet_v3_small", "lraspp", classes=2)': TINY.replace("CLASSES", "2"),
    "steps=160": "steps=2",
    "every=40": "every=2",
    "batch_size=8": "batch_size=2",
    "Bucket(144, 256, 0.5), Bucket(160, 224, 0.5)": "Bucket(48, 64, 1.0),",
    "Bucket(144, 192, 1.0)": "Bucket(48, 64, 1.0)",
    "--report out/before.json": "--report out/before.json --model runs/people/people.safetensors",
    "train=32, val=8": "train=4, val=2, size=(48, 64)",
}
"""What makes it fast, and nothing else: sizes, counts and networks."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder, which is also the home."""
    folder = tmp_path_factory.mktemp("stranger")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.chdir(folder)
        yield folder
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()


def smaller(text: str) -> str:
    for what, by in SMALLER.items():
        text = text.replace(what, by)
    return text


def commands(steps: list[Step]) -> list[str]:
    """One a line, as the shell would get them."""
    return [line for step in steps if not step.file for line in step.text.splitlines()]


def run(command: str) -> None:
    """Runs `segjax …`, `python -c …` or `python FILE` in this process."""
    program, *arguments = shlex.split(command)
    match program, arguments:
        case "python", ["-c", code]:
            exec(code, {})
        case "python", [file]:
            runpy.run_path(file)
        case "segjax", _:
            with pytest.raises(SystemExit) as raised:
                cli.main(arguments)
            assert raised.value.code == 0, command
        case _:
            raise AssertionError(f"the page runs something else: {command}")


@pytest.mark.usefixtures("quick_compile")
@pytest.mark.parametrize("number", range(len(read_steps())))
def test_each_step_of_the_page_works_after_the_ones_before(number: int, folder: Path):
    step = read_steps()[number]
    text = smaller(step.text)
    if step.file:
        (folder / step.file).write_text(text)
        compile(text, step.file, "exec")
        return
    with contextlib.redirect_stdout(io.StringIO()):
        for command in text.splitlines():
            run(command)


def test_the_page_ends_with_a_model_that_serves(folder: Path):
    ran = "\n".join(commands(read_steps()))
    for wanted in ("browse --config", "train --config", "evaluate --data", "serve --model"):
        assert f"segjax {wanted}" in ran
    assert len(list((folder / "out" / "people").glob("*.png"))) == 6
    assert (folder / "out" / "labels").is_dir() and (folder / "out" / "after.json").is_file()


def test_what_makes_the_page_fast_is_still_in_it():
    page = "\n".join(step.text for step in read_steps())
    assert all(what in page for what in SMALLER), "a replacement replaces nothing"
