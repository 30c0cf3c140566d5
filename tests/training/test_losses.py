import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.training import losses

pytestmark = pytest.mark.usefixtures("quick_compile")

edge_band = jax.jit(losses.edge_band, static_argnums=1)
mask_loss = jax.jit(partial(losses.mask_loss, bce=1.0, dice=1.0, edge=0.5, edge_width=1))


def drawing(*rows: str) -> np.ndarray:
    """float32 [1, H, W]: 1 where a row has an x."""
    return np.array([[[mark == "x" for mark in row] for row in rows]], np.float32)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x.astype(np.float64)))


# --- the band -------------------------------------------------------------------------------


def test_the_band_lies_on_both_sides_of_an_outline() -> None:
    mask = drawing(
        ".......",
        ".......",
        ".......",
        "...xxxx",
        "...xxxx",
        "...xxxx",
        "...xxxx",
    )
    narrow = drawing(
        ".......",
        ".......",
        "..xxxxx",
        "..xxxxx",
        "..xx...",
        "..xx...",
        "..xx...",
    )
    wide = drawing(
        ".......",
        ".xxxxxx",
        ".xxxxxx",
        ".xxxxxx",
        ".xxxxxx",
        ".xxxx..",
        ".xxxx..",
    )
    np.testing.assert_array_equal(edge_band(jnp.asarray(mask), 1), narrow)
    np.testing.assert_array_equal(edge_band(jnp.asarray(mask), 2), wide)


def test_one_pixel_is_an_outline_on_all_sides() -> None:
    mask = drawing(".....", ".....", "..x..", ".....", ".....")
    band = drawing(".....", ".xxx.", ".xxx.", ".xxx.", ".....")
    np.testing.assert_array_equal(edge_band(jnp.asarray(mask), 1), band)
    np.testing.assert_array_equal(edge_band(jnp.asarray(1 - mask), 1), band)


def test_the_outline_of_a_soft_mask_is_where_it_crosses_a_half() -> None:
    mask = jnp.tile(jnp.asarray([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]), (1, 3, 1))
    np.testing.assert_array_equal(edge_band(mask, 1), drawing(*["..xx.."] * 3))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_picture_s_own_border_is_no_outline(value: float) -> None:
    assert not np.any(edge_band(jnp.full((2, 4, 5), value), 2))


# --- the terms ------------------------------------------------------------------------------


def test_the_terms_by_hand() -> None:
    # Two pixels of a picture are person; the logit says 3 to 1 for it where it is and where not.
    mask = jnp.asarray(drawing("xx..", "....", "...."))
    logits = jnp.full((1, 3, 4, 1), math.log(3.0))
    loss, terms = mask_loss(logits, mask)
    right, wrong = -math.log(0.75), -math.log(0.25)
    assert float(terms["bce"]) == pytest.approx((2 * right + 10 * wrong) / 12)
    # Within one pixel of the outline lie the left three pixels of the upper two rows.
    assert float(terms["edge"]) == pytest.approx((2 * right + 4 * wrong) / 6)
    # Twice the overlap over the sum, and 1 on both sides of the fraction against empty pictures.
    overlap, total = 0.75 * 2, 0.75 * 12 + 2
    assert float(terms["dice"]) == pytest.approx(1 - (overlap + 1) / (total / 2 + 1))
    expected = terms["bce"] + terms["dice"] + 0.5 * terms["edge"]
    assert float(loss) == pytest.approx(float(expected))


def test_the_terms_of_soft_masks_against_numpy() -> None:
    rng = np.random.default_rng(0)
    mask = rng.uniform(size=(3, 6, 5)).astype(np.float32)
    logits = rng.normal(0, 3, (3, 6, 5)).astype(np.float32)
    person = sigmoid(logits)
    pixels = -(mask * np.log(person) + (1 - mask) * np.log(1 - person))
    band = np.asarray(edge_band(jnp.asarray(mask), 1))
    assert 0 < band.sum() < band.size
    overlap = (person * mask).sum((1, 2))
    dice = 1 - (overlap + 1) / ((person.sum((1, 2)) + mask.sum((1, 2))) / 2 + 1)
    wanted = {
        "bce": pixels.mean(),
        "dice": dice.mean(),
        "edge": (pixels * band).sum() / band.sum(),
    }
    loss, terms = mask_loss(jnp.asarray(logits[..., None]), jnp.asarray(mask))
    for name, value in wanted.items():
        assert float(terms[name]) == pytest.approx(value, rel=1e-5), name
    weighted = wanted["bce"] + wanted["dice"] + 0.5 * wanted["edge"]
    assert float(loss) == pytest.approx(weighted, rel=1e-5)


def test_a_soft_mask_is_best_answered_by_itself() -> None:
    mask = jnp.full((1, 4, 4), 0.25)

    def cross_entropy(value: float) -> float:
        logits = jnp.full((1, 4, 4, 1), math.log(value / (1 - value)))
        return float(mask_loss(logits, mask)[1]["bce"])

    assert cross_entropy(0.25) < min(cross_entropy(0.2), cross_entropy(0.3))


@pytest.mark.parametrize("person", [0.0, 1.0])
@pytest.mark.parametrize("logit", [-1e4, -20.0, 0.0, 20.0, 1e4])
def test_empty_and_full_masks_give_finite_numbers(person: float, logit: float) -> None:
    mask, logits = jnp.full((2, 4, 4), person), jnp.full((2, 4, 4, 1), logit)
    loss, gradient = jax.value_and_grad(lambda x: mask_loss(x, mask)[0])(logits)
    assert np.isfinite(loss) and np.isfinite(gradient).all()
    if abs(logit) >= 20 and (logit > 0) == (person > 0):
        assert float(loss) == pytest.approx(0, abs=1e-5)
