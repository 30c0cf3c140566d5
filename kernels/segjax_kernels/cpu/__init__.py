"""The step's parts in C, for CPUs: optional, and about 1.5 times as fast as XLA's.

    python -m segjax_kernels.cpu.build

compiles the C files here with the compiler at hand for this very processor and keeps the library
in the user's cache folder; from then on it is used. Nothing needs it: XLA computes the same.
"""

from segjax_kernels.cpu.api import available, call, convolution

__all__ = ["available", "call", "convolution"]
