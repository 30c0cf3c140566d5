import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matting_fakes import disc

from segjax.matting import Effect
from segjax.matting.bokeh import bokeh_room
from segjax.matting.effects import blurred_room

BLUR, BOKEH = jax.jit(blurred_room), jax.jit(bokeh_room)
RED, BLUE = (1, 0, 0), (0, 0, 1)


def room(small, alpha, strength=0.5, blur=BLUR):
    """In bytes, as it is shown."""
    small, alpha = jnp.asarray(small, jnp.float32), jnp.asarray(alpha, jnp.float32)
    return np.rint(255 * np.asarray(blur(small, alpha, jnp.float32(strength))))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"kind": "blurr"},
            r"kind: got 'blurr'; known are blur, bokeh, color, pict",
        ),
        ({"kind": "blur", "strength": 0.0}, r"strength: got 0.0; it is above 0 and at most 1"),
        ({"kind": "blur", "strength": 1.5}, r"strength: got 1.5; it is above 0 and at most 1"),
        ({"kind": "blur", "strength": float("nan")}, r"strength: got nan; it is above 0"),
        ({"kind": "color", "color": (0, 0, 256)}, r"color: got \(0, 0, 256\); it is three numbers"),
        ({"kind": "color", "color": (0, 0)}, r"color: got \(0, 0\); it is three numbers from 0"),
    ],
)
def test_an_effect_is_one_of_the_known(fields, message):
    with pytest.raises(ValueError, match=message):
        Effect(**fields)


@pytest.mark.parametrize("blur", [BLUR, BOKEH])
@pytest.mark.parametrize("strength", [0.1, 1.0])
@pytest.mark.parametrize("mask", ["exact", "hard", "narrow"])
def test_the_person_does_not_bleed_into_the_room(strength, mask, blur):
    true = disc(72, 96, 40.3, 20)
    small = true[..., None] * RED + (1 - true[..., None]) * BLUE
    # "narrow": the mask calls room what is a mixture of both.
    alpha = {"exact": true, "hard": true > 0.5, "narrow": np.clip(2 * true - 1, 0, 1)}[mask]
    blurred = room(small, alpha, strength, blur)
    assert blurred[..., 0].max() <= 1
    assert blurred[..., 2].min() >= 254


def test_without_the_weights_there_is_a_halo():
    """The test above can fail: an ordinary blur of the same picture is purple around the disc."""
    true = disc(72, 96, 40.3, 20)
    small = true[..., None] * RED + (1 - true[..., None]) * BLUE
    assert room(small, np.zeros_like(true))[..., 0].max() > 100


def test_the_room_is_blurred_the_more_the_stronger():
    stripes = np.zeros((72, 96, 3))
    stripes[:, ::8] = stripes[:, 1::8] = 1
    contrast = [
        float(np.ptp(room(stripes, np.zeros((72, 96)), strength)[8:-8, 11:-11]))
        for strength in (0.1, 0.5, 1.0)
    ]
    assert contrast[0] > 1.5 * contrast[1] > 20 * contrast[2]


@pytest.mark.parametrize("blur", [BLUR, BOKEH])
def test_the_border_does_not_darken(blur):
    flat = room(np.full((72, 96, 3), 0.6), np.zeros((72, 96)), 1.0, blur)
    np.testing.assert_allclose(flat, 0.6 * 255, atol=1)


def test_far_inside_the_person_stands_the_mean_of_the_room():
    alpha = np.ones((72, 96))
    alpha[:, :12] = 0
    small = np.where(alpha[..., None] > 0, RED, BLUE)
    blurred = room(small, alpha, 0.1)
    assert (blurred[:, -8:] == (0, 0, 255)).all()


@pytest.mark.parametrize("blur", [BLUR, BOKEH])
@pytest.mark.parametrize("shape", [(72, 96), (16, 16), (17, 33), (1, 5)])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_nobody_and_nothing_but_a_person(shape, value, blur):
    blurred = room(np.full((*shape, 3), 0.5), np.full(shape, value), blur=blur)
    assert blurred.shape == (max(1, shape[0] // 2), shape[1] // min(2, min(shape)), 3)
    # Where everything is the person there is no room to show: black, and never shown.
    assert np.abs(blurred - (0 if value else 128)).max() <= 1


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_a_lamp_becomes_a_disc(strength):
    small = np.full((144, 256, 3), 0.1)
    small[60:66, 124:130] = 1
    nobody = np.zeros((144, 256))
    disc, bell = (room(small, nobody, strength, blur)[..., 0] for blur in (BOKEH, BLUR))
    row = disc[31]
    radius = 2 * (0.008 + strength * 0.042) * 128
    lit = row > (row.max() + row.min()) / 2
    assert lit.sum() == pytest.approx(2 * radius, abs=2.5)
    across = np.abs(np.arange(128) - 63)
    assert np.ptp(row[across < radius - 3]) < 0.15 * np.ptp(row), "as bright at its rim"
    assert (row[across > radius + 3] <= row.min() + 1).all(), "and nothing beyond"
    assert row.max() - row.min() > 2 * np.ptp(bell[31])


def test_a_lamp_keeps_its_hue():
    small = np.full((144, 256, 3), 0.02)
    small[60:66, 124:130] = (1, 0.7, 0.4)
    red, green, blue = room(small, np.zeros((144, 256)), 0.3, BOKEH)[31, 63]
    assert (green / red, blue / red) == pytest.approx((0.7, 0.4), abs=0.05)


def test_a_lamp_at_the_border_does_not_come_in_at_the_other():
    small = np.full((72, 96, 3), 0.1)
    small[:6] = small[:, :6] = 1
    blurred = room(small, np.zeros((72, 96)), 1.0, BOKEH)
    np.testing.assert_allclose(blurred[-10:, -10:], 0.1 * 255, atol=1)
