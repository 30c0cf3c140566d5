"""Convolutions of one picture on a CPU, in C: optional, and about 1.6 times as fast as XLA's.

    python -m segjax_kernels.cpu.build

compiles `native.c` with the C compiler at hand for this very processor and keeps the library in
the user's cache folder; from then on it is used. Nothing needs it: XLA computes the same.
"""

from segjax_kernels.cpu.api import available, convolution

__all__ = ["available", "convolution"]
