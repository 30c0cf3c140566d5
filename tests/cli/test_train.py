import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from segjax import cli, weights
from segjax.cli.train import Options, _convolve, load_config, parse
from segjax.data.synthetic import write_folder
from segjax.errors import SegjaxError
from segjax.training.log import read
from segjax_kernels.cpu import api
from segjax_kernels.cpu.training import convolve

PORTRAIT = Path(__file__).parents[2] / "configs" / "portrait.py"

SMALL = """
from segjax.config import Bucket, DataConfig, ModelConfig, TrainConfig

config = TrainConfig(
    name="small",
    model=ModelConfig(
        encoder="dilated_resnet",
        decoder="skip_aspp",
        encoder_options={"widths": (8, 8, 8), "depths": (0, 0, 0)},
        decoder_options={"widths": (8, 8), "rates": (), "branch": 8},
    ),
    data=DataConfig(
        root=ROOT, favoured="webcam.txt", favour=2.0, buckets=(Bucket(32, 48, 1.0),), batch_size=4
    ),
    steps=4,
    log_every=2,
)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home, where caches go."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config file of a small network over drawn people."""
    write_folder(tmp_path / "people", train=6, val=2, size=(48, 64))
    path = tmp_path / "small.py"
    path.write_text(SMALL.replace("ROOT", repr(str(tmp_path / "people"))))
    return path


def run(*arguments: Any) -> object:
    with pytest.raises(SystemExit) as raised:
        cli.run("train", [str(argument) for argument in arguments], prog="train.py")
    return raised.value.code


# --- a run ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick_compile")
def test_a_folder_of_people_becomes_weights(
    home: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--config", config, "--data.threads", 1) == 0
    said = capsys.readouterr().out
    assert "6 pictures, 4 steps of 4: each seen 2.7 times; everything goes to runs/small" in said
    assert "the best weights: runs/small/small.safetensors" in said
    assert [line["step"] for line in read("runs/small/log.jsonl")] == [2, 4, 4]
    info = weights.load("runs/small/small.safetensors").info
    assert (info["step"], info["pictures_seen"], info["data"]) == (4, 16, "people")

    # What was trained with one config does not go on with another.
    assert run("--config", config, "--seed", 3) == 2
    assert "error: the run in runs/small began with seed 0, now it is 3" in capsys.readouterr().err


def test_masks_of_zeros_and_ones_are_found_before_training(
    home: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = next((home / "people" / "masks").iterdir())
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert mask is not None
    cv2.imwrite(str(path), (mask > 127).astype("uint8"))
    if not mask.any():  # nobody is in this picture
        cv2.imwrite(str(path), mask + 1)
    assert run("--config", config) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"masks/{path.name} holds only the values 0 and 1; a person is 255" in error
    assert not (home / "runs").exists()


# --- options --------------------------------------------------------------------------------


def test_every_field_is_an_option() -> None:
    base = parse(["--config", str(PORTRAIT)], "train.py")
    assert base.workdir == Path("runs/portrait") and base.config.name == "portrait"
    argv = "--steps 20 --data.root /x --optimizer.learning-rate 1e-4 --data.augmentation.flip 0.1"
    found = parse([f"--config={PORTRAIT}", "--workdir", "w", *argv.split()], "train.py")
    assert isinstance(found, Options) and found.workdir == Path("w")
    config = found.config
    assert (config.steps, config.data.root, config.data.augmentation.flip) == (20, "/x", 0.1)
    assert config.optimizer.learning_rate == 1e-4
    assert config.model == base.config.model and config.data.buckets == base.config.data.buckets


def test_help_shows_examples_and_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    assert "segjax train --config" in capsys.readouterr().out.partition("Examples:")[2]
    assert run("--config", PORTRAIT, "--help") == 0
    out = capsys.readouterr().out
    for flag in ("--steps", "--optimizer.learning-rate", "--data.batch-size", "--loss.edge-width"):
        assert flag in out
    assert "segjax train --config" in out


def test_a_typo_fails_and_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--config", PORTRAIT, "--stepz", 3) == 2
    assert "--stepz" in capsys.readouterr().err
    assert run("--config", PORTRAIT, "--steps", "many") == 2
    assert "many" in capsys.readouterr().err
    assert run("--config", PORTRAIT, "--steps", 0) == 2
    assert "error: steps is 0; it must be at least 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--steps", "3"], "got no --config; it names a Python file"),
        (["--config"], "--config has no value; give one behind it"),
        (["--config", "gone.py"], "gone.py does not exist; --config names a Python file"),
        (["--config", "text.txt"], "text.txt is not a Python file; --config names one"),
        (["--config", "broken.py"], "broken.py fails: NameError: name 'nothing' is not defined"),
        (
            ["--config", "typo.py"],
            r"typo.py fails: TypeError: .*'stepz' \(did you mean 'steps'\?\); mend it",
        ),
        (
            ["--config", "deep.py"],
            r"deep.py fails: TypeError: .*'wheight_decay' \(did you mean 'weight_decay'\?\)",
        ),
        (["--processes", "2"], "got --processes or --process alone; .* and --distributed where"),
        (["--process", "one"], "--process is 'one'; it is a whole number from 0"),
        (["--config", "empty.py"], "empty.py has no `config = TrainConfig"),
    ],
)
def test_a_config_file_that_is_none(
    argv: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {
        "text.txt": "",
        "broken.py": "nothing",
        "typo.py": "from segjax.config import TrainConfig\nTrainConfig(stepz=3)",
        "deep.py": "from segjax import config\nconfig.OptimizerConfig(wheight_decay=3)",
        "empty.py": "config = 3",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SegjaxError, match=words):
        parse(argv, "train.py")


@pytest.mark.usefixtures("with_c")
@pytest.mark.parametrize(
    ("compute", "devices", "multiplies", "by_c"),
    [
        ("bfloat16", 1, True, True),
        ("float32", 1, True, False),
        ("bfloat16", 8, True, False),  # which XLA divides the batch among
        ("bfloat16", 1, False, False),
    ],
)
def test_c_convolves_in_bfloat16_on_one_processor_that_multiplies_it(
    compute: str, devices: int, multiplies: bool, by_c: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_trains", multiplies)
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    config = dataclasses.replace(load_config(PORTRAIT), compute=compute)
    said: list[str] = []
    assert _convolve(config, said.append) is (convolve if by_c else None)
    # Who asked for bfloat16 in order to be faster is told that it is slower.
    assert len(said) == (compute == "bfloat16" and not by_c)
    cause = "for one device alone" if devices > 1 else "not built"
    assert all(text.startswith("warning: bfloat16 is slower") and cause in text for text in said)
