"""What the tests of `upsample_blend` hold every implementation to."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from segjax_kernels.upsample_blend import cases

# The share of bytes that may be off by 1 and by 2. Floats err only where the exact result lies
# halfway between two bytes; the integers round alpha to bytes twice, and by weights of 8 bits.
OFF = {"triton": (0.001, 0), "reference": (0.001, 0), "xla": (1, 0.01), "c": (1, 0.01)}


def check(result, inputs, implementation, faint=0.0):
    """The result of one frame against the float64 oracle, and exactly so where alpha is 0 or 1."""
    frame, _, background = inputs
    exact, alpha = cases.oracle(*inputs, faint=faint)
    assert result.shape == exact.shape and result.dtype == np.uint8
    off = np.abs(result - np.rint(exact))
    by_one, by_two = OFF[implementation]
    assert off.max() <= (1 if not by_two else 3 if faint else 2)
    assert (off == 1).mean() <= by_one
    assert (off == 2).mean() <= (0.1 if faint and by_two else by_two)
    shown, hidden = (np.broadcast_to(alpha == value, frame.shape) for value in (1, 0))
    np.testing.assert_array_equal(result[..., :3][shown], frame[shown])
    if background is None:
        np.testing.assert_array_equal(result[~np.broadcast_to(result[..., 3:] > 0, exact.shape)], 0)
        assert (result[alpha[..., 0] == 1, 3] == 255).all()
        assert (result[alpha[..., 0] == 0, 3] == 0).all()
    elif background.dtype == np.float32:
        assert (off[hidden] <= 1).all()
    else:
        expected = np.broadcast_to(background, frame.shape)
        np.testing.assert_array_equal(result[hidden], expected[hidden])


def run_apart(script, *arguments):
    """Runs a script of this folder in a process of its own; returns what it printed."""
    command = [sys.executable, Path(__file__).parent / script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    return done.stdout
