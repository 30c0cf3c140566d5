from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from matting_fakes import PERSON, RedIsPerson, mask_shape, resized, scene

from segjax.geometry import network_size
from segjax.matting import Effect
from segjax.matting.smoothing import empty_state
from segjax.matting.step import make_mask_step, make_step, mask_size
from segjax.models import create_model

KINDS = ("blur", "color", "picture", "transparent")
GREEN = (0, 255, 0)
GREEN_BYTES = np.array(GREEN, np.uint8)


@lru_cache  # compiled once for all tests
def step_for(kind, **options):
    model = RedIsPerson()
    effect = Effect(kind, color=GREEN)
    return make_step(model, effect, **options), nnx.split(model)[1]


def call(kind, frame, background=None, **options):
    step, params = step_for(kind, **options)
    state, out, alpha = step(params, empty_state(*mask_shape(frame)), frame, background)
    return state, np.asarray(out), np.asarray(alpha)


def beach(frame):
    return np.random.default_rng(9).integers(0, 256, frame.shape, np.uint8)


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        *((kind, (200, 300)) for kind in KINDS),
        *((kind, (17, 33)) for kind in KINDS[:2]),
        ("blur", (16, 16)),
        ("transparent", (297, 171)),
        ("picture", (288, 512)),
    ],
)
def test_shapes_and_dtypes(kind, size):
    frame = scene(*size)
    state, out, alpha = call(kind, frame, beach(frame) if kind == "picture" else None)
    assert out.dtype == np.uint8
    assert out.shape == (*size, 4 if kind == "transparent" else 3)
    assert alpha.dtype == np.float32 and alpha.shape == mask_size(*size)
    assert alpha.min() == 0 and alpha.max() == 1, "the disc was found"
    assert state.alpha.shape == alpha.shape


def test_the_mask_is_the_networks_but_no_larger_than_the_frame():
    assert mask_size(720, 1280) == network_size(720, 1280) == (144, 256)
    assert mask_size(17, 33) == (17, 33)
    assert mask_size(100, 3000)[0] <= 100


@pytest.mark.parametrize("kind", ["color", "picture"])
def test_a_composite_is_the_frame_over_the_background_by_the_mask(kind):
    frame = scene(200, 300)
    behind = beach(frame) if kind == "picture" else np.broadcast_to(GREEN_BYTES, frame.shape)
    _, out, alpha = call(kind, frame, behind if kind == "picture" else None)
    shown = resized(alpha, 200, 300)[..., None]
    exact = shown * frame + (1 - shown) * behind
    assert np.abs(out - exact).max() <= 2.5
    assert (out == behind)[shown[..., 0] == 0].all() and (out == frame)[shown[..., 0] == 1].all()
    # The disc is kept, the corners are not.
    assert np.abs(out[100, 150] - np.array(PERSON)).max() < 30
    assert (out[0, 0] == behind[0, 0]).all()


def test_transparent_hides_what_it_does_not_show():
    frame = scene(200, 300)
    _, out, alpha = call("transparent", frame)
    colours, opacity = out[..., :3], out[..., 3]
    assert np.abs(opacity - 255 * resized(alpha, 200, 300)).max() <= 0.51
    assert (opacity == 0).any() and (opacity == 255).any()
    assert (colours[opacity == 0] == 0).all()
    assert (colours == frame)[opacity > 0].all()


def test_the_room_shows_nothing_of_the_person():
    frame = scene(200, 300)
    _, out, alpha = call("blur", frame)
    away = resized(alpha, 200, 300) == 0
    assert np.abs(out[away].astype(int) - (20, 70, 160)).max() < 12, "only the room's colours"


@pytest.mark.parametrize("kind", ["color", "picture", "transparent"])
def test_pixels_that_the_mask_hides_change_no_byte(kind):
    frame = scene(200, 300)
    behind = beach(frame) if kind == "picture" else None
    _, out, alpha = call(kind, frame, behind)
    # A little away from the edge, which the refinement looks around for.
    hidden = resized(alpha, 200, 300) == 0
    far = ~np.array(
        [
            [hidden[max(0, y - 12) : y + 13, max(0, x - 12) : x + 13].all() for x in range(300)]
            for y in range(200)
        ]
    )
    other = frame.copy()
    other[..., 1:] = np.where(far[..., None], frame[..., 1:], beach(frame)[..., 1:])
    assert (other != frame).mean() > 0.3
    _, changed, _ = call(kind, other, behind)
    np.testing.assert_array_equal(changed, out)


def test_the_state_is_given_away():
    frame = scene(200, 300)
    step, params = step_for("color")
    state = empty_state(*mask_shape(frame))
    after, _, _ = step(params, state, frame, None)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state) if leaf.ndim)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(params))
    step(params, after, frame, None)


def test_the_state_goes_in_and_comes_out():
    frames = [scene(200, 300, seed=seed) for seed in range(5)]
    step, params = step_for("color")
    state, alphas = empty_state(*mask_shape(frames[0])), []
    for frame in frames:
        state, _, alpha = step(params, state, frame, None)
        alphas.append(np.asarray(alpha))
    _, _, alone = call("color", frames[-1])
    assert (alphas[-1] != alone).any(), "the frames before count"
    _, _, unsmoothed = call("color", frames[-1], smoothing=False)
    np.testing.assert_allclose(unsmoothed, alone, atol=1e-6)


def test_refinement_can_be_switched_off():
    frame = scene(200, 300)
    _, _, alpha = call("color", frame, smoothing=False, refinement=False)
    assert ((alpha > 0) & (alpha < 0.05)).any(), "the network's own traces"


def test_many_frames_are_one_compilation():
    compiled = []

    def listen(event, duration_secs, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(duration_secs)

    step, params = step_for.__wrapped__("picture")
    frames = [scene(200, 300, seed=seed) for seed in range(6)]
    state = empty_state(*mask_shape(frames[0]))
    jax.monitoring.register_event_duration_secs_listener(listen)
    for frame in frames:
        before = len(compiled)
        state, out, alpha = step(params, state, frame, frame)
        assert out.shape == frame.shape and alpha.shape == state.alpha.shape
        if frame is frames[0]:
            assert len(compiled) > before, "the listener hears compilations"
        else:
            assert len(compiled) == before


def test_a_broken_mask_hides_everything_and_says_so():
    white = np.full((200, 300, 3), 255, np.uint8)
    state, out, alpha = call("color", white)
    assert not np.isfinite(alpha).any()
    assert (out == GREEN).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_a_mask_at_full_size():
    frame = scene(200, 300)
    model = RedIsPerson()
    step = make_mask_step(model)
    state, alpha = step(nnx.split(model)[1], empty_state(*mask_shape(frame)), frame)
    _, _, small = call("color", frame)
    np.testing.assert_allclose(alpha, resized(small, 200, 300), atol=1e-4)
    np.testing.assert_array_equal(state.alpha.shape, small.shape)


def lowered(kind, platform):
    model = create_model(
        "skip_aspp",
        encoder="hybrid",
        encoder_options={"widths": (8, 8, 16), "depths": (0, 0), "expanded": 16, "dilations": (1,)},
        decoder_options={"widths": (8, 8), "rates": (), "branch": 8},
    )
    model.eval()
    step: Any = make_step(model, Effect(kind))
    frame = jnp.zeros((288, 512, 3), jnp.uint8)
    behind = frame if kind == "picture" else None
    traced = step.trace(nnx.split(model)[1], empty_state(144, 256), frame, behind)
    return traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("kind", ["blur", "color", "picture"])
def test_on_cuda_the_step_blends_by_triton(kind, needs):
    needs("triton")
    needs("jax_triton")
    assert lowered(kind, "cuda").count("triton_kernel_call") == 1


def test_on_a_tpu_the_step_is_plain_xla():
    assert "triton" not in lowered("picture", "tpu")
