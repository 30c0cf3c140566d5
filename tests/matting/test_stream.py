"""Streams: what is read when, and what belongs to whom."""

import jax
import numpy as np
import pytest
from matting_fakes import released, scene

from segjax.matting import AlphaClip, Effect, Matting, stream

SIZE = (160, 256)
FRAMES = [scene(*SIZE, x=0.3 + 0.02 * t, seed=t) for t in range(8)]
OTHER = scene(100, 120, x=0.6, seed=99)
COLOR = Effect("color", color=(0, 255, 0))


@pytest.fixture(scope="module")
def matting():
    return Matting(released(), COLOR)


@pytest.fixture(scope="module")
def expected(matting):
    """What the frames give, each handed over in an array of its own."""
    matting.reset()
    return [matting(frame.copy(), None, index) for index, frame in enumerate(FRAMES)]


def same(composite, expected):
    np.testing.assert_array_equal(composite.image, expected.image)
    np.testing.assert_array_equal(composite.alpha, expected.alpha)


def alike(composite, expected):
    """Up to float32's rounding."""
    assert np.abs(composite.image.astype(int) - expected.image).max() <= 1
    np.testing.assert_allclose(composite.alpha, expected.alpha, atol=1e-4)


def test_a_composite_bears_its_frames_index_and_mask(matting, expected):
    for index, composite in enumerate(expected):
        assert composite.index == index
        assert composite.image.shape == (*SIZE, 3) and composite.image.dtype == np.uint8
        assert composite.alpha.shape == matting.mask_size(*SIZE)
        assert composite.alpha.dtype == np.float32
        # The mask is of this very frame: its disc is where this frame's is.
        centre = (composite.alpha.sum(0) * np.arange(SIZE[1])).sum() / composite.alpha.sum()
        assert centre == pytest.approx((0.3 + 0.02 * index) * SIZE[1], abs=1.5)


def aligned(shape):
    """An array that JAX would take as its own memory on a CPU."""
    raw = np.zeros(np.prod(shape) + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + np.prod(shape)].reshape(shape)


def test_a_buffer_may_be_written_again_at_once(matting, expected):
    matting.reset()
    buffer = aligned(FRAMES[0].shape)
    for index, frame in enumerate(FRAMES):
        buffer[:] = frame
        composite = matting(buffer, None, index)
        buffer[:] = 255 - frame
        same(composite, expected[index])


def test_a_background_may_be_written_again_at_once():
    matting = Matting(released(), Effect("picture"))
    matting.prepare(*SIZE)
    behind = [np.random.default_rng(t).integers(0, 256, FRAMES[0].shape, np.uint8) for t in (0, 1)]
    wanted = [matting(FRAMES[t], behind[t].copy(), t).image for t in (0, 1)]
    matting.reset()
    buffer = aligned(FRAMES[0].shape)
    for t in (0, 1):
        buffer[:] = behind[t]
        composite = matting(FRAMES[t], buffer, t)
        buffer[:] = 77
        np.testing.assert_array_equal(composite.image, wanted[t])


def test_results_belong_to_the_receiver(matting, expected):
    matting.reset()
    kept = []
    for index, frame in enumerate(FRAMES):
        composite = matting(frame, None, index)
        same(composite, expected[index])
        kept.append((composite, composite.image.copy(), composite.alpha.copy()))
        if index % 2:  # every other one is scribbled over, the rest must stay as it was
            composite.image[:] = 7
            composite.alpha[:] = np.nan
    for composite, image, alpha in kept[::2]:
        np.testing.assert_array_equal(composite.image, image)
        np.testing.assert_array_equal(composite.alpha, alpha)
    arrays = [array for composite, _, _ in kept for array in (composite.image, composite.alpha)]
    assert all(array.flags.writeable for array in arrays)
    assert not any(np.shares_memory(one, two) for i, one in enumerate(arrays) for two in arrays[:i])


def test_frames_are_not_written_to(matting):
    frame = FRAMES[0].copy()
    frame.flags.writeable = False
    matting(frame, None, 0)
    np.testing.assert_array_equal(frame, FRAMES[0])


def test_a_view_of_a_larger_array_will_do(matting, expected):
    matting.reset()
    large = np.zeros((SIZE[0] + 3, SIZE[1] + 5, 3), np.uint8)
    large[2:-1, 3:-2] = FRAMES[0]
    same(matting(large[2:-1, 3:-2], None, 0), expected[0])
    matting.reset()
    same(matting(FRAMES[0][:, :, ::-1].copy()[:, :, ::-1], None, 0), expected[0])


def test_reset_forgets(matting, expected):
    matting.reset()
    matting(OTHER, None, 0)
    matting(FRAMES[3], None, 1)
    matting.reset()
    same(matting(FRAMES[0], None, 0), expected[0])


def test_a_new_size_begins_anew(matting, expected):
    matting(FRAMES[5], None, 0)
    other = matting(OTHER, None, 1)
    assert other.image.shape == OTHER.shape
    same(matting(FRAMES[0], None, 2), type(other)(expected[0].image, expected[0].alpha, 2))
    matting.reset()
    same(matting(OTHER, None, 3), other)


def test_preparing_leaves_nothing_behind(matting, expected):
    matting(FRAMES[5], None, 0)
    matting.prepare(*SIZE)
    same(matting(FRAMES[0], None, 0), expected[0])


def test_after_a_broken_mask_the_next_frame_begins_anew(matting, expected):
    matting.reset()
    matting(FRAMES[5], None, 0)
    broken = matting(np.full_like(FRAMES[0], 255), None, 1)
    assert not np.isfinite(broken.alpha).all()
    assert (broken.image == COLOR.color).all()
    alike(matting(FRAMES[0], None, 2), expected[0])


def test_after_an_error_the_next_frame_begins_anew(matting, expected):
    matting.reset()
    matting(FRAMES[5], None, 0)
    with pytest.raises(Exception, match="uint8"):
        matting(FRAMES[5].astype(np.float32), None, 1)
    same(matting(FRAMES[0], None, 2), expected[0])


def test_a_thousand_frames_leave_nothing_behind():
    compiled = []

    def listen(event, duration_secs, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(duration_secs)

    matting = Matting(released(), Effect("picture"))
    frames = [scene(32, 48, x=0.3 + 0.05 * t, seed=t) for t in range(8)]
    matting(frames[0], frames[1], 0)
    jax.monitoring.register_event_duration_secs_listener(listen)
    held = {array.nbytes for array in jax.live_arrays()}, len(jax.live_arrays())
    for index in range(1000):
        matting(frames[index % 8], frames[-index % 8], index)
    assert not compiled
    assert ({array.nbytes for array in jax.live_arrays()}, len(jax.live_arrays())) == held
    jax.jit(lambda x: x + 12345)(1.0)
    assert compiled, "the listener hears compilations"


def test_free_memory_is_given_back_now_and_then(matting, expected, monkeypatch):
    given_back = []
    monkeypatch.setattr(stream, "TIDY_EVERY", 3)
    monkeypatch.setattr(stream, "give_back_memory", lambda: given_back.append(None))
    twin = matting.another()
    for index in range(9):
        twin(FRAMES[index % 8], None, index)
    assert len(given_back) == 3


def test_a_change_of_quality_compiles_nothing(matting, expected):
    compiled = []

    def listen(event, duration_secs, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(duration_secs)

    matting.reset()
    matting.prepare(*SIZE)
    assert matting.qualities == ("full", "medium", "coarse")
    jax.monitoring.register_event_duration_secs_listener(listen)
    assert all(matting.prepare_quality(quality, *SIZE) > 0 for quality in (1, 2))
    assert compiled, "the listener hears compilations"
    compiled.clear()
    sizes = set()
    try:
        for index, quality in enumerate((0, 0, 1, 1, 2, 2, 0, 2, 1, 0)):
            matting.quality = quality
            composite = matting(FRAMES[0], None, index)
            assert composite.alpha.shape == matting.mask_size(*SIZE)
            sizes.add((quality, composite.alpha.shape))
            # One frame, whichever way its mask is made: the picture is much the same.
            off = np.abs(composite.image.astype(int) - expected[0].image)
            assert off.mean() < (1 if quality == 0 else 6)
    finally:
        matting.quality = 0
    assert not compiled and len(sizes) == 3


def test_weights_see_a_frame_as_they_were_trained_to():
    matting = Matting(released(area=96 * 176), COLOR)
    assert matting.mask_size(720, 1280) == (96, 176)
    assert matting(scene(200, 360), None, 0).alpha.shape == (96, 176)
    clip, usual = AlphaClip(released(area=32 * 32)), AlphaClip(released())
    assert (clip(FRAMES[0]) != usual(FRAMES[0])).any()


def test_a_result_outlives_the_stream():
    matting = Matting(released(), COLOR)
    image = matting(FRAMES[0], None, 0).image
    expected = image.copy()
    del matting
    rows = image[10:20]
    del image
    [np.full(FRAMES[0].shape, 99, np.uint8) for _ in range(20)]  # would take memory given back
    np.testing.assert_array_equal(rows, expected[10:20])


def test_a_clip_gives_masks_at_full_size():
    clip, matting = AlphaClip(released()), Matting(released(), Effect("transparent"), guided=True)
    alphas = [clip(frame) for frame in FRAMES]
    for index, alpha in enumerate(alphas):
        assert alpha.shape == SIZE and alpha.dtype == np.float32 and alpha.flags.writeable
        composite = matting(FRAMES[index], None, index)
        np.testing.assert_allclose(alpha, composite.image[..., 3] / 255, atol=1e-4)
    clip.reset()
    assert (clip(FRAMES[-1]) != alphas[-1]).any(), "the frames before count"


def test_another_stream_shares_the_step_and_not_the_state(matting, expected):
    matting.reset()
    other = matting.another()
    for index, frame in enumerate(FRAMES):
        same(matting(frame, None, index), expected[index])
        other(OTHER, None, index)


@pytest.mark.parametrize("kind", ["blur", "bokeh"])
def test_the_strength_of_the_blur_changes_without_a_compilation(kind):
    striped = FRAMES[0].copy()
    striped[:, ::16] += 60
    matting = Matting(released(), Effect(kind, strength=0.1))
    weak = matting(striped, None, 0)
    matting.reset()
    with jax.no_tracing(True):
        matting.strength = 1.0
        strong = matting(striped, None, 0)
    alike(strong, Matting(released(), Effect(kind, strength=1.0))(striped, None, 0))
    assert strong.image[:20].std(1).max() < weak.image[:20].std(1).max()


def test_the_softness_of_edges_changes_without_a_compilation(matting):
    matting.reset()
    usual = matting(FRAMES[0], None, 0)
    softer = matting.another()
    assert matting.softness == 0.5
    with jax.no_tracing(True):
        softer.softness = 1
        soft = softer(FRAMES[0], None, 0)
    assert ((soft.alpha > 0) & (soft.alpha < 1)).sum() > (
        (usual.alpha > 0) & (usual.alpha < 1)
    ).sum()
    matting.reset()
    same(matting(FRAMES[0], None, 0), usual)
