import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors import safe_open
from safetensors.numpy import save_file

import segjax
from segjax import weights
from segjax.config import ModelConfig, to_dict
from segjax.errors import SegjaxError
from segjax.models import Segmenter

pytestmark = pytest.mark.usefixtures("quick_compile")

CONFIG = ModelConfig(
    encoder="dilated_resnet",
    decoder="skip_aspp",
    encoder_options={"widths": (8, 8, 8), "depths": (0, 0, 0)},
    decoder_options={"widths": (8, 8), "rates": (), "branch": 8},
)
INFO = {"steps": 3, "licence": "for looking at only"}


@pytest.fixture(scope="module")
def model() -> Segmenter:
    """A network with running statistics that are not those it starts with."""
    model = weights.create_model(CONFIG)
    rng = np.random.default_rng(0)
    state = nnx.state(model, nnx.BatchStat)
    for _, value in nnx.to_flat_state(state):
        value.set_value(jnp.asarray(rng.uniform(0.5, 2, value.shape), jnp.float32))
    nnx.update(model, state)
    return model


@pytest.fixture
def path(model: Segmenter, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    weights.save(path, model, CONFIG, INFO)
    return path


def numbers(model: Segmenter) -> dict[tuple[Any, ...], np.ndarray]:
    state = nnx.to_flat_state(nnx.state(model, (nnx.Param, nnx.BatchStat)))
    return {path: np.asarray(value[...]) for path, value in state}


def rewrite(path: Path, change: dict[str, np.ndarray | None], **metadata: str) -> None:
    """Writes the file again with other tensors (None: without it) and other metadata."""
    with safe_open(path, framework="numpy") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        told = {**file.metadata(), **metadata}
    tensors = {**tensors, **change}
    save_file({key: value for key, value in tensors.items() if value is not None}, path, told)


def refused(path: Path | str) -> str:
    with pytest.raises(SegjaxError) as raised:
        weights.load(path)
    assert "\n" not in str(raised.value)
    return str(raised.value)


# --- the round trip -------------------------------------------------------------------------


def test_every_number_comes_back(model: Segmenter, path: Path) -> None:
    released = weights.load(path, trainable=True)
    assert (released.name, released.config, released.info) == (str(path), CONFIG, INFO)
    found, wanted = numbers(released.model), numbers(model)
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        np.testing.assert_array_equal(found[key], value, err_msg=str(key))


def test_loaded_weights_give_the_same_map_without_norms(model: Segmenter, path: Path) -> None:
    x = jnp.asarray(np.random.default_rng(1).uniform(size=(1, 32, 48, 3)), jnp.float32)
    call = nnx.jit(lambda model, x: model(x))
    still = nnx.clone(model)
    still.eval()
    released = segjax.load(str(path)).model
    np.testing.assert_allclose(call(released, x), call(still, x), rtol=1e-4, atol=1e-5)
    assert not [part for _, part in nnx.iter_graph(released) if isinstance(part, nnx.BatchNorm)]


def test_options_that_are_tuples_survive_the_file(tmp_path: Path) -> None:
    rows = ((3, 8, 8, False, False, 2),) * 3
    config = dataclasses.replace(
        CONFIG, encoder="mobilenet_v3_small", encoder_options={"rows": rows}
    )
    path = tmp_path / "rows.safetensors"
    weights.save(path, weights.create_model(config), config)
    assert weights.load(path).config == config


def test_saving_is_all_or_nothing(model: Segmenter, tmp_path: Path) -> None:
    (tmp_path / "taken.safetensors").mkdir()
    with pytest.raises(SegjaxError, match=r"cannot write .*taken.safetensors: Is a directory"):
        weights.save(tmp_path / "taken.safetensors", model, CONFIG)
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken.safetensors"]


# --- installed weights ----------------------------------------------------------------------


def test_the_licence_of_installed_weights_is_named_once(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "assets" / "tiny").mkdir(parents=True)
    shutil.copy(path, tmp_path / "assets" / "tiny")
    monkeypatch.setattr(weights, "ASSETS", tmp_path / "assets")
    assert weights.names() == ["tiny"]
    for _ in range(2):
        assert weights.load("tiny").name == "tiny"
    said = capsys.readouterr()
    where = tmp_path / "assets" / "tiny" / "LICENSE"
    assert said.err == f"weights 'tiny': for looking at only; see {where}\n" and not said.out
    weights.load(path)
    assert not capsys.readouterr().err

    assert "nobody is neither installed weights nor a file; installed are tiny; " in refused(
        "nobody"
    )


def test_all_installed_weights_load() -> None:
    for name in weights.names():
        released = weights.load(name)
        assert released.info["licence"] and released.config.classes >= 1
        assert (weights.ASSETS / name / "LICENSE").is_file()


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.99])
def test_a_truncated_file(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert f"{path} is not a whole safetensors file" in refused(path)


@pytest.mark.parametrize("content", [b"hello", b"\x89PNG\r\n\x1a\n" + bytes(100)])
def test_a_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    assert "is not a whole safetensors file" in refused(path)


def test_weights_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for metadata in (None, {"format": "pt"}):
        save_file({"conv.weight": np.zeros((3, 3), np.float32)}, path, metadata)
        assert "holds weights of another program; segjax reads what" in refused(path)


def test_numbers_that_are_missing_or_too_many(path: Path) -> None:
    rewrite(path, {"decoder.head.bias": None, "head.extra": np.zeros(2, np.float32)})
    assert "1 missing (decoder.head.bias), 1 unexpected (head.extra); give" in refused(path)


def test_numbers_of_another_shape(path: Path) -> None:
    rewrite(path, {"decoder.head.bias": np.zeros(3, np.float32)})
    assert "decoder.head.bias is (3,), it must be (16,); give matching weights" in refused(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none(path: Path, value: float) -> None:
    rewrite(path, {"decoder.head.bias": np.full(16, value, np.float32)})
    assert "holds NaN or Inf in decoder.head.bias" in refused(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"depth": 3}, "has the unknown key 'depth'; known are encoder, decoder, "),
        ({"encoder": "vgg"}, "that this version cannot build: encoder: got 'vgg'; known are "),
        ({"encoder_options": {"deep": 3}}, "unexpected keyword argument 'deep'; update segjax"),
    ],
)
def test_a_network_that_cannot_be_built(path: Path, change: dict[str, Any], words: str) -> None:
    rewrite(path, {}, config=json.dumps({**to_dict(CONFIG), **change}))
    assert words in refused(path)


def test_a_config_of_a_wider_network(path: Path) -> None:
    wider = dataclasses.replace(CONFIG, decoder_options={"widths": (8, 16), "rates": ()})
    rewrite(path, {}, config=json.dumps(to_dict(wider)))
    assert "does not fit its network: " in refused(path)
