"""The mask is still where the picture is, and moves when it moves; by XLA and in C."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matting_fakes import disc

from segjax.matting.smoothing import empty_state, presence, resized, smooth

HEIGHT, WIDTH = 96, 160
STEP = jax.jit(smooth)


@pytest.fixture(params=["without_c", "with_c"], autouse=True, scope="module")
def by(request):
    request.getfixturevalue(request.param)


def picture(alpha, rng, noise=0.01):
    """The planes [3, h, w] of a brownish disc before a textured greyish wall, with sensor noise."""
    rows, columns = np.mgrid[: alpha.shape[0], : alpha.shape[1]]
    wall = 0.55 + 0.05 * np.sin(rows / 5) * np.cos(columns / 7)
    colours = [alpha * person + (1 - alpha) * wall for person in (0.7, 0.5, 0.4)]
    return np.asarray(colours + rng.normal(0, noise, (3, *alpha.shape)), np.float32)


def doubted(alpha, rng):
    """A network's mask of it: soft, and in doubt along the edge."""
    logit = 6 * (alpha - 0.5) + rng.normal(0, 0.7, alpha.shape)
    return (1 / (1 + np.exp(-logit))).astype(np.float32)


def run(masks, pictures):
    state, out = empty_state(*masks[0].shape), []
    for mask, planes in zip(masks, pictures, strict=True):
        state, alpha = STEP(state, mask, planes)
        out.append(np.asarray(alpha))
    return np.stack(out), state


def clip(speed, frames=24, pause=6, seed=0):
    """A disc that waits and then moves: its places, the truth, masks and pictures."""
    rng = np.random.default_rng(seed)
    places = [30 + max(0, t - pause) * speed for t in range(frames)]
    truth = np.stack([disc(HEIGHT, WIDTH, x, 18) for x in places])
    return places, truth, [doubted(t, rng) for t in truth], [picture(t, rng) for t in truth]


def lag(alpha, places, speed, frames):
    """The shift in frames that aligns our edges best with the true ones of a moving disc."""
    shifts = np.arange(-1, 4, 0.1)
    errors = np.zeros(len(shifts))
    for t in frames:
        true = [disc(HEIGHT, WIDTH, places[t] - shift * speed, 18) for shift in shifts]
        errors += ((alpha[t] - np.stack(true)) ** 2).sum((1, 2))
    return shifts[int(np.argmin(errors))]


def test_the_first_mask_counts_fully():
    rng = np.random.default_rng(0)
    mask = rng.random((HEIGHT, WIDTH), np.float32)
    state, alpha = STEP(empty_state(HEIGHT, WIDTH), mask, picture(mask, rng))
    np.testing.assert_allclose(alpha, mask, atol=1e-6)
    assert state.started == 1


def test_a_still_scene_settles():
    _, truth, masks, pictures = clip(speed=0, frames=30)
    out, _ = run(masks, pictures)
    raw = np.stack(masks)
    flips = [(np.diff(x[10:] > 0.5, axis=0) != 0).sum() for x in (raw, out)]
    assert flips[0] > 300, "the input flickers"
    assert flips[1] < flips[0] / 10
    jitter = [np.abs(np.diff(x[10:], axis=0)).mean() for x in (raw, out)]
    assert jitter[1] < jitter[0] / 10
    # And it settles on the truth, not on where it happened to begin.
    errors = [np.abs(x[-1] - truth[0]).mean() for x in (raw, out)]
    assert errors[1] < errors[0]


@pytest.mark.parametrize("pixels", [5, 15, 40])
def test_what_moves_does_not_trail(pixels):
    """Speeds of a 1280 pixels wide picture, of which the mask has `WIDTH` columns."""
    speed = pixels * WIDTH / 1280
    frames = 24 if pixels < 40 else 16
    places, truth, masks, pictures = clip(speed, frames, pause=4)
    out, _ = run(masks, pictures)
    moving = range(8, frames)
    assert abs(lag(np.stack(masks), places, speed, moving)) < 0.35, "the input has no lag"
    assert lag(out, places, speed, moving) < 0.6
    # Two pixels behind the edge nothing is left, two before it nothing is cut.
    for t in moving:
        near = np.stack([np.roll(truth[t], (y, x), (0, 1)) for y in (-2, 0, 2) for x in (-2, 0, 2)])
        assert (out[t][near.max(0) == 0] > 0.5).mean() < 0.001
        assert (out[t][near.min(0) == 1] < 0.5).mean() < 0.01


def test_what_returns_to_rest_is_still_again():
    _, _, masks, pictures = clip(speed=2, frames=12)
    _, _, rest, still = clip(speed=0, frames=20, seed=1)
    out, _ = run(masks + rest, pictures + still)
    assert (np.diff(out[-8:] > 0.5, axis=0) != 0).sum() < 10


def test_slow_motion_adds_up():
    # From one frame to the next the change is that of the noise; over a few frames it is not.
    places, _, masks, pictures = clip(speed=0.4, frames=60, pause=0)
    out, _ = run(masks, pictures)
    assert lag(out, places, 0.4, range(30, 60)) < 0.8


def test_masks_that_agree_are_believed_without_motion():
    rng = np.random.default_rng(2)
    still = [picture(np.zeros((HEIGHT, WIDTH)), rng) for _ in range(10)]
    nobody = np.full((HEIGHT, WIDTH), 0.02, np.float32)
    somebody = np.full((HEIGHT, WIDTH), 0.98, np.float32)
    out, _ = run([nobody] * 5 + [somebody] * 5, still)
    assert out[5].max() < 0.4, "one mask alone may be a slip"
    assert out[6].min() > 0.9
    out, _ = run([nobody] * 5 + [somebody] + [nobody] * 4, still)
    assert out[6:].max() < 0.4


def test_room_is_let_go_of_sooner_than_a_person_is_believed():
    """At rest, by two masks in a row; one alone may be a slip."""
    rng = np.random.default_rng(7)
    still = [picture(np.zeros((HEIGHT, WIDTH)), rng) for _ in range(8)]

    def left(*values: float) -> float:
        masks = [np.full((HEIGHT, WIDTH), value, np.float32) for value in values]
        masks = [np.where(np.arange(WIDTH) < 20, 1, mask) for mask in masks]  # somebody is there
        return float(
            run([mask.astype(np.float32) for mask in masks], still[: len(masks)])[0][-1][0, -1]
        )

    assert left(0.5, 0.5, 0.5, 0.5, 0.15, 0.15) < 0.2
    assert left(0.5, 0.5, 0.5, 0.5, 0.15) > 0.4
    assert left(0.5, 0.5, 0.5, 0.5, 0.75, 0.75) < 0.55


def test_a_network_in_doubt_changes_nothing_at_rest():
    rng = np.random.default_rng(3)
    still = [picture(np.zeros((HEIGHT, WIDTH)), rng) for _ in range(40)]
    values = [0.9] * 5 + [0.45, 0.55] * 17 + [0.5]
    masks = [np.full((HEIGHT, WIDTH), value, np.float32) for value in values]
    out, _ = run(masks, still)
    assert out[-1].min() > 0.8


def test_a_mask_of_nothing_but_doubt_is_nobody():
    rng = np.random.default_rng(5)
    doubt = np.clip(rng.normal(0.4, 0.1, (HEIGHT, WIDTH)), 0, 0.75).astype(np.float32)
    out, _ = run([doubt] * 3, [picture(np.zeros((HEIGHT, WIDTH)), rng)] * 3)
    assert (out == 0).all()


@pytest.mark.parametrize("radius", [2, 5, 18])
def test_however_small_somebody_is_they_are_there(radius):
    rng = np.random.default_rng(6)
    small = doubted(disc(HEIGHT, WIDTH, 80, radius), rng)
    # Beside them, as much again of doubt.
    small = np.maximum(small, 0.4 * disc(HEIGHT, WIDTH, 30, 1.4 * radius))
    assert presence(jnp.asarray(small)) == 1
    out, state = run([small], [picture(small, rng)])
    np.testing.assert_array_equal(out[0], state.alpha)


def test_nobody_and_nothing_shown_is_nobody():
    assert presence(jnp.zeros((3, 5))) == 0
    assert presence(jnp.full((3, 5), 0.2)) == 0


def test_the_result_stays_in_range_and_finite():
    rng = np.random.default_rng(4)
    masks = [(rng.random((9, 13)) > 0.5).astype(np.float32) for _ in range(20)]
    out, _ = run(masks, [rng.random((3, 9, 13), np.float32) for _ in masks])
    assert out.min() >= 0 and out.max() <= 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_broken_mask_is_shown_and_forgotten(value):
    _, _, masks, pictures = clip(speed=1, frames=8)
    broken = masks[4].copy()
    broken[3, 5] = value
    out, _ = run([*masks[:4], broken, *masks[5:]], pictures)
    assert not np.isfinite(out[4]).any()
    fresh, _ = run(masks[5:], pictures[5:])
    np.testing.assert_allclose(out[5:], fresh, atol=1e-6)


def test_the_state_is_as_the_step_needs_it():
    state = empty_state(5, 7)
    assert all(x.dtype == jnp.float32 for x in state)
    after, _ = STEP(state, np.zeros((5, 7), np.float32), np.zeros((3, 5, 7), np.float32))
    assert [x.shape for x in after] == [x.shape for x in state]
    buffers = {x.unsafe_buffer_pointer() for x in state}
    assert len(buffers) == len(state), "a donated buffer is given once"


def test_a_mask_of_another_size_is_remembered():
    """Of a still scene a new mask counts little, also when it is of another size than the last."""
    rng = np.random.default_rng(0)
    wall = picture(np.zeros((HEIGHT, WIDTH)), rng, noise=0.0)
    state, _ = STEP(empty_state(HEIGHT, WIDTH), np.full((HEIGHT, WIDTH), 0.98, np.float32), wall)
    # The wall is smooth: its rows and columns taken twice are still the same picture.
    small = resized(state, empty_state(HEIGHT // 2, WIDTH // 2))
    assert small.alpha.shape == (HEIGHT // 2, WIDTH // 2)
    large = resized(small, state)
    for other, tolerance in ((large, 0.02), (state, 1e-6)):
        assert [leaf.dtype for leaf in other] == [leaf.dtype for leaf in state]
        np.testing.assert_allclose(other.planes, wall, atol=tolerance)
        _, alpha = STEP(other, np.full((HEIGHT, WIDTH), 0.82, np.float32), wall)
        assert np.abs(alpha - 0.98).max() < 0.05
    _, alpha = STEP(empty_state(HEIGHT, WIDTH), np.full((HEIGHT, WIDTH), 0.82, np.float32), wall)
    assert np.abs(alpha - 0.82).max() < 0.01
