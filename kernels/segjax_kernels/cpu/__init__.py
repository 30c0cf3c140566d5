"""The step's parts in C, for CPUs: optional; by XLA alone a step takes a third to a half longer.

    python -m segjax_kernels.cpu.build

compiles the C files here with the compiler at hand for this very processor and keeps the library
in the user's cache folder; from then on it is used. Nothing needs it: XLA computes the same.
"""

from segjax_kernels.cpu.api import (
    available,
    call,
    convolution,
    inverted_residual,
    prepare_kernel,
    trains,
)

__all__ = ["available", "call", "convolution", "inverted_residual", "prepare_kernel", "trains"]
