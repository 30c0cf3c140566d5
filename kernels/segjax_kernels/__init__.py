"""Operations that make a frame cheap: bytes in, bytes out, in one pass.

One folder an operation, with the same cast of files in each:

  * `api.py`: the public function: its contract, its checks and its implementations by preference;
  * `reference.py`: the operation in plain `jax.numpy`; it is the specification;
  * `xla.py`: the fast form that every platform of XLA can run;
  * `native.py`: the form in C for CPUs, where `cpu/` is built;
  * `triton_kernel.py`: the form for NVIDIA GPUs, imported only where it is wanted;
  * `cases.py`: the sizes, each with a name, that tests and benchmarks share.

`dispatch.py` holds the rule behind every `implementation=`, `tuning.py` the one behind every
`config=`. `autotune` searches for the best configs on the GPU at hand. `holes.py`, `islands.py`,
`box.py`, `lines.py` and `guided_upsample_blend/coefficients.py` work on masks, which are small.
"""

from segjax_kernels.box import box
from segjax_kernels.guided_upsample_blend.api import guided_upsample_blend
from segjax_kernels.guided_upsample_blend.coefficients import guided_coefficients
from segjax_kernels.holes import fill_holes
from segjax_kernels.islands import drop_islands
from segjax_kernels.lines import fit_lines
from segjax_kernels.preprocess.api import preprocess
from segjax_kernels.search import autotune
from segjax_kernels.tuning import KernelConfig
from segjax_kernels.upsample_blend.api import upsample_blend
from segjax_kernels.upsample_blend.reference import fade

__all__ = [
    "KernelConfig",
    "autotune",
    "box",
    "drop_islands",
    "fade",
    "fill_holes",
    "fit_lines",
    "guided_coefficients",
    "guided_upsample_blend",
    "preprocess",
    "upsample_blend",
]
