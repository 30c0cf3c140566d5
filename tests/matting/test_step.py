import math
import re
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from matting_fakes import PERSON, RedIsPerson, disc, faded, mask_shape, resized, scene

from segjax import weights
from segjax.geometry import network_size
from segjax.live.sample import Sample
from segjax.matting import Effect
from segjax.matting.smoothing import empty_state
from segjax.matting.step import make_mask_step, make_step, mask_size
from segjax.models import create_model
from segjax.prediction import sight_of

KINDS = ("blur", "bokeh", "color", "picture", "transparent")
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
        *((kind, (17, 33)) for kind in KINDS[:3]),
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
    shown = faded(resized(alpha, 200, 300))[..., None]
    exact = shown * frame + (1 - shown) * behind
    assert np.abs(out - exact).max() <= 3.5
    assert (out == behind)[shown[..., 0] == 0].all() and (out == frame)[shown[..., 0] == 1].all()
    # The disc is kept, the corners are not.
    assert np.abs(out[100, 150] - np.array(PERSON)).max() < 30
    assert (out[0, 0] == behind[0, 0]).all()


def test_transparent_hides_what_it_does_not_show():
    frame = scene(200, 300)
    _, out, alpha = call("transparent", frame)
    colours, opacity = out[..., :3], out[..., 3]
    assert np.abs(opacity - 255 * faded(resized(alpha, 200, 300))).max() <= 3
    assert (opacity == 0).any() and (opacity == 255).any()
    assert (colours[opacity == 0] == 0).all()
    assert (colours == frame)[opacity > 0].all()


@pytest.mark.parametrize("kind", ["blur", "bokeh"])
def test_the_room_shows_nothing_of_the_person(kind):
    frame = scene(200, 300)
    _, out, alpha = call(kind, frame)
    away = faded(resized(alpha, 200, 300)) == 0
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


@pytest.mark.parametrize("smoothing", [False, True])
def test_refinement_can_be_switched_off_and_faint_traces_never_show(smoothing):
    frame = scene(200, 300)
    soft = {}
    for refinement in (False, True):
        _, _, alpha = call("color", frame, smoothing=smoothing, refinement=refinement)
        assert not ((alpha > 0) & (alpha < 0.05)).any()
        soft[refinement] = ((alpha > 0) & (alpha < 1)).mean()
    assert soft[True] < 0.9 * soft[False]


def test_what_is_faint_between_the_masks_pixels_shows_nothing():
    _, out, alpha = call("transparent", scene(200, 300))
    shown = resized(alpha, 200, 300)
    faint = (shown > 0) & (shown < 0.05)
    assert faint.any() and (out[faint] == 0).all()


@pytest.mark.parametrize("guided", [False, True])
def test_an_edge_is_as_soft_as_it_is_told(guided):
    frame = scene(200, 300)
    step, params = step_for("transparent", guided=guided)

    def soft(*softness):
        out, alpha = step(params, empty_state(*mask_shape(frame)), frame, None, *softness)[1:]
        opacity = np.asarray(out)[..., 3]
        assert not ((alpha > 0) & (alpha < 0.05)).any()
        assert (opacity == 0).any() and (opacity == 255).any()
        return opacity, ((opacity > 0) & (opacity < 255)).mean()

    usual, _ = soft(np.float32(0.5))
    if not guided:  # which takes seconds to compile
        np.testing.assert_array_equal(soft()[0], usual)
    with jax.no_tracing(True):
        shares = [soft(np.float32(softness))[1] for softness in (0.0, 0.5, 1.0)]
    assert shares[0] < 0.9 * shares[1] and shares[1] < 0.95 * shares[2]


def test_guided_edges_are_as_fine_as_the_frame():
    frame = scene(576, 1024)
    truth = 255 * disc(576, 1024, 512)
    off = {}
    for guided in (False, True):
        _, out, alpha = call("transparent", frame, smoothing=False, guided=guided)
        off[guided] = np.abs(out[..., 3] - truth).mean()
        assert alpha.shape == mask_size(576, 1024) and alpha.max() == 1
    assert off[True] < 0.7 * off[False]


def test_a_broken_mask_hides_everything_from_the_guided_blend_too():
    white = np.full((200, 300, 3), 255, np.uint8)
    _, out, alpha = call("color", white, guided=True)
    assert not np.isfinite(alpha).any()
    assert (out == GREEN).all()


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
    _, cut_out, small = call("transparent", frame, guided=True)
    np.testing.assert_allclose(alpha, cut_out[..., 3] / 255, atol=1e-4)
    np.testing.assert_array_equal(state.alpha.shape, small.shape)


def test_a_mask_at_full_size_as_the_network_gives_it():
    frame = scene(200, 300)
    model = RedIsPerson()
    step = make_mask_step(model, refinement=False)
    _, alpha = step(nnx.split(model)[1], empty_state(*mask_shape(frame)), frame)
    _, _, small = call("color", frame, refinement=False)
    np.testing.assert_allclose(alpha, faded(resized(small, 200, 300)), atol=1e-4)


def tiny_step(kind, **options):
    """A step with a small network of the shipped kind, and arguments for it: 576×1024."""
    model = create_model(
        "skip_aspp",
        encoder="hybrid",
        encoder_options={"widths": (8, 8, 16), "depths": (0, 0), "expanded": 16, "dilations": (1,)},
        decoder_options={"widths": (8, 8), "rates": (), "branch": 8},
    )
    model.eval()
    step: Any = make_step(model, Effect(kind), **options)
    frame = jnp.zeros((576, 1024, 3), jnp.uint8)
    behind = frame if kind == "picture" else None
    return step, (nnx.split(model)[1], empty_state(144, 256), frame, behind)


def lowered(kind, platform, **options):
    step, arguments = tiny_step(kind, **options)
    return step.trace(*arguments).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize(("guided", "dtype"), [(False, jnp.float32), (True, jnp.bfloat16)])
@pytest.mark.parametrize("kind", KINDS)
def test_on_cuda_a_frame_is_read_by_two_triton_kernels(kind, guided, dtype, needs):
    needs("triton")
    needs("jax_triton")
    text = lowered(kind, "cuda", dtype=dtype, in_place=True, guided=guided)
    assert text.count("triton_kernel_call") == 2
    full_size = r"stablehlo\.(\w+) %[^\n]*tensor<(?:1x)?576x1024x[34]xui8>[^<\n]*\n"
    assert set(re.findall(full_size, text)) - {"return"} <= {"broadcast_in_dim", "reshape"}


def test_on_a_tpu_the_step_is_plain_xla():
    assert "triton" not in lowered("picture", "tpu")


@pytest.mark.parametrize("kind", KINDS)
def test_on_a_cpu_nothing_is_full_size_but_the_frame_and_the_result(kind):
    step, arguments = tiny_step(kind)
    text = step.lower(*arguments).compile().as_text()
    # What a fused computation names is never written as a whole.
    parts = [part for part in text.split("\n\n") if not re.match(r"%(fused|wrapped)_", part)]
    made = re.findall(r"= (\w+)\[([\d,]*)\]\S* ([\w-]+)\(", "\n".join(parts))
    large = [
        (dtype, operation)
        for dtype, sides, operation in made
        if math.prod(map(int, filter(None, sides.split(",")))) >= 576 * 1024
    ]
    assert large, "the pattern finds the frame"
    assert {dtype for dtype, _ in large} == {"u8"}
    copies = [operation for _, operation in large if operation in ("copy", "transpose")]
    assert not copies


def test_in_place_gives_the_frame_away():
    frame = scene(200, 300)
    step, params = step_for("color", in_place=True)
    given = jax.device_put(frame, may_alias=False)
    _, out, _ = step(params, empty_state(*mask_shape(frame)), given, None)
    np.testing.assert_array_equal(out, call("color", frame)[1])


@pytest.mark.parametrize("kind", ["blur", "picture"])
def test_several_streams_are_one_step(kind):
    frames = np.stack([scene(100, 150, x) for x in (0.4, 0.6)])
    behind = np.stack([beach(frame) for frame in frames]) if kind == "picture" else None
    step, params = step_for(kind)
    states = jax.tree.map(lambda x: jnp.stack([x, x]), empty_state(*mask_shape(frames[0])))
    streams = jax.jit(jax.vmap(step, in_axes=(None, 0, 0, behind if behind is None else 0)))
    _, out, alpha = streams(params, states, frames, behind)
    for at, frame in enumerate(frames):
        _, one, mask = call(kind, frame, None if behind is None else behind[at])
        assert np.abs(out[at].astype(int) - one).max() <= 1
        np.testing.assert_allclose(alpha[at], mask, atol=1e-4)


def test_bfloat16_finds_the_shipped_networks_mask(quick_compile):
    released = weights.load("portrait")
    leaves = jax.tree.leaves(nnx.split(released.model)[1])
    frame = Sample().picture(0.0)[::2, ::2]
    masks = []
    for dtype in (jnp.float32, jnp.bfloat16):
        sight = sight_of(released.config)
        step = make_step(released.model, Effect("color"), smoothing=False, sight=sight, dtype=dtype)
        params = [jnp.asarray(leaf, dtype) for leaf in leaves]
        height, width = frame.shape[:2]
        state = empty_state(*mask_size(height, width, sight))
        _, _, alpha = step(params, state, frame, None)
        masks.append(np.asarray(alpha))
    exact, rounded = masks
    assert 0.2 < exact.mean() < 0.8, "somebody is there"
    assert np.abs(rounded - exact).mean() < 2e-3
    person, found = exact > 0.5, rounded > 0.5
    assert (person & found).sum() / (person | found).sum() > 0.995
    assert (rounded != exact).any(), "it is another dtype"
