from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement_guided import OFF, check

from segjax_kernels import guided_upsample_blend, upsample_blend
from segjax_kernels.guided_upsample_blend import cases

NAMED = {case.name: case for case in (*cases.AWKWARD, *cases.REAL)}
WIDE, NARROW = (NAMED[name] for name in cases.WIDE_AND_NARROW)


@pytest.mark.parametrize("case", cases.AWKWARD, ids=lambda case: case.name)
def test_awkward_sizes_against_the_oracle(implementation, case, quick_compile):
    inputs = cases.inputs(case)
    result = np.asarray(guided_upsample_blend(**inputs, implementation=implementation))
    if result.size == 3 and implementation != "reference":
        # A share of one pixel's bytes says nothing: one that is off is a third.
        exact, _ = cases.oracle(**inputs)
        assert np.abs(result - np.rint(exact)).max() <= OFF[implementation][0]
        return
    check(result, inputs, implementation)


@pytest.mark.parametrize("room", [False, True], ids=["as it is", "room"])
@pytest.mark.parametrize("background", cases.BACKGROUNDS)
@pytest.mark.parametrize("case", [WIDE, NARROW], ids=["wide", "narrow"])
def test_backgrounds_against_the_oracle(implementation, case, background, room, quick_compile):
    inputs = cases.inputs(case, background, room=room)
    blend = partial(guided_upsample_blend, **inputs, implementation=implementation)
    if room and implementation == "c":
        with pytest.raises(NotImplementedError, match="'c' takes no room; None takes the best"):
            blend()
        return
    result = np.asarray(blend())
    check(result, inputs, implementation)


@pytest.mark.parametrize("background", ["frame", "none"])
def test_faint_traces_against_the_oracle(implementation, background, quick_compile):
    inputs = cases.inputs(WIDE, background, room=implementation != "c")
    result = np.asarray(guided_upsample_blend(**inputs, faint=0.05, implementation=implementation))
    check(result, inputs, implementation, faint=0.05)
    assert (result != guided_upsample_blend(**inputs, implementation=implementation)).any()


def test_by_hand(implementation):
    # Brightness 0, 102, 153, 255 is 0, 0.4, 0.6, 1: alpha (x - 0.25) / 0.5 is 0, 0.3, 0.7, 1.
    frame = np.repeat(np.array([[[0], [102], [153], [255]]], np.uint8), 3, axis=2)
    one = np.ones((1, 1), np.float32)
    blend = partial(guided_upsample_blend, frame, one, 0 * one, implementation=implementation)
    result = blend(np.array([100, 0, 255], np.uint8))
    expected = np.array([[100, 0, 255], [101, 31, 209], [137, 107, 184], [255, 255, 255]])
    assert np.abs(np.asarray(result[0], int) - expected).max() <= 1
    if implementation == "c":
        return
    # A room of 102: nothing of the second pixel is the person's, of the third 153 - 0.3 * 102.
    room = np.full((1, 1, 3), 0.4, np.float32)
    seen = np.array([[0, 0, 0], [31, 31, 31], [122, 122, 122], [255, 255, 255]])
    result = blend(np.zeros(3, np.uint8), room=room)
    assert np.abs(np.asarray(result[0], int) - seen).max() <= 1


def test_flat_lines_are_the_plain_blend_of_a_firm_mask(implementation):
    inputs = cases.inputs(NAMED["odd"])
    offset = np.random.default_rng(0).random(inputs["offset"].shape, np.float32) / 2 + 0.25
    frame, background = inputs["frame"], inputs["background"]
    guided = guided_upsample_blend(
        frame, 0 * offset, offset, background, implementation=implementation
    )
    plain = upsample_blend(frame, 2 * offset - 0.5, background, implementation=implementation)
    assert np.abs(np.int32(guided) - np.int32(plain)).max() <= (
        1 if implementation == "reference" else 3
    )


def test_what_is_not_finite_is_the_background(implementation):
    result = guided_upsample_blend(**cases.broken(), implementation=implementation)
    assert result[0, :, 0].tolist() == [0, 0, 0, 0, 0, 200]


def test_batches_and_vmap_are_one_call(implementation, quick_compile):
    inputs = cases.inputs(NARROW, "small", room=implementation != "c", count=2)
    blend = partial(guided_upsample_blend, implementation=implementation)
    together = blend(**inputs)
    apart = [blend(**{name: x[at] for name, x in inputs.items()}) for at in range(2)]
    np.testing.assert_array_equal(together, np.stack(apart))

    frame = inputs.pop("frame")
    mapped = jax.vmap(lambda others: blend(frame[0], **others))(inputs)
    np.testing.assert_array_equal(mapped[0], apart[0])
    np.testing.assert_array_equal(mapped, blend(frame[:1].repeat(2, 0), **inputs))


def test_steep_lines_and_large_offsets_by_c_are_xlas(with_c):
    # Most runs of such lines are known to be all room or all person before they are enlarged.
    random = np.random.default_rng(2)
    frame, background = random.integers(0, 256, (2, 40, 500, 3), np.uint8)
    slope = random.normal(0, 5, (8, 30)).astype(np.float32)
    slope[:, ::3] /= 100
    offset = random.normal(0, 1, (8, 30)).astype(np.float32).repeat(5, 1)[:, :30] * 5
    ours, theirs = (
        np.asarray(guided_upsample_blend(frame, slope, offset, background, implementation=by), int)
        for by in ("c", "xla")
    )
    assert np.abs(ours - theirs).max() <= 3
    for picture in (frame, background):
        assert 0.1 < (ours == picture).all(-1).mean() < 0.9


def test_no_derivative():
    inputs = cases.inputs(NAMED["odd"])
    frame, slope, offset, background = inputs.values()

    def loss(slope):
        return guided_upsample_blend(frame, slope, offset, background).astype(jnp.float32).sum()

    with pytest.raises(NotImplementedError, match="bytes, which have no derivative; stop the grad"):
        jax.grad(loss)(jnp.asarray(slope))


FRAME, MAP, BACK = ((4, 6, 3), np.uint8), ((2, 3), np.float32), ((3,), np.uint8)


@pytest.mark.parametrize(
    ("frame", "slope", "offset", "room", "message"),
    [
        (((4, 6, 3), np.float32), MAP, MAP, None, r"got a frame of float32\[4, 6, 3\]; it is"),
        (FRAME, MAP, ((2, 2), np.float32), None, "both are float32 and of one shape; take them"),
        (FRAME, ((5, 3), np.float32), ((5, 3), np.float32), None, "at most as high and as wide"),
        (FRAME, MAP, MAP, ((4, 6, 3), np.uint8), r"got a room of uint8\[4, 6, 3\] for a frame"),
        (FRAME, MAP, MAP, ((5, 6, 3), np.float32), "at most as high and as wide; resize or conv"),
        (
            ((2, *FRAME[0]), np.uint8),
            MAP,
            MAP,
            ((3, 1, 1, 3), np.float32),
            r"got batches of \[2, 3\]",
        ),
    ],
)
def test_errors_say_what_was_got_the_rule_and_the_remedy(frame, slope, offset, room, message):
    frame, slope, offset, background = (
        np.zeros(shape, dtype) for shape, dtype in (frame, slope, offset, BACK)
    )
    room = room and np.zeros(*room)
    with pytest.raises(ValueError, match=message):
        guided_upsample_blend(frame, slope, offset, background, room=room)


def lowered(platform, implementation=None, background="frame", in_place=False):
    inputs = cases.inputs(NAMED["odd"], background, room=True)
    background = inputs.pop("background")
    call = partial(
        guided_upsample_blend,
        background=background,
        implementation=implementation,
        in_place=in_place,
    )
    donated = "frame" if in_place else ()
    traced = jax.jit(call, donate_argnames=donated).trace(**inputs)
    return traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("background", cases.BACKGROUNDS)
def test_lowers_for_every_platform(background, needs):
    for platform in ("cpu", "tpu"):
        assert "triton_kernel_call" not in lowered(platform, background=background)
    # A TPU looks nothing up.
    assert "stablehlo.gather" not in lowered("tpu", background=background)
    needs("triton")
    needs("jax_triton")
    assert "triton_kernel_call" in lowered("cuda", background=background)
    assert "triton_kernel_call" in lowered("cuda", "triton", background)
    assert "triton_kernel_call" not in lowered("cuda", "xla", background)
