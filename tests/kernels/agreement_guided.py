"""What the tests of `guided_upsample_blend` hold every implementation to."""

import numpy as np

from segjax_kernels.guided_upsample_blend import cases

# What a byte may be off by, and the share of bytes that may be off. Floats err only where the exact
# result lies halfway between two bytes; the integers take brightness to 0.3 levels, which the
# steepest lines here make 1.5 / 255 of alpha, beside the rounding of lines, alpha and result.
OFF = {"triton": (1, 0.001), "reference": (1, 0.001), "xla": (5, 0.2), "c": (5, 0.2)}
INTEGERS = ("xla", "c")


def check(result, inputs, implementation, faint=0.0):
    exact, line = cases.oracle(**inputs, faint=faint)
    assert result.shape == exact.shape and result.dtype == np.uint8
    result, exact = result.astype(np.float64), np.rint(exact)
    if inputs["background"] is None and implementation in INTEGERS:
        # Where next to nothing is seen, colours may differ, or be there at all.
        result[..., :3] *= result[..., 3:] / 255
        exact[..., :3] *= exact[..., 3:] / 255
    off = np.abs(result - exact)
    most, share = OFF[implementation]
    assert off.max() <= most
    assert (off >= 1).mean() <= share
    # The integers are off where a line is about to reach 0 or 1.
    margin = 0.03 if implementation in INTEGERS and inputs["slope"].any() else 0
    solid = np.broadcast_to((line <= -margin) | (line >= 1 + margin), result.shape)
    # On a CPU a small background becomes bytes twice, before and after it is upsampled.
    small = inputs["background"] is not None and inputs["background"].dtype == np.float32
    at_most = 1 if small and implementation in INTEGERS else 0
    assert off[solid].max(initial=0) <= at_most
