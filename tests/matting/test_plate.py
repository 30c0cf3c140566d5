"""What a picture of the empty room does to a mask, and what it must not."""

import hypothesis.extra.numpy as arrays
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from matting_fakes import ROOM, disc, released, scene

from segjax.matting import Effect, Matting
from segjax.matting.plate import lower_by_plate

LOWER = jax.jit(lower_by_plate)
H, W = 48, 64
PERSON = disc(H, W, 20, 12)
GHOST = disc(H, W, 50, 8)
"""Of the room, that the network takes for half a person."""

MASK = np.maximum(PERSON, 0.6 * GHOST).astype(np.float32)


def room(seed=0):
    """Smooth shades, as a room has them."""
    shades = np.random.default_rng(seed).random((6, 8, 3))
    return 0.2 + 0.5 * np.asarray(jax.image.resize(shades, (H, W, 3), "linear"))


def seen(behind, seed=1, noise=0.006):
    """A frame: somebody green before a room, and a camera's noise at the mask's size."""
    frame = PERSON[..., None] * (0.1, 0.9, 0.2) + (1 - PERSON[..., None]) * behind
    frame = frame + np.random.default_rng(seed).normal(0, noise, frame.shape)
    return frame.clip(0, 1).astype(np.float32)


def lowered(frame, plate, alpha=MASK):
    return np.asarray(LOWER(alpha, frame, plate.astype(np.float32)))


@pytest.mark.parametrize("gain", [(1, 1, 1), (0.5, 0.5, 0.5), (1.3, 1.2, 1.25), (0.9, 1.0, 1.1)])
def test_what_looks_like_the_empty_room_is_room_in_any_exposure(gain):
    alpha = lowered(seen(room() * gain), room())
    assert alpha[GHOST > 0.5].mean() < 0.05 and alpha[GHOST > 0.5].max() < 0.2
    np.testing.assert_allclose(alpha[PERSON > 0.5], MASK[PERSON > 0.5], atol=0.02)


def test_a_shadow_and_something_moved_do_not_change_the_exposure():
    changed = room()
    changed[30:, 34:] *= 0.7
    changed[:10, :10] = 0.9
    alpha = lowered(seen(changed), room())
    clear = (GHOST > 0.5) & (np.arange(H)[:, None] < 28)
    assert alpha[clear].max() < 0.05


@pytest.mark.parametrize("plate", [room(5), np.zeros((H, W, 3)), np.ones((H, W, 3))])
def test_a_plate_of_another_room_takes_nothing_of_the_person(plate):
    alpha = lowered(seen(room()), plate)
    assert (alpha <= MASK).all()
    np.testing.assert_allclose(alpha[PERSON == 1], 1, atol=1e-6)


def test_what_the_network_is_sure_of_stays_though_it_looks_like_the_room():
    """Somebody in the wall's colour, or a plate with somebody in it."""
    frame = seen(room())
    np.testing.assert_array_equal(lowered(frame, frame)[PERSON == 1], 1)


def test_somebody_before_everything_is_left_alone():
    everywhere = np.full((H, W), 0.8, np.float32)
    frame = np.full((H, W, 3), 0.9, np.float32)
    np.testing.assert_allclose(lowered(frame, room(), everywhere), everywhere)


def floats(*shape):
    return arrays.arrays(np.float32, shape, elements={"min_value": 0, "max_value": 1})


@settings(max_examples=60, deadline=None)
@given(floats(6, 9), floats(6, 9, 3), floats(6, 9, 3))
def test_no_alpha_rises_whatever_the_plate(alpha, frame, plate):
    lower = np.asarray(LOWER(alpha, frame, plate))
    assert (lower >= 0).all() and (lower <= alpha).all()


def test_a_mask_that_is_not_finite_stays_so():
    assert np.isnan(lowered(seen(room()), room(), MASK * np.nan)).all()


@pytest.mark.parametrize("size", [(160, 256), (80, 128)], ids=str)
def test_a_stream_takes_it_of_any_size(size, quick_compile):
    frame = scene(160, 256, x=0.3)
    # Red on the wall, less than the person's, and on the plate too.
    frame[:, 200:230] = (150, 60, 140)
    plate = np.broadcast_to(np.array(ROOM, np.uint8), (*size, 3)).copy()
    plate[:, 200 * size[1] // 256 : 230 * size[1] // 256] = (150, 60, 140)
    without, matting = (
        Matting(released(), Effect("color"), plate=given) for given in (None, plate)
    )
    matting.prepare(160, 256)
    ghost = without(frame, None, 0).alpha[:, -40:-36]
    with jax.no_tracing(True):
        alpha = matting(frame, None, 0).alpha
    assert (ghost == 1).any() and not alpha[:, -40:-36].any()
    assert alpha[:, :150].max() == 1
