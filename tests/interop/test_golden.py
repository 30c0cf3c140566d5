"""What the originals gave with weights that both sides can draw; see `golden.py`."""

import golden
import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("quick_compile")


@pytest.mark.parametrize("case", golden.GOLDEN, ids=lambda case: case.name)
def test_imported_weights_give_the_original_s_maps(case: golden.Case) -> None:
    shapes, wanted = golden.restore(case)
    model = golden.imported(case, golden.filled(shapes))
    found = golden.maps(case, model, golden.picture(golden.SIZE))
    assert [one.shape for one in found] == [shape for shape, _ in wanted]
    for one, (_, samples) in zip(found, wanted, strict=True):
        assert np.abs(golden.sampled(one) - samples).max() <= golden.TOLERANCE * samples[-1]
        assert samples[:-2].std() > 0.01 * samples[-1]  # numbers that would show a mistake
