import jax.numpy as jnp
import numpy as np
import pytest

from segjax.matting.filters import gaussian


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
