"""Ours against torchvision's own networks, with the same weights: `make parity`."""

from pathlib import Path
from typing import Any

import golden
import numpy as np
import pytest

from segjax.errors import SegjaxError
from segjax.interop import from_tensors, import_weights
from segjax.interop.convert import read_tensors
from segjax.models.encoders import ENCODERS

pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("quick_compile")]

CASES = (
    golden.Case("vgg11", options=golden.FLOOR),
    golden.Case("vgg16_bn", options=golden.FLOOR),
    golden.Case("resnet18"),
    golden.Case("resnet50"),
    golden.Case("mobilenet_v2"),
    golden.Case("mobilenet_v3_small"),
    golden.Case("mobilenet_v3_large"),
    golden.Case("efficientnet_b0"),
    golden.Case("efficientnet_b5"),
    golden.Case("resnet50", "fcn_head"),
    golden.Case("resnet101", "fcn_head"),
    golden.Case("resnet50", "deeplabv3"),
    golden.Case("resnet101", "deeplabv3"),
    golden.Case("mobilenet_v3_large", "deeplabv3"),
    golden.Case("mobilenet_v3_large", "lraspp"),
)

CLASSIFIERS = [
    name
    for family in ("vgg", "resnet", "mobilenet_v2", "mobilenet_v3", "efficientnet")
    for name in ENCODERS.families[family]
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_maps_are_the_original_s(case: golden.Case, originals: Any, tmp_path: Path) -> None:
    model = originals.build(case)
    originals.load(model, golden.filled(originals.shapes(model)))
    path = tmp_path / "weights.pth"
    originals.torch.save(model.state_dict(), path)
    ours = golden.network(case, import_weights(path, model=case.model, encoder=case.encoder))
    for size in ((33, 47), (65, 51)):
        x = golden.picture(size)
        found, wanted = golden.maps(case, ours, x), originals.maps(case, model, x)
        differences = [golden.difference(*pair) for pair in zip(found, wanted, strict=True)]
        print(case.name, size, " ".join(f"{one:.1e}" for one in differences))
        assert max(differences) <= golden.TOLERANCE


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_classifier_has_the_names_and_shapes_of_ours(name: str, originals: Any) -> None:
    with originals.torch.device("meta"):
        shapes = originals.shapes(originals.build(golden.Case(name)))
    tensors = {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}
    found = from_tensors(tensors, encoder=name)
    # The last layers alone are left out.
    last = ("classifier.", "fc.", "features.18." if name == "mobilenet_v2" else "features.8.")
    assert found.left_out and all(one.startswith(last) for one in found.left_out)


@pytest.mark.parametrize("archive", [True, False], ids=["archive", "sequence"])
def test_what_torch_saves_comes_back(archive: bool, originals: Any, tmp_path: Path) -> None:
    torch = originals.torch
    whole = torch.arange(24.0).reshape(4, 6)
    kept = {
        "view": whole[1:, ::2],
        "transposed": whole.T,
        "parameter": torch.nn.Parameter(whole[0]),
        **{
            str(kind): torch.ones(3).to(kind)
            for kind in (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool)
        },
    }
    path = tmp_path / "kept.pth"
    torch.save({"model": kept, "epoch": 3}, path, _use_new_zipfile_serialization=archive)
    found = read_tensors(path)
    assert found.keys() == kept.keys()
    for name, tensor in kept.items():
        assert str(found[name].dtype) == str(tensor.dtype).removeprefix("torch.")
        np.testing.assert_array_equal(
            found[name].astype(np.float64), tensor.detach().to(torch.float64).numpy()
        )


def test_a_pickled_model_is_refused(originals: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    originals.torch.save(originals.build(golden.Case("mobilenet_v3_small")), path)
    with pytest.raises(SegjaxError, match=r"wants torchvision\.models\.mobilenetv3\.MobileNetV3"):
        read_tensors(path)
