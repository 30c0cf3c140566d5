import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax_kernels import guided_coefficients
from segjax_kernels.guided_upsample_blend import coefficients


@pytest.fixture(params=["without_c", "with_c"], autouse=True, scope="module")
def by(request):
    request.getfixturevalue(request.param)


def a_picture():
    """A bright disc on a dark, noisy ground; its mask; and a mask that is soft and off by two."""
    y, x = np.mgrid[:48, :80]
    disc = np.hypot(y - 24, x - 40) < 15
    random = np.random.default_rng(0)
    colours = np.where(disc[..., None], [0.9, 0.6, 0.5], [0.2, 0.3, 0.3])
    small = (colours + random.normal(0, 0.01, (48, 80, 3))).astype(np.float32)
    rough = np.clip((18 - np.hypot(y - 24, x - 42)) / 6, 0, 1).astype(np.float32)
    return disc, small, rough


def test_coefficients_move_the_mask_to_the_pictures_edge():
    disc, small, rough = a_picture()
    slope, offset = guided_coefficients(rough, small)
    assert slope.shape == offset.shape == rough.shape and slope.dtype == offset.dtype == jnp.float32
    alpha = np.clip(
        (slope * (small @ np.array([0.299, 0.587, 0.114], np.float32)) + offset - 0.25) * 2, 0, 1
    )
    before, after = (np.abs(mask - disc).mean() for mask in (rough, alpha))
    assert after < before / 3


def test_coefficients_of_a_flat_picture_or_mask_are_a_constant():
    _, small, rough = a_picture()
    slope, offset = guided_coefficients(np.full_like(rough, 0.7), small)
    np.testing.assert_allclose(slope, 0, atol=1e-4)
    np.testing.assert_allclose(offset, 0.7, atol=1e-4)
    slope, _ = guided_coefficients(rough, np.full_like(small, 0.5))
    np.testing.assert_allclose(slope, 0, atol=1e-4)


def test_coefficients_of_odd_sizes_and_batches(quick_compile):
    _, small, rough = a_picture()
    for height, width in ((1, 1), (5, 2), (31, 47)):
        one = guided_coefficients(rough[:height, :width], small[:height, :width])
        two = guided_coefficients(*(np.stack([x[:height, :width]] * 2) for x in (rough, small)))
        for x, pair in zip(one, two, strict=True):
            assert np.isfinite(x).all()
            np.testing.assert_allclose(pair, np.stack([x, x]), atol=1e-5)


def test_c_is_as_near_to_the_exact_numbers_as_xla(with_c, quick_compile):
    _, small, rough = a_picture()
    by_xla = jax.jit(coefficients._by_xla, static_argnums=(2, 3))
    for height, width, radius in ((48, 80, 2), (47, 79, 1), (13, 2, 3), (1, 1, 2)):
        alpha, picture = rough[:height, :width], small[:height, :width]
        given = (alpha, picture, radius, 1e-4)
        with jax.enable_x64(True):
            wide = [jnp.asarray(x, jnp.float64) for x in (alpha, picture)]
            exact = [np.asarray(x) for x in by_xla(*wide, radius, 1e-4)]
        off = {
            name: np.abs(np.stack(by.run(*given)) - np.stack(exact)).max()
            for name, by in coefficients.IMPLEMENTATIONS.items()
        }
        # What float32 loses of a small variance, either way.
        assert off["c"] <= max(2 * off["xla"], 1e-5)
        assert off["xla"] < 1e-3


def test_coefficients_have_a_derivative(quick_compile):
    _, small, rough = a_picture()
    alpha, picture = jnp.asarray(rough[:6, 30:40]), jnp.asarray(small[:6, 30:40])

    def mean(alpha):
        slope, offset = guided_coefficients(alpha, picture)
        return (slope + offset).mean()

    slope = jax.grad(mean)(alpha)
    way = jax.random.normal(jax.random.key(0), alpha.shape)
    # Both are linear in alpha.
    step = mean(alpha + way) - mean(alpha)
    np.testing.assert_allclose((slope * way).sum(), step, rtol=1e-3, atol=1e-5)


def test_coefficients_errors():
    _, small, rough = a_picture()
    with pytest.raises(ValueError, match=r"got an alpha of uint8\[48, 80\]; it is float32"):
        guided_coefficients(rough.astype(np.uint8), small)
    with pytest.raises(ValueError, match=r"a small picture of float32\[47, 80, 3\] for an alpha"):
        guided_coefficients(rough, small[1:])
    with pytest.raises(ValueError, match=r"got radius=0 and softness=0[.]1; they"):
        guided_coefficients(rough, small, radius=0, softness=0.1)
