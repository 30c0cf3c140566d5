"""The mean of several runs' weights."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tiny_model import TINY

from segjax import weights
from segjax.cli import main


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.safetensors and 5.safetensors, all of whose numbers are 1 and 5; wide.safetensors."""
    folder = tmp_path_factory.mktemp("runs")
    arrays = weights.variables(weights.create_model(TINY))
    for value, info in ((1, {"run": "one", "step": 7}), (5, {"run": "five", "licence": "No."})):
        filled = {
            name: np.full(part[...].shape, value, np.float32) for name, part in arrays.items()
        }
        # A run may go on at another size, from another seed.
        config = dataclasses.replace(TINY, area=1024 * value, seed=value)
        weights.write(folder / f"{value}.safetensors", filled, config, info)
    options = {**TINY.decoder_options, "branch": 16}
    wide = dataclasses.replace(TINY, decoder_options=options)
    weights.save(folder / "wide.safetensors", weights.create_model(wide), wide)
    (folder / "torn.safetensors").write_bytes((folder / "1.safetensors").read_bytes()[:900])
    return folder


def average(runs: Path, out: Path, models: Sequence[str], *more: str) -> int | str | None:
    named = [part for model in models for part in ("--model", str(runs / model))]
    with pytest.raises(SystemExit) as ended:
        main(["average", *named, "--out", str(out), *more])
    return ended.value.code


@pytest.mark.parametrize(
    ("shares", "mean"), [((), 3), (("--share", "1", "--share", "3"), 4), (("--share", "2"), None)]
)
def test_every_number_is_the_mean(
    runs: Path, tmp_path: Path, shares: tuple[str, ...], mean: float | None
) -> None:
    out = tmp_path / "mean.safetensors"
    code = average(runs, out, ["1.safetensors", "5.safetensors"], *shares)
    if mean is None:
        assert code == 2 and not out.exists()
        return
    assert code == 0
    released = weights.load(out, trainable=True)
    for part in weights.variables(released.model).values():
        np.testing.assert_array_equal(part[...], mean)
    assert released.config == weights.load(runs / "1.safetensors").config
    assert [part["run"] for part in released.info["averaged"]] == ["one", "five"]
    assert sum(part["share"] for part in released.info["averaged"]) == pytest.approx(1)
    assert released.info["licence"] == "No.", "what binds one of them binds their mean"


@pytest.mark.parametrize(
    ("models", "more", "words"),
    [
        (["1.safetensors"], [], "got 1 --model; a mean is of two or more"),
        (["1.safetensors", "wide.safetensors"], [], "of another network than"),
        (["1.safetensors", "nowhere.safetensors"], [], "nowhere.safetensors"),
        (["1.safetensors", "torn.safetensors"], [], "torn.safetensors"),
        (["1.safetensors"] * 2, ["--share", "0", "--share", "0"], "not all 0"),
        (["1.safetensors"] * 2, ["--share", "nan", "--share", "1"], "at least 0"),
        (["1.safetensors"] * 2, ["--share", "-1", "--share", "2"], "at least 0"),
    ],
)
def test_what_cannot_be_averaged_is_said(
    runs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    models: list[str],
    more: list[str],
    words: str,
) -> None:
    assert average(runs, tmp_path / "mean.safetensors", models, *more) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
