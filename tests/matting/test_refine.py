import jax
import numpy as np
import pytest

from segjax.matting.refine import HIGHEST, LOWEST, refine

REFINE = jax.jit(refine)


@pytest.fixture(params=["without_c", "with_c"], autouse=True, scope="module")
def by(request):
    request.getfixturevalue(request.param)


def noise(shape=(3, 30, 45), seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


@pytest.mark.parametrize("value", [0.0, 0.3, 0.5, 0.66, 1.0])
def test_a_constant_mask_survives(value):
    alpha = REFINE(np.full((30, 45), value, np.float32), noise())
    expected = np.clip((value - LOWEST) / (HIGHEST - LOWEST), 0, 1)
    np.testing.assert_allclose(alpha, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("softness", "alphas"),
    [(0, [0, 0, 0.2, 0.8, 1]), (0.5, [0, 0.3, 0.4, 0.6, 1]), (1, [0.02, 0.38, 0.44, 0.56, 0.98])],
)
def test_softness_moves_the_ends_apart(softness, alphas):
    flat = np.full((3, 9, 9), 0.5, np.float32)
    for value, expected in zip((0.1, 0.4, 0.45, 0.55, 0.9), alphas, strict=True):
        soft = REFINE(np.full((9, 9), value, np.float32), flat, np.float32(softness))
        np.testing.assert_allclose(soft, expected, atol=1e-4)


def test_traces_vanish_and_certainty_is_whole():
    assert (np.asarray(REFINE(np.full((30, 45), 0.05, np.float32), noise())) == 0).all()
    assert (np.asarray(REFINE(np.full((30, 45), 0.95, np.float32), noise())) == 1).all()
    assert pytest.approx(1) == LOWEST + HIGHEST, "one half stays where it is"


@pytest.mark.parametrize("shape", [(30, 45), (5, 7), (1, 1)])
def test_the_result_is_a_mask(shape):
    alpha = np.asarray(REFINE(noise(shape, 1), noise((3, *shape), 2)))
    assert alpha.shape == shape and alpha.dtype == np.float32
    assert alpha.min() >= 0 and alpha.max() <= 1


@pytest.mark.parametrize("off", [-2, -1, 1, 2])
def test_an_edge_moves_towards_the_pictures_edge(off):
    _, columns = np.mgrid[:40, :60]
    picture = np.where(columns < 30, 0.7, 0.3) * np.ones((3, 1, 1)) + 0.01 * noise((3, 40, 60))
    mask = 1 / (1 + np.exp((columns - 29.5 - off) / 1.0))
    alpha = np.asarray(REFINE(mask.astype(np.float32), picture.astype(np.float32)))
    before, after = (np.abs(x - (columns < 30))[5:-5].sum(1).mean() for x in (mask, alpha))
    assert after < 0.75 * before


def test_a_flat_picture_moves_no_edge():
    _, columns = np.mgrid[:40, :60]
    mask = (1 / (1 + np.exp(columns - 29.5))).astype(np.float32)
    alpha = np.asarray(REFINE(mask, np.full((3, 40, 60), 0.5, np.float32)))
    assert (alpha[:, 29] > 0.5).all() and (alpha[:, 30] < 0.5).all()
    np.testing.assert_allclose(alpha[:, 29] + alpha[:, 30], 1, atol=1e-3)


def test_what_is_not_finite_stays_visible():
    broken = np.full((30, 45), np.nan, np.float32)
    assert np.isnan(np.asarray(REFINE(broken, noise()))).all()
