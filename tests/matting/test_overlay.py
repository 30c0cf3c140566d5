"""An overlay between the room and the person, against float64."""

import jax
import numpy as np
import pytest
from matting_fakes import released, resized, scene

from segjax.matting import Effect, Matting
from segjax.matting.overlay import over, under

pytestmark = pytest.mark.usefixtures("quick_compile")

SIZE = (64, 96)


def layer():
    """Opaque above, half seen through at the left, nothing elsewhere."""
    opacity = np.zeros((*SIZE, 3))
    opacity[:, :30] = 0.5
    opacity[:20] = 1
    return np.rint(np.stack([opacity * (200, 40, 60), 255 * (1 - opacity)])).astype(np.uint8)


def test_it_lies_over_the_blurred_room():
    small = np.random.default_rng(0).random((8, 12, 3), np.float32)
    both = np.asarray(jax.jit(over)(layer(), small))
    adds, through = layer().astype(float)
    exact = adds + through / 255 * 255 * resized(small, *SIZE)
    assert both.dtype == np.uint8 and np.abs(both - exact).max() <= 2
    assert (both[:20] == (200, 40, 60)).all()


def test_it_lies_under_a_person_cut_out():
    random = np.random.default_rng(0)
    alpha = np.clip(2 * random.random((*SIZE, 1)) - 0.5, 0, 1)
    cut_out = np.concatenate([random.random((*SIZE, 3)) * (alpha > 0), alpha], -1)
    cut_out = np.rint(255 * cut_out).astype(np.uint8)
    cut_out[cut_out[..., 3] == 0] = 0
    both = np.asarray(jax.jit(under)(layer(), cut_out))
    (person, alpha), (adds, through) = np.split(cut_out / 255.0, [3], -1), layer() / 255.0
    opacity = alpha + (1 - alpha) * (1 - through[..., :1])
    colours = (alpha * person + (1 - alpha) * adds) / np.maximum(opacity, 1e-6)
    assert np.abs(both[..., 3:] - 255 * opacity).max() <= 0.51
    assert np.abs(both[..., :3] - 255 * colours)[opacity[..., 0] > 0].max() <= 0.51
    assert (both[opacity[..., 0] == 0] == 0).all()
    nothing = np.stack([np.zeros((*SIZE, 3), np.uint8), np.full((*SIZE, 3), 255, np.uint8)])
    np.testing.assert_array_equal(jax.jit(under)(nothing, cut_out), cut_out)


@pytest.mark.parametrize("kind", ["blur", "transparent"])
def test_the_step_lays_it_behind_the_person(kind):
    frame = scene(*SIZE)
    matting = Matting(released(), Effect(kind, overlaid=True))
    matting.prepare(*SIZE)
    with jax.no_tracing(True):
        composite = matting(frame, layer(), 0)
    shown = resized(composite.alpha, *SIZE)
    assert composite.image.shape == (*SIZE, 4 if kind == "transparent" else 3)
    image, nobody = composite.image[..., :3], shown == 0
    assert (image[:20][nobody[:20]] == (200, 40, 60)).all() and nobody[:20].any()
    assert (image[shown == 1] == frame[shown == 1]).all() and (shown == 1).any()
    if kind == "transparent":
        assert set(composite.image[nobody][:, 3]) == {0, 127, 255}


@pytest.mark.parametrize("kind", ["color", "picture"])
def test_a_picture_has_it_in_itself(kind):
    with pytest.raises(ValueError, match=f"overlaid: got it for '{kind}'; lay it over the picture"):
        Effect(kind, overlaid=True)
