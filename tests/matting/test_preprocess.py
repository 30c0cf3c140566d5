import cv2
import jax
import numpy as np
import pytest
from matting_fakes import area_weights, bilinear_weights, resized

from segjax.matting.preprocess import shrink

SHRINK = jax.jit(shrink, static_argnums=(1, 2))

CASES = {
    "whole factors": ((60, 80), (20, 16)),
    "one whole factor": ((60, 81), (20, 16)),
    "small factors": ((48, 64), (16, 22)),
    "half factors": ((45, 75), (6, 10)),
    "barely smaller": ((33, 34), (32, 32)),
    "the same": ((16, 32), (16, 32)),
    "primes": ((131, 197), (13, 29)),
    "one pixel left": ((37, 41), (1, 1)),
    "very large factors": ((700, 16), (2, 16)),
    "odd": ((107, 191), (18, 32)),
}


@pytest.mark.parametrize("name", CASES)
def test_shrink_is_the_mean_of_the_area(name):
    (rows, columns), (height, width) = CASES[name]
    frame = np.random.default_rng(0).integers(0, 256, (rows, columns, 3), np.uint8)
    small = np.asarray(SHRINK(frame, height, width))
    assert small.dtype == np.float32
    expected = resized(frame, height, width, area_weights) / 255
    np.testing.assert_allclose(small, expected, atol=1e-6)


def test_shrink_is_what_the_network_was_trained_on():
    frame = np.random.default_rng(1).integers(0, 256, (240, 427, 3), np.uint8)
    expected = cv2.resize(frame, (48, 32), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(255 * SHRINK(frame, 32, 48), expected, atol=0.51)


def test_extremes_are_exact():
    frame = np.full((50, 90, 3), 255, np.uint8)
    np.testing.assert_array_equal(np.round(SHRINK(frame, 16, 32), 6), 1)
    np.testing.assert_array_equal(SHRINK(0 * frame, 16, 32), 0)


@pytest.mark.parametrize("size", [(40, 48), (16, 48), (31, 18)])
def test_a_tiny_frame_is_enlarged(size):
    frame = np.random.default_rng(2).integers(0, 256, (16, 17, 3), np.uint8)
    expected = resized(frame, *size, weights=bilinear_weights) / 255
    np.testing.assert_allclose(SHRINK(frame, *size), expected, atol=1e-5)
