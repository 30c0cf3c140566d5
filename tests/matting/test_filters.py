import jax.numpy as jnp
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from segjax.matting.filters import box, gaussian


def test_box_by_hand():
    x = jnp.array([[0.0, 9.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 18.0]])
    # Edges repeat: the 9 stands in two rows of the top windows, the 18 four times in its corner.
    expected = [[2, 2, 2], [1, 3, 5], [0, 4, 8]]
    np.testing.assert_allclose(box(x, 1), expected, rtol=1e-6)


@pytest.mark.parametrize(("shape", "radius"), [((7, 5), 2), ((3, 6, 9), 1), ((4, 1, 1), 3)])
def test_box_is_the_mean_of_its_window(shape, radius):
    x = np.random.default_rng(0).random(shape)
    padded = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(radius, radius)] * 2, mode="edge")
    windows = sliding_window_view(padded, (2 * radius + 1,) * 2, (-2, -1))
    expected = windows.mean((-2, -1))
    np.testing.assert_allclose(box(jnp.asarray(x, jnp.float32), radius), expected, atol=1e-6)


def test_gaussian_of_a_point():
    x = np.zeros((2, 41, 61), np.float32)
    x[:, 20, 30] = 1, 2
    blurred = np.asarray(gaussian(jnp.asarray(x), 3.0), np.float64)
    assert blurred[0].sum() == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(blurred[1], 2 * blurred[0], rtol=1e-5)
    # One standard deviation away, in either direction.
    for place in ((23, 30), (17, 30), (20, 33), (20, 27)):
        assert blurred[(0, *place)] / blurred[0, 20, 30] == pytest.approx(np.exp(-0.5), rel=1e-4)


def test_gaussian_loses_at_the_border_what_lies_outside():
    (flat,) = np.asarray(gaussian(jnp.ones((1, 40, 40)), 2.0))
    assert flat[20, 20] == pytest.approx(1, abs=1e-5)
    assert flat[0, 20] == pytest.approx(0.6, abs=0.05)
    assert flat.max() <= 1 + 1e-5
