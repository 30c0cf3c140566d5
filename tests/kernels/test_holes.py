"""Holes in masks, on shapes drawn by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segjax_kernels import fill_holes


@pytest.fixture(params=["without_c", "with_c"], autouse=True, scope="module")
def by(request: pytest.FixtureRequest) -> None:
    """By XLA, and in C."""
    request.getfixturevalue(request.param)


def by_definition(alpha: np.ndarray, reach: int) -> np.ndarray:
    """The least of eight directions' largest alphas, pixel by pixel."""
    height, width = alpha.shape
    out = np.empty_like(alpha)
    for y, x in np.ndindex(height, width):
        offers = []
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                if down or right:
                    steps = max(1, round(0.8 * reach)) if down and right else reach
                    ray = [(y + down * n, x + right * n) for n in range(steps + 1)]
                    inside = [alpha[p] for p in ray if 0 <= p[0] < height and 0 <= p[1] < width]
                    offers.append(max(inside))
        out[y, x] = min(offers)
    return out


@settings(deadline=None, max_examples=15)
@given(
    hnp.arrays(np.float32, (9, 12), elements=st.floats(0, 1, width=32, allow_subnormal=False)),
    st.sampled_from([1, 2, 3, 7, 10]),
)
def test_it_is_what_it_says(alpha: np.ndarray, reach: int) -> None:
    found = np.asarray(fill_holes(alpha, reach=reach))
    np.testing.assert_array_equal(found, by_definition(alpha, reach))
    assert (found >= alpha).all()


def person() -> np.ndarray:
    alpha = np.zeros((60, 80), np.float32)
    alpha[10:60, 20:60] = 1
    return alpha


def test_a_badge_is_filled_and_the_outline_stays() -> None:
    with_badge = person()
    with_badge[30:38, 36:44] = 0.1
    np.testing.assert_array_equal(fill_holes(with_badge), person())


def test_a_gap_that_is_open_to_a_side_stays() -> None:
    fingers = person()
    fingers[10:24, 30:33] = 0
    np.testing.assert_array_equal(fill_holes(fingers), fingers)


def test_a_wide_hole_stays_for_it_may_be_the_room_behind_an_arm() -> None:
    arm = person()
    arm[20:50, 25:55] = 0
    filled = np.asarray(fill_holes(arm))
    assert filled[35, 40] == 0 and filled[28:42, 33:47].max() == 0


def test_batches_are_filled_one_by_one_and_what_is_not_finite_is_not_hidden() -> None:
    one, other = person(), 1 - person()
    both = np.asarray(fill_holes(np.stack([one, other])))
    np.testing.assert_array_equal(both[0], fill_holes(one))
    np.testing.assert_array_equal(both[1], fill_holes(other))
    one[30, 30] = np.nan
    assert np.isnan(np.asarray(fill_holes(one))[30, 30])


def test_bad_input_is_answered() -> None:
    with pytest.raises(ValueError, match="float32"):
        fill_holes(np.zeros((3, 4), np.uint8))
    with pytest.raises(ValueError, match=r"float32\[5\]"):
        fill_holes(np.zeros(5, np.float32))
    with pytest.raises(ValueError, match="reach of 0"):
        fill_holes(np.zeros((3, 4), np.float32), reach=0)
