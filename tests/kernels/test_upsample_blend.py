from functools import partial

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import check
from hypothesis import given, settings

from segjax_kernels import upsample_blend
from segjax_kernels.upsample_blend import cases, xla

pytestmark = pytest.mark.usefixtures("quick_compile")

NAMED = {case.name: case for case in (*cases.AWKWARD, *cases.REAL)}


@pytest.mark.parametrize("background", cases.BACKGROUNDS)
@pytest.mark.parametrize("case", cases.AWKWARD, ids=lambda case: case.name)
def test_awkward_sizes_against_the_oracle(implementation, background, case):
    inputs = cases.inputs(case, background)
    check(
        np.asarray(upsample_blend(*inputs, implementation=implementation)), inputs, implementation
    )


@pytest.mark.parametrize("background", cases.BACKGROUNDS)
@pytest.mark.parametrize("case", cases.AWKWARD[3:5], ids=lambda case: case.name)
def test_what_a_tpu_runs_against_the_oracle(background, case):
    """Its matrix products, run here: the platform decides only where they are lowered."""
    inputs = cases.inputs(case, background)
    result = xla.by_products(*(x[None] for x in inputs if x is not None))
    check(np.asarray(result[0]), inputs, "reference")


@pytest.mark.parametrize("background", cases.BACKGROUNDS)
def test_faint_traces_against_the_oracle(implementation, background):
    inputs = cases.inputs(NAMED["odd"], background)
    result = upsample_blend(*inputs, faint=0.05, implementation=implementation)
    check(np.asarray(result), inputs, implementation, faint=0.05)
    result = xla.by_products(*(x[None] for x in inputs if x is not None), faint=0.05)
    check(np.asarray(result[0]), inputs, "reference", faint=0.05)


def test_where_traces_end_there_is_no_step(implementation):
    ramp = np.linspace(0, 1, 16, dtype=np.float32)[None]
    white = np.full((1, 512, 3), 255, np.uint8)
    blend = partial(upsample_blend, white, ramp, np.zeros(3, np.uint8))
    shown, all_of_it = (
        np.asarray(blend(faint=faint, implementation=implementation), int)[0, :, 0]
        for faint in (0.05, 0.0)
    )
    assert (shown[all_of_it < 0.05 * 255] == 0).all() and shown[-1] == 255
    assert (shown <= all_of_it).all() and np.diff(shown).max() <= np.diff(all_of_it).max() + 1


@pytest.mark.parametrize("faint", [-0.1, 1.0, float("nan")])
def test_faint_is_a_share(faint):
    with pytest.raises(ValueError, match=f"got faint={faint}; it is at least 0 and below 1"):
        upsample_blend(*cases.inputs(NAMED["one pixel"]), faint=faint)


@pytest.mark.parametrize("background", cases.BACKGROUNDS)
def test_a_real_size_against_the_oracle(background):
    inputs = cases.inputs(NAMED["720p"], background)
    check(np.asarray(upsample_blend(*inputs)), inputs, "xla")


@pytest.mark.parametrize("size", [(45, 75), (31, 2), (1, 1)], ids=str)
def test_a_small_background_of_any_size(implementation, size):
    frame, alpha, _ = cases.inputs(NAMED["odd"])
    small = np.random.default_rng(1).random((*size, 3), np.float32)
    result = np.asarray(upsample_blend(frame, alpha, small, implementation=implementation))
    check(result, (frame, alpha, small), implementation)


def test_a_small_background_as_large_as_the_frame_is_that_picture():
    frame, alpha, picture = cases.inputs(NAMED["odd"])
    small = picture.astype(np.float32) / 255
    np.testing.assert_array_equal(
        upsample_blend(frame, alpha, small, implementation="reference"),
        upsample_blend(frame, alpha, picture, implementation="reference"),
    )


def test_a_small_background_out_of_range_is_clipped(implementation):
    frame, alpha = np.full((1, 4, 3), 200, np.uint8), np.zeros((1, 1), np.float32)
    small = np.array([np.nan, np.inf, -np.inf, 1.5], np.float32)[None, :, None].repeat(3, axis=2)
    result = upsample_blend(frame, alpha, small, implementation=implementation)
    assert result[0, :, 0].tolist() == [0, 255, 0, 255]


def test_by_hand(implementation):
    # A mask [0, 1] four pixels wide: positions -0.25, 0.25, 0.75, 1.25 give 0, 1/4, 3/4, 1.
    frame = np.full((1, 4, 3), 200, np.uint8)
    alpha = np.array([[0, 1]], np.float32)
    background = np.array([0, 40, 200], np.uint8)
    result = upsample_blend(frame, alpha, background, implementation=implementation)
    expected = [[0, 40, 200], [50, 80, 200], [150, 160, 200], [200, 200, 200]]
    np.testing.assert_array_equal(result[0], expected)


bytes_of = partial(arrays.arrays, np.uint8)
SHAPES = [((6, 7), (2, 3)), ((5, 11), (5, 4))]  # few, since each compiles


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_the_result_lies_between_its_inputs(implementation, data):
    size, mask_size = data.draw(st.sampled_from(SHAPES))
    frame, background = (data.draw(bytes_of((*size, 3))) for _ in range(2))
    alpha = data.draw(arrays.arrays(np.float32, mask_size, elements=st.floats(0, 1, width=32)))
    result = np.asarray(upsample_blend(frame, alpha, background, implementation=implementation))
    assert (result >= np.minimum(frame, background)).all()
    assert (result <= np.maximum(frame, background)).all()
    assert np.abs(result - cases.oracle(frame, alpha, background)[0]).max() <= 2.5


@settings(deadline=None, max_examples=60)
@given(value=st.floats(0, 1, width=32), shapes=st.sampled_from(SHAPES))
def test_a_constant_mask_survives(implementation, value, shapes):
    size, mask_size = shapes
    frame = np.full((*size, 3), 255, np.uint8)
    alpha = np.full(mask_size, value, np.float32)
    result = upsample_blend(frame, alpha, np.zeros(3, np.uint8), implementation=implementation)
    (level,) = np.unique(result)
    # The integer path rounds twice: to 1/256 of a byte, then to a byte.
    assert abs(level - 255 * value) <= 0.5 + 0.5 / 256 + 1e-4


def test_alpha_out_of_range(implementation):
    result = upsample_blend(*cases.out_of_range(), implementation=implementation)
    assert result[0, :, 0].tolist() == [0, 200, 0, 200, 0]


NAMES = ("frame", "alpha", "background")
COMBINED = [(background, NAMES) for background in cases.BACKGROUNDS]
COMBINED += [("small", (name,)) for name in NAMES]


@pytest.mark.parametrize(("background", "batched"), COMBINED)
def test_batches_and_vmap_do_each_frame_alike(implementation, background, batched):
    every = cases.inputs(NAMED["rows of no multiple of 16 bytes"], background, count=2)
    axes = [
        0 if name in batched and x is not None else None
        for name, x in zip(NAMES, every, strict=True)
    ]
    inputs = [x if axis == 0 or x is None else x[0] for x, axis in zip(every, axes, strict=True)]
    blend = partial(upsample_blend, implementation=implementation)
    together = blend(*inputs)
    np.testing.assert_array_equal(jax.vmap(blend, in_axes=axes)(*inputs), together)
    for at in range(2):
        one = [
            x if axis is None or x is None else x[at] for x, axis in zip(inputs, axes, strict=True)
        ]
        np.testing.assert_array_equal(blend(*one), together[at])


def test_vmap_of_batches():
    frames, masks, back = cases.inputs(NAMED["odd"], "small", count=3)
    shared = back[0]
    together = jax.vmap(upsample_blend, in_axes=(None, 0, None))(frames, masks, shared)
    assert together.shape == (3, *frames.shape)
    for at in range(3):
        np.testing.assert_array_equal(together[at], upsample_blend(frames, masks[at], shared))
    stacked = jax.vmap(upsample_blend, in_axes=(None, 0, None))(
        frames, masks[:, None][:, [0] * 3], shared
    )
    np.testing.assert_array_equal(stacked, together)


def test_in_place_changes_nothing_on_a_cpu():
    inputs = cases.inputs(NAMED["odd"])
    expected = upsample_blend(*inputs)
    donating = jax.jit(partial(upsample_blend, in_place=True), donate_argnums=0)
    np.testing.assert_array_equal(donating(*inputs), expected)


def test_no_derivative():
    frame, alpha, background = cases.inputs(NAMED["odd"])

    def loss(alpha, scale):
        return (scale * upsample_blend(frame, alpha, background)).sum()

    with pytest.raises(NotImplementedError, match="bytes, which have no derivative; stop the grad"):
        jax.grad(loss)(jnp.asarray(alpha), 1.0)
    assert jax.grad(loss, argnums=1)(alpha, 1.0) > 0  # by something else, it has no part in it


FRAME, MASK, BACK = ((4, 6, 3), np.uint8), ((2, 3), np.float32), ((4, 6, 3), np.uint8)


@pytest.mark.parametrize(
    ("frame", "alpha", "background", "message"),
    [
        (((4, 6, 3), np.float32), MASK, BACK, r"got a frame of float32\[4, 6, 3\]; it is uint8"),
        (((4, 6, 4), np.uint8), MASK, BACK, r"frame of uint8\[4, 6, 4\]"),
        (((1, 2, 4, 6, 3), np.uint8), MASK, BACK, r"or uint8\[N, H, W, 3\]; convert it"),
        (((0, 6, 3), np.uint8), MASK, ((3,), np.uint8), "at least one pixel"),
        (FRAME, ((0, 3), np.float32), BACK, "at least one pixel"),
        (FRAME, ((2, 3), np.uint8), BACK, r"got an alpha of uint8\[2, 3\]; it is float32"),
        (FRAME, ((2, 3, 1, 1), np.float32), BACK, r"alpha of float32\[2, 3, 1, 1\]"),
        (FRAME, ((5, 3), np.float32), BACK, "at most as high and as wide; resize it first"),
        (FRAME, MASK, ((4, 5, 3), np.uint8), r"got a background of uint8\[4, 5, 3\] for a frame"),
        (FRAME, MASK, ((3,), np.int32), "uint8 and of the frame's size, uint8.3. for one colour"),
        (FRAME, MASK, ((5, 6, 3), np.float32), r"float32\[b, c, 3\], at most as high and as wide"),
        (FRAME, MASK, ((0, 6, 3), np.float32), r"got a background of float32\[0, 6, 3\]"),
        (((2, 4, 6, 3), np.uint8), ((3, 2, 3), np.float32), BACK, r"batches of \[2, 3\]; those"),
    ],
)
def test_errors_say_what_was_got_the_rule_and_the_remedy(frame, alpha, background, message):
    inputs = [np.zeros(shape, dtype) for shape, dtype in (frame, alpha, background)]
    with pytest.raises(ValueError, match=message):
        upsample_blend(*inputs)


def test_rgba_is_not_in_place():
    frame, alpha, _ = cases.inputs(NAMED["odd"])
    with pytest.raises(ValueError, match="in_place=True without a background; RGBA has more bytes"):
        upsample_blend(frame, alpha, None, in_place=True)


def test_none_is_xla_on_a_cpu():
    inputs = cases.inputs(NAMED["prime"])
    np.testing.assert_array_equal(
        upsample_blend(*inputs), upsample_blend(*inputs, implementation="xla")
    )
    result = upsample_blend(*inputs, implementation="reference")
    assert (upsample_blend(*inputs) != result).any(), "the integers are told from the floats"
