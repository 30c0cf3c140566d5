import json
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import loss_peers
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from segjax.config import LossConfig
from segjax.errors import SegjaxError
from segjax.training.losses import label_loss, lovasz, outlines
from segjax.training.losses import mask_loss as any_mask_loss

pytestmark = pytest.mark.usefixtures("quick_compile")

IGNORE = 255
ALL = {
    "ce": 1.0,
    "dice": 1.0,
    "edge": 1.0,
    "edge_width": 1,
    "ohem": 1.0,
    "focal": 1.0,
    "lovasz": 1.0,
    "boundary": 1.0,
    "boundary_reach": 4,
}
ALL_OF_MASKS = {("bce" if name == "ce" else name): value for name, value in ALL.items()}

Loss = Callable[..., tuple[jax.Array, dict[str, jax.Array]]]

labels_loss: Loss = jax.jit(partial(label_loss, **ALL))
labels_gradient = jax.jit(jax.grad(lambda *arrays: label_loss(*arrays, **ALL)[0]))
mask_loss: Loss = jax.jit(partial(any_mask_loss, bce=1.0, dice=1.0, edge=0.5, edge_width=1))
all_of_mask: Loss = jax.jit(partial(any_mask_loss, **ALL_OF_MASKS))
edge_band = jax.jit(outlines.edge_band, static_argnums=2)
lovasz_softmax, lovasz_hinge = jax.jit(lovasz.lovasz_softmax), jax.jit(lovasz.lovasz_hinge)


def mask_band(mask: Any, width: int) -> jax.Array:
    return edge_band(mask > 0.5, np.ones(mask.shape, bool), width)


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
    np.testing.assert_array_equal(mask_band(mask, 1), narrow)
    np.testing.assert_array_equal(mask_band(mask, 2), wide)


def test_one_pixel_is_an_outline_on_all_sides() -> None:
    mask = drawing(".....", ".....", "..x..", ".....", ".....")
    band = drawing(".....", ".xxx.", ".xxx.", ".xxx.", ".....")
    np.testing.assert_array_equal(mask_band(mask, 1), band)
    np.testing.assert_array_equal(mask_band(1 - mask, 1), band)


def test_the_outline_of_a_soft_mask_is_where_it_crosses_a_half() -> None:
    mask = jnp.tile(jnp.asarray([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]), (1, 3, 1))
    np.testing.assert_array_equal(mask_band(mask, 1), drawing(*["..xx.."] * 3))


@pytest.mark.parametrize("label", [0, 9])
def test_the_outlines_of_labels_leave_out_what_is_ignored(label: int) -> None:
    drawn = np.array([[[*map(int, row)] for row in ("111011", "111022", "333022")]])
    band = edge_band(np.where(drawn > 0, drawn, label), drawn > 0, 1)
    np.testing.assert_array_equal(band, drawing("....xx", "xxx.xx", "xxx..."))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_picture_s_own_border_is_no_outline(value: float) -> None:
    assert not np.any(mask_band(np.full((2, 4, 5), value), 2))


# --- the terms of a mask ---------------------------------------------------------------------


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
    band = np.asarray(mask_band(mask, 1))
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
    loss, gradient = jax.value_and_grad(lambda x: all_of_mask(x, mask)[0])(logits)
    assert np.isfinite(loss) and np.isfinite(gradient).all()
    if abs(logit) >= 20 and (logit > 0) == (person > 0):
        assert float(loss) == pytest.approx(0, abs=1e-5)


# --- the terms of labels, and both beside other libraries -----------------------------------


NAMES = ("ce", "dice", "edge", "ohem", "focal", "lovasz", "boundary")


def batch(seed: int = 0, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Logits float32 [2, 7, 6, C], and labels of which about a quarter is ignored."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=(2, 7, 6))
    labels = np.where(rng.uniform(size=labels.shape) < 0.25, IGNORE, labels).astype(np.uint8)
    return rng.normal(0, 2, (*labels.shape, classes)).astype(np.float32), labels


def terms(loss: Loss, *arrays: Any) -> dict[str, float]:
    return {name: float(value) for name, value in loss(*arrays)[1].items()}


def perfect(labels: np.ndarray, classes: int) -> np.ndarray:
    """Logits that are sure and right, and random where the label is ignored."""
    noise = np.random.default_rng(1).normal(size=(*labels.shape, classes))
    right = 200.0 * np.eye(classes)[np.where(labels == IGNORE, 0, labels)]
    return np.where((labels == IGNORE)[..., None], noise, right).astype(np.float32)


def of_peers(name: str, arrays: dict[str, Any], logits: jax.Array) -> jax.Array:
    """Our loss by the name that it has among the peers."""
    kind, _, term = name.rpartition(" ")
    if kind == "mask":
        only: dict[str, Any] = {"bce": 0.0, term: 1.0}
        person = jnp.asarray(arrays["labels"] == 1, jnp.float32)
        return any_mask_loss(logits[..., :1], person, **only)[0]
    only = {"ce": 0.0, term: 1.0}
    weights = jnp.asarray(arrays["weights"]) if kind == "weighted" else None
    return label_loss(logits, arrays["labels"], class_weights=weights, **only)[0]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-6)], ids=["float32", "float64"]
)
def test_other_libraries_give_the_same(dtype: Any, tolerance: float) -> None:
    arrays = loss_peers.drawn()
    peers = json.loads(loss_peers.FILE.read_text())
    with jax.enable_x64(dtype == np.float64):
        logits = jnp.asarray(arrays["logits"], dtype)

        @jax.jit
        def ours(logits: jax.Array) -> Any:
            return {
                name: jax.value_and_grad(lambda x, name=name: of_peers(name, arrays, x))(logits)
                for name in peers
            }

        found = jax.tree.map(np.asarray, ours(logits))
    for name, (loss, gradient) in peers.items():
        assert found[name][0].dtype == dtype
        assert float(found[name][0]) == pytest.approx(loss, rel=tolerance), name
        scale = np.abs(gradient).max()
        np.testing.assert_allclose(found[name][1][0, 0, :4] / scale, gradient / scale, 0, tolerance)


@pytest.mark.peers
def test_the_peers_still_say_what_is_kept_of_them(needs: Callable[..., Any]) -> None:
    needs("kornia")
    kept = json.loads(loss_peers.FILE.read_text())
    for name, (loss, gradient) in loss_peers.measured().items():
        assert loss == pytest.approx(kept[name][0])
        np.testing.assert_allclose(gradient, kept[name][1], rtol=1e-9, atol=1e-12)


def test_one_class_is_two_of_which_one_has_no_logit() -> None:
    scores, labels = batch(classes=2)
    scores, person = scores[..., :1], (labels == 1).astype(np.float32)
    one = terms(all_of_mask, scores, person)
    two = terms(labels_loss, np.concatenate([0 * scores, scores], axis=-1), person.astype(np.uint8))
    for ours, theirs in (("bce", "ce"), *((n, n) for n in ("edge", "ohem", "focal", "boundary"))):
        assert one[ours] == pytest.approx(two[theirs], rel=1e-5), ours


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_the_order_of_pixels_means_nothing(seed: int) -> None:
    logits, labels = batch(seed)
    order = np.random.default_rng(seed).permutation(labels.size)
    shuffled = (
        logits.reshape(-1, 4)[order].reshape(logits.shape),
        labels.ravel()[order].reshape(labels.shape),
    )
    before, after = terms(labels_loss, logits, labels), terms(labels_loss, *shuffled)
    for name in ("ce", "dice", "ohem", "focal", "lovasz"):
        assert after[name] == pytest.approx(before[name], rel=1e-5), name


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_what_is_ignored_changes_nothing(seed: int) -> None:
    logits, labels = batch(seed)
    gone = labels == IGNORE
    noise = np.random.default_rng(seed).normal(0, 50, logits.shape)
    other = np.where(gone[..., None], noise, logits).astype(np.float32)
    assert terms(labels_loss, other, labels) == terms(labels_loss, logits, labels)
    gradient = np.asarray(labels_gradient(logits, labels))
    assert np.isfinite(gradient).all() and not gradient[gone].any()
    assert np.abs(gradient).sum(-1)[~gone].all()


def test_an_ignored_frame_is_as_no_frame() -> None:
    logits, labels = batch()
    around = ((0, 0), (3, 1), (2, 4))
    framed = (
        np.pad(logits, (*around, (0, 0)), constant_values=7),
        np.pad(labels, around, constant_values=IGNORE),
    )
    assert terms(labels_loss, *framed) == pytest.approx(terms(labels_loss, logits, labels), 1e-5)


def test_a_batch_of_nothing_costs_nothing() -> None:
    logits, labels = batch()
    labels = np.full_like(labels, IGNORE)
    assert set(terms(labels_loss, logits, labels).values()) == {0.0}
    assert not np.asarray(labels_gradient(logits, labels)).any()


def test_a_perfect_prediction_costs_nothing() -> None:
    _, labels = batch()
    logits = perfect(labels, 4)
    assert terms(labels_loss, logits, labels) == pytest.approx(dict.fromkeys(NAMES, 0.0), abs=1e-6)
    assert np.isfinite(labels_gradient(logits, labels)).all()


def test_half_precision_is_computed_in_float32() -> None:
    logits, labels = batch()
    half, mask = jnp.asarray(logits, jnp.bfloat16), (labels == 1).astype(np.float32)
    for loss, scores, truth in (
        (jax.jit(partial(label_loss, dice=1.0)), half, labels),
        (jax.jit(partial(any_mask_loss, dice=1.0)), half[..., :1], mask),
    ):
        assert loss(scores, truth)[0].dtype == jnp.float32
        assert terms(loss, scores, truth) == terms(loss, scores.astype(jnp.float32), truth)


def test_a_label_outside_of_the_classes_is_not_passed_over() -> None:
    logits, labels = batch()
    labels[0, 0, 0] = 4
    assert np.isnan(labels_loss(logits, labels)[0])


def test_a_class_that_is_absent_does_not_count() -> None:
    logits, labels = batch(classes=3)
    loss: Loss = jax.jit(partial(label_loss, dice=1.0, lovasz=1.0))
    more = np.concatenate([logits, np.full((*labels.shape, 1), -200, np.float32)], axis=-1)
    assert terms(loss, more, labels) == pytest.approx(terms(loss, logits, labels), rel=1e-5)


def test_a_class_without_weight_is_as_ignored() -> None:
    logits, labels = batch()
    weights = jnp.asarray([1.0, 0.0, 1.0, 1.0])
    loss: Loss = jax.jit(partial(label_loss, focal=1.0))
    found = loss(logits, labels, class_weights=weights)[1]
    wanted = loss(logits, np.where(labels == 1, IGNORE, labels), class_weights=weights**0)[1]
    for name in ("ce", "focal"):
        assert float(found[name]) == pytest.approx(float(wanted[name]), rel=1e-5)


def test_the_hardest_pixels_are_those_below_the_threshold_or_a_sixteenth() -> None:
    logits, labels = batch(3)
    kept = labels != IGNORE
    right = np.take_along_axis(logits[kept], labels[kept][:, None], 1)[:, 0]
    losses = np.sort(np.log(np.exp(logits[kept]).sum(-1)) - right)[::-1]
    least = math.ceil(kept.sum() / 16)

    loss: Loss = jax.jit(partial(label_loss, ce=0.0, ohem=1.0))

    for threshold, hard in ((0.7, (losses > -math.log(0.7)).sum()), (1e-6, least)):
        assert least <= hard < kept.sum()
        assert float(loss(logits, labels, ohem_threshold=threshold)[0]) == pytest.approx(
            losses[:hard].mean(), rel=1e-5
        )


def test_without_focus_the_focal_loss_is_the_cross_entropy() -> None:
    logits, labels = batch()
    found = terms(jax.jit(partial(label_loss, focal=1.0, focal_gamma=0.0)), logits, labels)
    assert found["focal"] == pytest.approx(found["ce"])


def test_the_focal_loss_has_a_slope_where_all_is_right() -> None:
    _, labels = batch()
    loss = partial(label_loss, ce=0.0, focal=1.0, focal_gamma=0.5)
    gradient = jax.jit(jax.grad(lambda *arrays: loss(*arrays)[0]))
    for logits in (perfect(labels, 4), -perfect(labels, 4)):
        assert np.isfinite(gradient(logits, labels)).all()


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_of_hard_predictions_the_lovasz_losses_are_the_jaccard_loss(seed: int) -> None:
    _, labels = batch(seed)
    found = np.random.default_rng(seed).integers(4, size=labels.shape).astype(np.uint8)
    valid = labels != IGNORE
    ious = [
        ((found == one) & (labels == one)).sum()
        / (((found == one) & valid) | (labels == one)).sum()
        for one in np.unique(labels[valid])
    ]
    loss = lovasz_softmax(np.eye(4, dtype=np.float32)[found], labels, valid)
    assert float(loss) == pytest.approx(1 - np.mean(ious), rel=1e-5)

    person, alpha = labels == 1, found == 1
    ious = [(a & p).sum() / (a | p).sum() for a, p in zip(alpha, person, strict=True)]
    loss = lovasz_hinge(np.where(alpha, 1.0, -1.0).astype(np.float32), person)
    assert float(loss) == pytest.approx(2 * (1 - np.mean(ious)), rel=1e-5)


def test_many_pixels_leave_the_lovasz_gradient_its_digits() -> None:
    rng = np.random.default_rng(0)
    person = rng.uniform(size=(1, 200, 200)) < 0.3
    # No two errors are the same, in either precision.
    scores = (4 * rng.permutation(person.size).reshape(person.shape) + 1) / 2**16 - 1
    gradient = jax.jit(jax.grad(lovasz.lovasz_hinge))
    single = np.asarray(gradient(jnp.asarray(scores, jnp.float32), person))
    with jax.enable_x64(True):
        double = np.asarray(gradient(jnp.asarray(scores, jnp.float64), person))
    np.testing.assert_allclose(single, double, rtol=1e-5)


def test_distances_are_those_of_scipy() -> None:
    rng = np.random.default_rng(2)
    corners = rng.integers(4, size=(2, 5, 4)).astype(np.uint8)
    labels = corners.repeat(5, axis=1).repeat(5, axis=2)
    labels[rng.uniform(size=labels.shape) < 0.1] = IGNORE
    labels[1][labels[1] == 3] = 0  # a picture lacks a class
    there = labels[..., None] == np.arange(4)
    reach = 6
    found = jax.jit(outlines.signed_distances, static_argnums=1)(there, reach)
    for picture, valid, distances in zip(there, labels != IGNORE, found, strict=True):
        for one in range(4):
            inside = picture[..., one]
            outer: Any = distance_transform_edt(~inside) if inside.any() else reach
            inner: Any = distance_transform_edt(~(valid & ~inside))
            wanted = np.where(inside, 1 - np.minimum(inner, reach), np.minimum(outer, reach))
            np.testing.assert_allclose(distances[..., one], wanted, rtol=1e-6)


def test_the_boundary_loss_by_hand() -> None:
    # Of four columns the left two are class 0; all is said to be half of each.
    labels = np.array([[[0, 0, 1, 1]]], np.uint8)
    loss: Loss = jax.jit(partial(label_loss, ce=0.0, boundary=1.0, boundary_reach=8))
    _, found = loss(jnp.zeros((1, 1, 4, 2)), labels)
    # Half of each pixel goes from 1 within the outline to 2 beyond, or from 0 to 1.
    assert float(found["boundary"]) == pytest.approx((3 + 1 + 1 + 3) / 2 / 8 / 4)


def test_terms_without_weight_are_left_out() -> None:
    logits, labels = batch()
    default = LossConfig()
    for classes, loss, truth, names in (
        (1, any_mask_loss, (labels == 1).astype(np.float32), {"bce", "dice", "edge"}),
        (4, label_loss, labels, {"ce", "dice", "edge"}),
    ):
        arrays = (logits[..., :classes], truth)
        total, found = jax.jit(partial(loss, **default.keywords(classes)))(*arrays)
        assert set(found) == names
        parts = sum(getattr(default, name) * float(value) for name, value in found.items())
        assert float(total) == pytest.approx(parts)
        assert not jax.eval_shape(partial(loss, **dict.fromkeys(names, 0.0)), *arrays)[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"class_weights": (1.0,), "median_frequency": True}, "got both loss.class_weights and lo"),
        ({"ohem_threshold": 0.0}, "loss.ohem_threshold is 0.0; it is a probability; give one abov"),
        ({"boundary_reach": 0}, "loss.boundary_reach is 0; it must be at least 1 pixel; give a la"),
    ],
)
def test_a_mistake_in_the_config_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SegjaxError, match=words):
        LossConfig(**change)
