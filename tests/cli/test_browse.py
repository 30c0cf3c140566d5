from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segjax import cli
from segjax.data.scene import OUTSIDE
from segjax.data.synthetic import write_folder
from segjax.images import read_image, read_mask, write_image
from segjax.sheets import CAPTION, CELL, IGNORED

CONFIG = """
from segjax.config import Bucket, DataConfig, ModelConfig, SceneAugmentation, TrainConfig

config = TrainConfig(
    name="small",
    model=ModelConfig(encoder="x", decoder="y", classes=2),
    data=DataConfig(root="nowhere", buckets=(Bucket(32, 48, 1.0),), batch_size=4, ignore=(2,),
                    augmentation=SceneAugmentation(smallest=0.5, largest=0.5, exposure=0,
                        white_balance=0, saturation=0, grey=0, blur=0, noise=0, jpeg=0)),
)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of drawn people, with masks and with labels, in an empty home."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "people", train=5, val=2, size=(48, 64))
    for path in (tmp_path / "people" / "masks").iterdir():
        labels = (read_mask(path) > 127).astype(np.uint8)
        labels[:4] = 2
        write_image(tmp_path / "people" / "labels" / path.name, labels)
    (tmp_path / "people" / "classes.txt").write_text("room 0 0 200\nperson 0 200 0\nvoid\n")
    (tmp_path / "config.py").write_text(CONFIG)
    return tmp_path


def run(*arguments: Any) -> object:
    with pytest.raises(SystemExit) as raised:
        cli.run("browse", [str(argument) for argument in arguments], prog="segjax browse")
    return raised.value.code


def near(picture: np.ndarray, colour: np.ndarray) -> float:
    """The share of pixels that are nearly of a colour."""
    return float((np.abs(picture.astype(int) - colour).max(axis=-1) < 12).mean())


def test_a_config_shows_its_batches_and_its_data(home: Path, capsys):
    assert run("--config", "config.py", "--data", "people", "--count", 6) == 0
    said = capsys.readouterr().out.split()
    assert said == [f"out/browse/{name}.png" for name in ("batches", "train", "val")]
    batches, train, val = (read_image(home / path) for path in said)
    # Rows of four pairs, and a legend; there are 5 pictures to train on and 2 to validate on.
    row = CAPTION + CELL
    assert batches.shape[:2] == train.shape[:2] == (2 * row + CAPTION, 8 * CELL)
    assert val.shape[:2] == (row + CAPTION, 4 * CELL)
    legend = train[-CAPTION:]
    for colour in ((0, 0, 200), (0, 200, 0), IGNORED):
        assert (legend == colour).all(axis=-1).sum() > 100
    # At half the scale most of a batch's picture is beyond the edge, which is ignored.
    outside = (np.array(OUTSIDE) + IGNORED) / 2
    first = np.s_[CAPTION:row, CELL : 2 * CELL]
    assert near(batches[first], outside) > 0.3 and near(train[first], outside) < 0.1


def test_a_folder_alone_shows_its_masks(home: Path, capsys):
    assert run("--data", "people", "--part", "val.txt", "--out", "sheets") == 0
    assert capsys.readouterr().out.split() == ["sheets/train.png"]
    sheet = read_image(home / "sheets" / "train.png")
    assert sheet.shape[:2] == (CAPTION + CELL, 4 * CELL)
    left, right = sheet[CAPTION:, :CELL].astype(int), sheet[CAPTION:, CELL : 2 * CELL].astype(int)
    redder = (right - left)[..., 0] - (right - left)[..., 1]
    assert 0.05 < (redder > 30).mean() < 0.9, "the person is, the room is not"


def test_labels_without_a_config_need_their_number(home: Path, capsys):
    assert run("--data", "people", "--classes", 2, "--ignore", 2, "--count", 1) == 0
    assert run("--data", "people", "--classes", 3) == 0
    assert run("--data", "people", "--classes", 4) == 2
    assert "classes.txt names 3 classes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "got neither --config nor --data"),
        (["--data", "people", "--count", "0"], "--count is 0; it must be at least 1"),
        (["--data", "gone"], "gone/train.txt does not exist"),
        (["--config", "config.py"], "nowhere/train.txt does not exist"),
    ],
)
def test_what_cannot_be_drawn_is_named(home: Path, argv, words, capsys):
    assert run(*argv) == 2
    assert words in capsys.readouterr().err
