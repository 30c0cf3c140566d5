"""Tiles: every pixel is covered, seams vanish, sizes are free."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segjax.postprocess import predict_tiled


def brightness(pixels):
    return pixels[..., 0].astype(np.float32) / 255


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(st.integers(1, 70), st.integers(1, 70)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.floats(0, 0.9),
)
def test_a_map_of_pixels_alone_comes_back_as_it_is(size, tile, overlap):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    found = predict_tiled(brightness, pixels, tile, overlap=overlap)
    np.testing.assert_allclose(found, brightness(pixels), atol=1e-5)


def test_several_labels_and_odd_edges():
    pixels = np.random.default_rng(0).integers(0, 256, (50, 33, 3), np.uint8)
    found = predict_tiled(lambda p: p.astype(np.float32), pixels, (16, 16))
    np.testing.assert_allclose(found, pixels, atol=1e-3)


def test_tiles_that_disagree_are_blended_without_a_step():
    calls = iter(range(100))
    found = predict_tiled(
        lambda p: np.full(p.shape[:2], next(calls) % 2, np.float32),
        np.zeros((32, 200, 3), np.uint8),
        (32, 32),
        overlap=0.5,
    )
    assert np.abs(np.diff(found, axis=1)).max() < 0.15 and np.ptp(found) > 0.5


def test_bad_input_is_answered():
    pixels = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="overlap: got 1"):
        predict_tiled(brightness, pixels, (4, 4), overlap=1)
    with pytest.raises(ValueError, match="no side may be 0"):
        predict_tiled(brightness, pixels[:0], (4, 4))
    with pytest.raises(ValueError, match="sizes agree"):
        predict_tiled(lambda p: brightness(p)[1:], pixels, (4, 4))
