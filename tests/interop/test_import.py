"""Foreign weights become ours, or it is said what is wrong with them."""

from pathlib import Path

import golden
import numpy as np
import pytest
from pickles import Named, state_dict, write_archive
from safetensors.numpy import save_file

from segjax import cli, interop, weights
from segjax.config import ModelConfig
from segjax.errors import SegjaxError
from segjax.interop import from_tensors, import_weights
from segjax.interop.convert import read_tensors
from segjax.models import shapes_of

pytestmark = pytest.mark.usefixtures("quick_compile")

SMALL = golden.Case("mobilenet_v3_small")
LAST = ["classifier.0.bias", "classifier.0.weight", "classifier.3.bias", "classifier.3.weight"]


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    """torchvision's MobileNetV3-Small, of random numbers."""
    return golden.filled(golden.restore(SMALL)[0])


@pytest.fixture
def path(tensors: dict[str, np.ndarray], tmp_path: Path) -> Path:
    path = tmp_path / "mobilenet.pth"
    write_archive(path, state_dict(tensors), tensors)
    return path


def zeros(case: golden.Case) -> dict[str, np.ndarray]:
    """The names and shapes of an original, without memory for the numbers."""
    shapes = golden.restore(case)[0]
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


def run(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as left:
        cli.main(["import", *arguments])
    return left.value.code


# --- the command ------------------------------------------------------------------------------


def test_an_encoder_is_imported_and_starts_a_network(
    path: Path, tensors: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    out = path.with_suffix(".safetensors")
    assert run(str(path), "--encoder", SMALL.encoder, "--out", str(out)) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith(f"numbers are in {out}") and len(said) == 2
    assert said[1] == f"left out, having no place in it: {', '.join(LAST)}"

    model = shapes_of(lambda: weights.create_model(ModelConfig(SMALL.encoder, "lraspp", classes=2)))
    weights.load_encoder(model, out)
    found = model.encoder.layers[1].spatial
    np.testing.assert_array_equal(
        found.kernel[...].transpose(3, 2, 0, 1), tensors["features.1.block.0.0.weight"]
    )
    np.testing.assert_array_equal(found.norm.var[...], tensors["features.1.block.0.1.running_var"])
    with pytest.raises(SegjaxError, match="holds the encoder mobilenet_v3_small alone, which is"):
        weights.load(out)


def test_an_encoder_fits_its_like_alone(path: Path, tensors: dict[str, np.ndarray]) -> None:
    found = from_tensors(tensors, encoder=SMALL.encoder)
    weights.write(path, found.arrays, found.config)
    other = shapes_of(
        lambda: weights.create_model(ModelConfig("mobilenet_v3_large", "lraspp", classes=2))
    )
    with pytest.raises(SegjaxError, match=r"does not fit its network: \d+ missing \(encoder\."):
        weights.load_encoder(other, path)


def test_the_command_prints_what_is_wrong(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(path), "--encoder", "resnet18", "--out", "x.safetensors") == 2
    assert capsys.readouterr().err.startswith(f"error: {path} is not of resnet18: ")


# --- whole models -----------------------------------------------------------------------------


def test_a_model_is_imported_and_loaded(tmp_path: Path) -> None:
    case = golden.Case("mobilenet_v3_large", "lraspp")
    shapes, ((shape, samples),) = golden.restore(case)
    theirs, ours = tmp_path / "theirs.safetensors", tmp_path / "ours.safetensors"
    save_file(golden.filled(shapes), theirs)
    assert run(str(theirs), "--model", case.model, "--out", str(ours)) == 0
    released = weights.load(ours)
    assert released.config.classes == golden.CLASSES
    assert released.info == {"source": "theirs.safetensors"}
    (found,) = golden.maps(case, released.model, golden.picture(golden.SIZE))
    assert found.shape == shape
    assert np.abs(golden.sampled(found) - samples).max() <= golden.TOLERANCE * samples[-1]


def test_a_model_tells_its_classes_and_its_second_head() -> None:
    tensors = zeros(golden.Case("resnet50", "fcn_head"))
    found = from_tensors(tensors, model="fcn_head", encoder="resnet50")
    assert found.config == ModelConfig(
        "resnet50",
        "fcn_head",
        classes=golden.CLASSES,
        auxiliary="fcn_auxiliary",
        encoder_options={"output_stride": 8, "multi_grid": ()},
    )
    assert not found.left_out
    without = {name: one for name, one in tensors.items() if not name.startswith("aux_")}
    assert from_tensors(without, model="fcn_head", encoder="resnet50").config.auxiliary == ""


def test_a_second_head_that_has_no_place_is_left_out() -> None:
    case = golden.Case("mobilenet_v3_large", "deeplabv3")
    found = from_tensors(zeros(case), model=case.model, encoder=case.encoder)
    assert found.left_out and all(name.startswith("aux_classifier.") for name in found.left_out)
    assert found.config.decoder_options == {"rates": (12, 24, 36)}


def test_an_encoder_out_of_a_whole_model() -> None:
    case = golden.Case("mobilenet_v3_large", "lraspp")
    found = from_tensors(zeros(case), encoder=case.encoder)
    assert found.config == ModelConfig(case.encoder, "")
    assert all(name.startswith("classifier.") for name in found.left_out)


# --- what is refused --------------------------------------------------------------------------


def refused(tensors: dict[str, np.ndarray], **names: str) -> str:
    with pytest.raises(SegjaxError) as raised:
        from_tensors(tensors, source="a.pth", **(names or {"encoder": SMALL.encoder}))
    return str(raised.value)


def test_missing_and_unexpected_names_are_listed(tensors: dict[str, np.ndarray]) -> None:
    kernel = tensors["features.0.0.weight"]
    changed = {**tensors, "stem.weight": kernel, "stem.bias": kernel}
    del changed["features.0.0.weight"]
    assert refused(changed) == (
        "a.pth is not of mobilenet_v3_small: 1 missing (features.0.0.weight), 2 unexpected "
        "(stem.bias, stem.weight); give the --model and the --encoder that it was trained as"
    )


def test_shapes_and_numbers_that_do_not_fit_are_listed(tensors: dict[str, np.ndarray]) -> None:
    changed = {
        **tensors,
        "features.0.0.weight": np.zeros((16, 4, 3, 3), np.float32),
        "features.0.1.weight": np.full(16, np.nan, np.float32),
    }
    assert refused(changed) == (
        "a.pth does not fit mobilenet_v3_small: features.0.0.weight is (16, 4, 3, 3), not "
        "(16, 3, 3, 3); features.0.1.weight holds NaN or Inf; give the --model and the --encoder "
        "that it was trained as"
    )


def test_networks_that_nobody_publishes_weights_of() -> None:
    assert refused({}, model="unet") == (
        f"weights of unet cannot be imported; those of {', '.join(interop.MODELS)} can; or give an "
        "--encoder alone"
    )
    assert "weights of hybrid cannot be imported; known encoders are " in refused(
        {}, encoder="hybrid"
    )
    assert "weights of lraspp on vgg16 cannot be imported; known encoders are mobil" in refused(
        {}, model="lraspp", encoder="vgg16"
    )
    with pytest.raises(SegjaxError, match="neither --model nor --encoder says what"):
        import_weights("nowhere.pth")


# --- files ------------------------------------------------------------------------------------


def test_what_training_scripts_wrap_around(tmp_path: Path) -> None:
    arrays = {"module.weight": np.ones(3, np.float32), "module.bias": np.zeros(3, np.float32)}
    path = tmp_path / "run.pth"
    for value in (
        state_dict(arrays),
        {"state_dict": state_dict(arrays), "epoch": 3},
        {"model": state_dict(arrays), "optimizer": {"state": {0: 1}}},
    ):
        write_archive(path, value, arrays)
        assert read_tensors(path).keys() == {"weight", "bias"}
    save_file(arrays, path.with_suffix(".safetensors"))
    assert read_tensors(path.with_suffix(".safetensors")).keys() == arrays.keys()


def test_files_without_tensors(tmp_path: Path) -> None:
    path = tmp_path / "run.pth"
    for value in ({"epoch": 3}, [1, 2], Named("torch", "FloatStorage")):
        write_archive(path, value, {})
        with pytest.raises(SegjaxError, match="holds no dictionary of tensors; save one"):
            read_tensors(path)
    with pytest.raises(SegjaxError, match="is not a file"):
        read_tensors(tmp_path / "nothing.pth")
    path = tmp_path / "run.safetensors"
    path.write_bytes(b"short")
    with pytest.raises(SegjaxError, match="is not a whole safetensors file"):
        read_tensors(path)
