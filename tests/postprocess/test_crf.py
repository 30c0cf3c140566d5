"""The dense CRF against a direct computation over all pairs of pixels."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from segjax.postprocess import DenseCRF, dense_crf, lattice


def scene(height, width, labels=3, seed=0):
    """A picture of flat coloured areas with noise, and an unsure network that knows them roughly.

    Returns: probabilities float32 [H, W, labels], image uint8 [H, W, 3], true labels [H, W].
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    truth = ((x > width * 0.4).astype(int) + (y > height * 0.5 + 0.2 * x)).clip(0, labels - 1)
    colours = np.array([[200, 60, 50], [60, 180, 80], [50, 80, 200]])[:labels]
    image = np.clip(colours[truth] + rng.normal(0, 6, (height, width, 3)), 0, 255)
    logits = 1.5 * np.eye(labels)[truth] + rng.normal(0, 1, (height, width, labels))
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return probabilities.astype(np.float32), image.astype(np.uint8), truth


def by_all_pairs(probabilities, image, crf):
    """The definition, in float64, with the whole matrices."""
    height, width, labels = probabilities.shape
    place = np.argwhere(np.ones((height, width))).astype(float)
    colour = image.reshape(-1, 3).astype(float)

    def squares(x):
        return ((x[:, None] - x[None]) ** 2).sum(-1)

    near = np.exp(-squares(place) / 2 / crf.near**2)
    both = np.exp(-squares(place) / 2 / crf.far**2 - squares(colour) / 2 / crf.colour**2)
    total = 0
    for weight, kernel in ((crf.smoothness, near), (crf.appearance, both)):
        norm = kernel.sum(1) ** -0.5
        total = total + weight * norm[:, None] * kernel * norm
    unary = np.log(np.clip(probabilities, 1e-6, 1)).reshape(-1, labels).astype(float)
    marginals = np.exp(unary)
    for _ in range(crf.iterations):
        score = unary + total @ marginals
        marginals = np.exp(score - score.max(1, keepdims=True))
        marginals /= marginals.sum(1, keepdims=True)
    return marginals.reshape(probabilities.shape)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (19, 31), (24, 40)])
def test_the_exact_form_is_the_definition(size):
    probabilities, image, _ = scene(*size)
    crf = DenseCRF(smoothness=3, appearance=10, far=12, colour=10, iterations=4)
    found = dense_crf(probabilities, image, crf, method="exact")
    np.testing.assert_allclose(found, by_all_pairs(probabilities, image, crf), atol=1e-4)


@pytest.mark.parametrize("colour", [8.0, 20.0])
def test_the_fast_form_is_close_to_the_exact_one(colour):
    probabilities, image, _ = scene(60, 80)
    crf = DenseCRF(smoothness=3, appearance=10, far=20, colour=colour)
    exact = np.asarray(dense_crf(probabilities, image, crf, method="exact"))
    fast = np.asarray(dense_crf(probabilities, image, crf))
    assert np.abs(fast - exact).mean() <= 0.02
    assert (fast.argmax(-1) == exact.argmax(-1)).mean() >= 0.99


def test_labels_follow_the_picture():
    probabilities, image, truth = scene(60, 80)
    before = (probabilities.argmax(-1) == truth).mean()
    crf = DenseCRF(smoothness=3, appearance=10, colour=10)  # so poor a network needs a strong one
    after = (np.asarray(dense_crf(probabilities, image, crf)).argmax(-1) == truth).mean()
    assert before < 0.8 and after > 0.97


def test_without_weights_nothing_changes():
    probabilities, image, _ = scene(8, 9)
    found = dense_crf(probabilities, image, DenseCRF(smoothness=0, appearance=0))
    np.testing.assert_allclose(found, probabilities, atol=1e-5)


def compiled():
    functions: list[Any] = [lattice._place, lattice.filter_by]
    return [function._cache_size() for function in functions]


def test_pictures_of_one_size_compile_once():
    for seed in range(2):
        probabilities, image, _ = scene(24, 32, seed=seed)
        dense_crf(probabilities, image)
    before = compiled()
    dense_crf(*scene(24, 32, seed=0)[:2])
    assert compiled() == before


# --- the lattice


def test_barycentric_weights_rebuild_each_point():
    features = jnp.asarray(np.random.default_rng(0).normal(0, 3, (200, 5)), jnp.float32)
    weights, vertices, keys, count = lattice._place(features)
    assert (weights > -1e-4).all() and vertices.max() + 1 == count
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-4)
    corners = np.asarray(keys)[np.asarray(vertices)]
    rebuilt = (np.asarray(weights)[..., None] * corners).sum(1)
    np.testing.assert_allclose(rebuilt, lattice._elevate(features)[:, :5], atol=1e-3)


def test_neighbours_lie_one_step_away_and_answer_each_other():
    features = jnp.asarray(np.random.default_rng(1).normal(0, 1, (300, 2)), jnp.float32)
    built = lattice.build(features)
    keys = np.asarray(lattice._place(features)[2])
    for direction, (before, after) in enumerate(np.asarray(built.neighbours)):
        step = np.full(2, -1)
        if direction < 2:
            step[direction] = 2
        there = np.flatnonzero(before < before.size)
        assert there.size
        np.testing.assert_array_equal(
            keys[before[there]] - keys[there], np.tile(step, (len(there), 1))
        )
        np.testing.assert_array_equal(after[before[there]], there)


def test_one_dimension_blurs_like_a_gaussian():
    """Of points along a line, up to the lattice's own error."""
    x = np.linspace(-8, 8, 400)[:, None].astype(np.float32)
    values = (np.abs(x) < 2).astype(np.float32)
    built = lattice.build(jnp.asarray(x))
    both = np.asarray(lattice.filter_by(built, jnp.concatenate([values, np.ones_like(x)], 1)))
    kernel = np.exp(-0.5 * (x - x.T) ** 2)
    np.testing.assert_allclose(
        both[:, 0] / both[:, 1], (kernel @ values / kernel.sum(1)[:, None])[:, 0], atol=0.06
    )


# --- what is refused


def test_bad_input_is_answered():
    probabilities, image, _ = scene(4, 5)
    for wrong, message in (
        ((probabilities[..., :1], image), "one label"),
        ((probabilities[:3], image), r"\[3, 5, 3\] for a picture"),
        ((probabilities, image.astype(np.float32)), "uint8"),
    ):
        with pytest.raises(ValueError, match=message):
            dense_crf(*wrong)
    with pytest.raises(ValueError, match="known are fast, exact"):
        dense_crf(probabilities, image, method="slow")  # pyright: ignore
    with pytest.raises(ValueError, match="colour: got 0; it is above 0"):
        DenseCRF(colour=0)
    with pytest.raises(ValueError, match="iterations: got 0"):
        DenseCRF(iterations=0)
    with pytest.raises(ValueError, match="wider Gaussians"):
        dense_crf(probabilities, image, DenseCRF(colour=0.01))
