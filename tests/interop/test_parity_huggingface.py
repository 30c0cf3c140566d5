"""Ours against Hugging Face's own SegFormer, with the same weights: `make parity`."""

from pathlib import Path
from types import ModuleType
from typing import Any

import golden
import pytest

from segjax.interop import import_weights

pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("quick_compile")]

CASES = (
    golden.Case("mit_b0"),
    golden.Case("mit_b0", "segformer"),
    golden.Case("mit_b2", "segformer"),
)


@pytest.fixture(scope="module")
def huggingface() -> ModuleType:
    import huggingface_originals

    return huggingface_originals


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_maps_are_the_original_s(case: golden.Case, huggingface: Any, tmp_path: Path) -> None:
    model = huggingface.build(case)
    huggingface.load(model, golden.filled(huggingface.shapes(model)))
    path = huggingface.save(model, tmp_path)
    found = import_weights(path, model=case.model, encoder=case.encoder)
    assert found.left_out == ([] if case.model else ["classifier.bias", "classifier.weight"])
    ours = golden.network(case, found)
    for size in ((33, 47), (65, 51)):
        x = golden.picture(size)
        wanted = huggingface.maps(case, model, x)
        differences = [
            golden.difference(*pair)
            for pair in zip(golden.maps(case, ours, x), wanted, strict=True)
        ]
        print(case.name, size, " ".join(f"{one:.1e}" for one in differences))
        assert max(differences) <= golden.TOLERANCE
