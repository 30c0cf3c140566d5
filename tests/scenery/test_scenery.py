"""Drawn backgrounds: the same at every size, smooth where walls are, and each by its own name."""

import cv2
import numpy as np
import pytest

from segjax import scenery
from segjax.errors import SegjaxError
from segjax.scenery.canvas import Canvas

NAMES = list(scenery.SCENES)


@pytest.mark.parametrize("name", NAMES)
def test_a_scene_looks_the_same_at_every_size(name: str) -> None:
    """Half the size is the picture at half its size, but for grain and what is finer than a
    pixel, and for the ripples and leaves at an edge that moves by one."""
    large = scenery.draw(name, 144, 256)
    small = scenery.draw(name, 72, 128)
    halved = cv2.resize(large, (128, 72), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(float) - halved).mean() < 5
    np.testing.assert_array_equal(small, scenery.draw(name, 72, 128))


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_makes_another_picture(name: str) -> None:
    first, second = (scenery.draw(name, 36, 64, seed=seed) for seed in (0, 1))
    assert (first != second).mean() > 0.1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (53, 1), (17, 31), (64, 36)])
def test_awkward_sizes(name: str, size: tuple[int, int]) -> None:
    picture = scenery.draw(name, *size)
    assert picture.shape == (*size, 3) and picture.dtype == np.uint8


@pytest.mark.parametrize("name", NAMES)
def test_a_scene_has_light_and_shade_but_is_not_burnt_out(name: str) -> None:
    grey = scenery.draw(name, 72, 128).mean(2)
    assert grey.std() > 8
    assert (grey < 252).mean() > 0.99 and 30 < grey.mean() < 225


def test_a_smooth_wall_has_no_bands() -> None:
    """Where the light of the backdrop changes by less than a level a row, grain mixes the two."""
    rows = scenery.draw("studio", 360, 640)[100:104, 300:420, 0]
    assert (np.abs(np.diff(rows.astype(int), axis=1)) > 0).mean() > 0.3


def test_names_and_colours_that_do_not_exist() -> None:
    with pytest.raises(SegjaxError, match="no scene 'kitchen'; scenes are studio, blinds"):
        scenery.draw("kitchen", 9, 16)
    with pytest.raises(SegjaxError, match="only 'brand' takes one"):
        scenery.draw("dusk", 9, 16, color=(1, 2, 3))


def test_what_is_drawn_on_a_part_stands_where_it_would_on_the_whole() -> None:
    whole, other = Canvas(60, 100), Canvas(60, 100)
    whole.lay((1, 0, 0), whole.box(0.1, 0.2, 0.5, 0.7))
    part = other.part(0.1, 0.2, 0.5, 0.7)
    part.lay((1, 0, 0), part.box(0.1, 0.2, 0.5, 0.7))
    assert part.light.shape[1] < 40
    np.testing.assert_allclose(whole.light, other.light)
    triangle = np.array([(-0.4, 0.1), (0.3, 0.5), (-0.2, 0.8)])
    covered = whole.polygons([triangle])
    small = other.part(-0.4, 0.1, 0.3, 0.8).polygons([triangle])
    assert abs(covered.sum() - small.sum()) < 2 and covered.sum() > 100
    assert other.part(5, 0, 6, 1).light.size == 0
