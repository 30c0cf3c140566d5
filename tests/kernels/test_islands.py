"""Islands in masks, on shapes drawn by hand."""

import cv2
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segjax_kernels import drop_islands
from segjax_kernels.islands import CELL, SOLID, STEPS, TOUCHED


@pytest.fixture(params=["without_c", "with_c"], autouse=True, scope="module")
def by(request: pytest.FixtureRequest) -> None:
    """By XLA, and in C."""
    request.getfixturevalue(request.param)


def by_definition(alpha: np.ndarray) -> np.ndarray:
    """By way of a cell's neighbours, one after the other."""
    height, width = alpha.shape
    cells = np.zeros((-(-height // CELL), -(-width // CELL)))
    for y, x in np.ndindex(height, width):
        cells[y // CELL, x // CELL] += float(alpha[y, x]) / CELL**2

    def around(y: int, x: int) -> list[tuple[int, int]]:
        near = [(y + down, x + right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
        return [p for p in near if 0 <= p[0] < cells.shape[0] and 0 <= p[1] < cells.shape[1]]

    touched = {p for p in np.ndindex(*cells.shape) if cells[p] > TOUCHED}
    kept = {p for p in touched if sum(cells[q] for q in around(*p)) / 9 > SOLID}
    if not kept:
        return alpha
    for _ in range(STEPS):
        kept = {q for p in kept for q in around(*p)} & touched
    kept = {q for p in kept for q in around(*p)}
    out = np.zeros_like(alpha)
    for y, x in np.ndindex(height, width):
        if (y // CELL, x // CELL) in kept:
            out[y, x] = alpha[y, x]
    return out


@settings(deadline=None, max_examples=20)
@given(
    st.sampled_from([(40, 61), (9, 12), (64, 32), (3, 5)]),
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
)
def test_it_is_what_it_says(size: tuple[int, int], seed: int, power: int) -> None:
    coarse = np.random.default_rng(seed).random((5, 7), np.float32) ** power
    alpha = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC).clip(0, 1)
    alpha = np.rint(alpha * 256) / 256  # sums are exact, in whatever order
    np.testing.assert_array_equal(drop_islands(alpha), by_definition(alpha))


def person() -> np.ndarray:
    alpha = np.zeros((88, 152), np.float32)
    alpha[30:, 60:100] = 1
    return alpha


@pytest.mark.parametrize("corner", [(10, 10), (80, 144), (0, 70), (44, 0)])
def test_a_speck_goes_wherever_it_is(corner: tuple[int, int]) -> None:
    speck = person()
    speck[corner[0] : corner[0] + 8, corner[1] : corner[1] + 8] = 0.9
    np.testing.assert_array_equal(drop_islands(speck), person())


def test_a_hand_beside_somebody_and_a_second_person_stay() -> None:
    together = person()
    together[40:56, 10:26] = 1
    together[20:, 120:140] = 1
    np.testing.assert_array_equal(drop_islands(together), together)


def test_fingers_hair_and_soft_edges_stay() -> None:
    fine = person()
    fine[12:30, 70:72] = 1  # a finger
    fine[24:30, 84] = 0.4  # a strand
    fine[28:30, 60:100] = np.maximum(fine[28:30, 60:100], 0.3)
    fine[30:, 58:60] = fine[30:, 100:102] = 0.05
    np.testing.assert_array_equal(drop_islands(fine), fine)


def test_a_long_cable_goes_where_it_is_far() -> None:
    cable = person()
    cable[60:63, 100:152] = 1
    found = np.asarray(drop_islands(cable))
    assert found[61, 100 + 4 * STEPS - 4] == 1 and found[61, 100 + 4 * STEPS + 8 :].max() == 0


def test_where_nobody_is_near_all_stays() -> None:
    far = np.zeros((88, 152), np.float32)
    far[40:52, 70:75] = 1
    np.testing.assert_array_equal(drop_islands(far), far)
    np.testing.assert_array_equal(drop_islands(np.zeros_like(far)), np.zeros_like(far))


def test_masks_of_a_batch_have_nothing_to_do_with_each_other() -> None:
    speck = np.zeros((88, 152), np.float32)
    speck[10:16, 10:16] = 1
    both = np.stack([speck, np.maximum(person(), speck)])
    wanted = np.stack([speck, person()])
    np.testing.assert_array_equal(drop_islands(both), wanted)
    np.testing.assert_array_equal(jax.jit(jax.vmap(drop_islands))(both), wanted)


def test_what_is_not_a_number_is_not_hidden() -> None:
    broken = person()
    broken[5, 5] = np.nan
    assert np.isnan(np.asarray(drop_islands(broken))[5, 5])
    assert np.isnan(np.asarray(drop_islands(np.full_like(broken, np.nan)))).all()


def test_bad_input_is_answered() -> None:
    with pytest.raises(ValueError, match="float32"):
        drop_islands(np.zeros((3, 4), np.uint8))
    with pytest.raises(ValueError, match=r"float32\[5\]"):
        drop_islands(np.zeros(5, np.float32))
