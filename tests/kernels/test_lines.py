"""The guided filter's lines, by XLA and in C."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from segjax_kernels import fit_lines


@pytest.fixture(params=["without_c", "with_c"], autouse=True, scope="module")
def by(request):
    request.getfixturevalue(request.param)


def windows(x, radius):
    padded = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(radius, radius)] * 2, mode="edge")
    return sliding_window_view(padded, (2 * radius + 1,) * 2, (-2, -1))


def reference(alpha, brightness, radius, softness):
    """He, Sun and Tang's equations 5, 6 and 8, in float64."""
    alphas, brights = (windows(x.astype(np.float64), radius) for x in (alpha, brightness))
    axes = (-2, -1)
    covariance = (alphas * brights).mean(axes) - alphas.mean(axes) * brights.mean(axes)
    slope = covariance / (brights.var(axes) + softness)
    offset = alphas.mean(axes) - slope * brights.mean(axes)
    return windows(slope, radius).mean(axes), windows(offset, radius).mean(axes)


def test_lines_by_hand():
    # One window of the three pixels, thrice: bright 1, 2, 0 and alpha 1, 1, 0 have the variance
    # 2/3 and the covariance 1/3. At the ends the windows hold 1, 1, 2 and 2, 0, 0.
    brightness, alpha = jnp.array([[1.0, 2.0, 0.0]]), jnp.array([[1.0, 1.0, 0.0]])
    slope, offset = fit_lines(alpha, brightness, radius=1, softness=1 / 3)
    slopes = [0, (1 / 3) / (2 / 3 + 1 / 3), (4 / 9) / (8 / 9 + 1 / 3)]
    offsets = [1, 2 / 3 - slopes[1], 1 / 3 - slopes[2] * 2 / 3]
    for found, (left, middle, right) in ((slope, slopes), (offset, offsets)):
        wanted = [(2 * left + middle) / 3, (left + middle + right) / 3, (middle + 2 * right) / 3]
        np.testing.assert_allclose(found, [wanted], rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "radius"),
    [((7, 5), 2), ((3, 6, 9), 1), ((1, 1), 3), ((2, 3, 17, 33), 2), ((5, 6), 0)],
)
def test_lines_are_those_of_the_paper(shape, radius):
    rng = np.random.default_rng(0)
    alpha, brightness = rng.random((2, *shape)).astype(np.float32)
    found = fit_lines(jnp.asarray(alpha), jnp.asarray(brightness), radius=radius, softness=1e-2)
    for ours, wanted in zip(found, reference(alpha, brightness, radius, 1e-2), strict=True):
        np.testing.assert_allclose(ours, wanted, atol=1e-5)


def test_a_batch_by_vmap_and_what_is_no_number():
    rng = np.random.default_rng(1)
    alpha, brightness = rng.random((2, 3, 9, 7)).astype(np.float32)

    def fit(alpha, brightness):
        return fit_lines(alpha, brightness, radius=1, softness=1e-3)

    both = jax.vmap(fit)(alpha, brightness)
    for at in range(3):
        for one, batch in zip(fit(alpha[at], brightness[at]), both, strict=True):
            np.testing.assert_allclose(batch[at], one, atol=1e-6)
    alpha[0, 4, 3] = np.nan
    for lines in fit(alpha[0], brightness[0]):
        broken = np.isnan(np.asarray(lines))
        assert broken[2:7, 1:6].all() and broken.sum() == 25


def test_half_precision_goes_another_way_than_c():
    rng = np.random.default_rng(2)
    alpha, brightness = jnp.asarray(rng.random((2, 9, 7)), jnp.float32)
    halves = (alpha.astype(jnp.bfloat16), brightness.astype(jnp.bfloat16))
    exact = fit_lines(*(x.astype(jnp.float32) for x in halves), radius=1, softness=0.1)
    for ours, wanted in zip(fit_lines(*halves, radius=1, softness=0.1), exact, strict=True):
        assert ours.dtype == jnp.bfloat16
        np.testing.assert_allclose(ours.astype(jnp.float32), wanted, atol=0.1)
