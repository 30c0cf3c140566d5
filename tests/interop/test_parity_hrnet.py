"""Ours against timm's HRNet, with the same weights: `make parity`."""

from types import ModuleType
from typing import Any

import golden
import pytest

from segjax.interop import from_tensors

pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("quick_compile")]


@pytest.fixture(scope="module")
def timm() -> ModuleType:
    import hrnet_originals

    return hrnet_originals


def test_the_logits_are_the_original_s(timm: Any) -> None:
    case = golden.Case("hrnet_w18", "hrnet")
    model = timm.build(case)
    arrays = golden.filled(timm.shapes(model))
    timm.load(model, arrays)
    ours = golden.imported(case, arrays)
    for size in ((64, 96), (160, 32)):  # odd maps are beyond timm: it doubles them
        x = golden.picture(size)
        (found,), (wanted,) = golden.maps(case, ours, x), timm.maps(case, model, x)
        print(case.name, size, f"{golden.difference(found, wanted):.1e}")
        assert golden.difference(found, wanted) <= golden.TOLERANCE


@pytest.mark.parametrize("name", ["hrnet_w18", "hrnet_w32", "hrnet_w48"])
@pytest.mark.parametrize("wrapped", [False, True], ids=["alone", "beside its loss"])
def test_every_classifier_has_the_names_and_shapes_of_ours(
    name: str, wrapped: bool, timm: Any
) -> None:
    arrays = golden.filled(timm.shapes(timm.build(golden.Case(name))))
    if wrapped:
        arrays = {f"model.{key}": value for key, value in arrays.items()}
        arrays["loss.criterion.weight"] = arrays["model.bn1.weight"]
    found = from_tensors(arrays, encoder=name)
    last = ("incre_modules.", "downsamp_modules.", "final_layer.", "classifier.")
    assert found.left_out and all(one.startswith(last) for one in found.left_out)
