"""Who is shown of several: by hand, against OpenCV's components, and in streams."""

import functools

import cv2
import jax
import numpy as np
import pytest
from matting_fakes import PERSON, ROOM, disc, mask_shape, released

from segjax.matting import Effect, Matting
from segjax.matting.people import CELL, GONE, GROWTH, _label, choose, nobody_followed

H, W = 72, 128
BIG, SMALL = 24, 12
NOBODY = np.zeros((H // CELL, W // CELL), np.float32)

CHOOSE = {
    person: jax.jit(functools.partial(choose, person=person)) for person in ("largest", "central")
}


def person(x, radius):
    return disc(H, W, x, radius)


def shares(alpha, *people):
    """How much of each is left."""
    return [float(np.asarray(alpha)[one > 0.99].mean()) for one in people]


def test_labels_are_those_of_the_components():
    label = jax.jit(_label)
    for seed in range(20):
        noise = np.random.default_rng(seed).random((36, 64))
        somebody = cv2.GaussianBlur(noise, (0, 0), 1 + seed / 10) > 0.5
        labels = np.asarray(label(somebody))
        count, expected = cv2.connectedComponents(somebody.astype(np.uint8), connectivity=8)
        assert (labels[~somebody] == -1).all()
        pairs = set(zip(labels[somebody], expected[somebody], strict=True))
        assert len(pairs) == count - 1 == len(set(labels[somebody])) > 1


@pytest.mark.parametrize(("which", "left"), [("largest", [1, 0]), ("central", [0, 1])])
def test_the_largest_and_the_most_central(which, left):
    big, small = person(26, BIG), person(70, SMALL)
    alpha, _ = CHOOSE[which](np.maximum(big, small), NOBODY)
    assert shares(alpha, big, small) == pytest.approx(left, abs=0.01)


@pytest.mark.parametrize("which", ["largest", "central"])
def test_one_person_stays_as_they_are_with_their_soft_edge(which):
    soft = np.asarray(cv2.GaussianBlur(person(80, BIG), (0, 0), 1.0))
    alpha, _ = CHOOSE[which](soft, NOBODY)
    assert np.abs(np.asarray(alpha) - soft).max() < 0.05
    assert (np.asarray(alpha) <= soft).all()


def test_two_who_touch_are_one():
    big, small = person(40, BIG), person(40 + BIG + SMALL - 1, SMALL)
    alpha, _ = CHOOSE["largest"](np.maximum(big, small), NOBODY)
    assert shares(alpha, big, small) == [1, 1]


def followed(frames, which="largest"):
    """The masks of frames, each a tuple of people."""
    sure, alphas = NOBODY, []
    for people in frames:
        alpha, sure = CHOOSE[which](functools.reduce(np.maximum, people), sure)
        alphas.append(np.asarray(alpha))
    return alphas


def test_the_chosen_is_followed_when_somebody_larger_comes():
    me = [person(30 + t, SMALL) for t in range(28)]
    other = person(100, BIG - 2)
    frames = [(one,) for one in me[:10]] + [(one, other) for one in me[10:]]
    for alpha, people in zip(followed(frames), frames, strict=True):
        assert shares(alpha, *people) == ([1, 0] if len(people) == 2 else [1])


def test_who_walks_through_behind_does_not_take_their_place():
    me = person(64, SMALL + 4)
    # One with me for a third of the time, larger than I, and then away again.
    frames = [(me,)] * 30 + [(me, person(x, BIG - 4)) for x in range(-20, 150, 2)]
    for alpha, people in zip(followed(frames), frames, strict=True):
        assert shares(alpha, me) == [1]
        if len(people) == 2 and not (cv2.dilate(me, np.ones((17, 17))) * people[1]).any():
            assert np.nan_to_num(alpha)[people[1] > 0.5].sum() == 0


def test_nobody_else_is_shown_at_once_when_the_chosen_leaves():
    me, other = person(30, BIG), person(100, SMALL)
    alphas = followed([(me, other)] * 40 + [(other,)] * 30)
    shown = [shares(alpha, other)[0] for alpha in alphas]
    gone = shown[40:]
    waited = gone.index(1.0)
    assert not any(shown[:40]) and not any(gone[:waited]) and all(gone[waited:])
    assert 10 <= waited <= 20
    assert (1 * 0.8**waited) <= GONE < 1 * 0.8 ** (waited - 2)


def test_a_glance_binds_to_nobody():
    """Who was seen for one frame only is not waited for."""
    me, other = person(30, BIG), person(100, SMALL)
    assert GROWTH < GONE
    assert shares(followed([(me,), (other,)])[1], other) == [1]


def test_a_mask_that_is_not_finite_stays_so():
    broken = np.full((H, W), np.nan, np.float32)
    alpha, sure = CHOOSE["largest"](broken, NOBODY)
    assert np.isnan(alpha).all() and np.isfinite(sure).all()


@pytest.mark.parametrize("size", [(16, 16), (17, 33), (1, 5)])
def test_awkward_sizes(size):
    state = nobody_followed(*size)
    alpha, sure = CHOOSE["largest"](np.ones(size, np.float32), state.sure)
    assert sure.shape == state.sure.shape
    assert size == (1, 5) or (np.asarray(alpha) == 1).all()


def test_a_stream_shows_one_of_two_and_remembers_which(quick_compile):
    frame = np.broadcast_to(np.array(ROOM, np.uint8), (160, 256, 3)).copy()
    big, small = disc(160, 256, 60, 45)[..., None], disc(160, 256, 200, 25)[..., None]
    both, alone = (
        np.where(x > 0.5, np.array(PERSON, np.uint8), frame) for x in (big + small, small)
    )
    matting = Matting(released(), Effect("color"), person="largest")
    matting.prepare(160, 256)

    def small_is_shown(pixels):
        with jax.no_tracing(True):
            alpha = matting(pixels, None, 0).alpha
        height, width = mask_shape(frame)
        return alpha[height // 2, width * 200 // 256] == 1

    assert small_is_shown(alone)
    assert all(small_is_shown(both) for _ in range(3))
    assert not Matting.another(matting)(both, None, 0).alpha[:, -40:].any()
    matting.reset()
    assert not small_is_shown(both)
