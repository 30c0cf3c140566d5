"""Means of windows, by XLA and in C."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from segjax_kernels import box


@pytest.fixture(params=["without_c", "with_c"], autouse=True, scope="module")
def by(request):
    request.getfixturevalue(request.param)


def test_box_by_hand():
    x = jnp.array([[0.0, 9.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 18.0]])
    # Edges repeat: the 9 stands in two rows of the top windows, the 18 four times in its corner.
    expected = [[2, 2, 2], [1, 3, 5], [0, 4, 8]]
    np.testing.assert_allclose(box(x, 1), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "radius"),
    [((7, 5), 2), ((3, 6, 9), 1), ((4, 1, 1), 3), ((2, 3, 17, 33), 2), ((5, 6), 0)],
)
def test_box_is_the_mean_of_its_window(shape, radius):
    x = np.random.default_rng(0).random(shape)
    padded = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(radius, radius)] * 2, mode="edge")
    windows = sliding_window_view(padded, (2 * radius + 1,) * 2, (-2, -1))
    expected = windows.mean((-2, -1))
    np.testing.assert_allclose(box(jnp.asarray(x, jnp.float32), radius), expected, atol=1e-6)


def test_a_batch_by_vmap_and_what_is_no_number():
    x = np.random.default_rng(1).random((3, 2, 9, 7)).astype(np.float32)
    one_by_one = np.stack([np.asarray(box(jnp.asarray(part), 1)) for part in x])
    np.testing.assert_allclose(jax.vmap(lambda x: box(x, 1))(x), one_by_one, rtol=1e-6)
    x[0, 0, 4, 3] = np.nan
    broken = np.isnan(np.asarray(box(jnp.asarray(x), 1)))
    assert broken[0, 0, 3:6, 2:5].all() and broken.sum() == 9
