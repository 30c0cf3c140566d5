"""Operations that make a frame cheap: bytes in, bytes out, in one pass.

One folder an operation, with the same cast of files in each:

  * `api.py`: the public function: its contract, its checks and its implementations by preference;
  * `reference.py`: the operation in plain `jax.numpy`; it is the specification;
  * `xla.py`: the fast form that every platform of XLA can run;
  * `triton_kernel.py`: the form for NVIDIA GPUs, imported only where it is wanted;
  * `cases.py`: the sizes, each with a name, that tests and benchmarks share.

`dispatch.py` holds the rule behind every `implementation=`.
"""

from segjax_kernels.upsample_blend.api import upsample_blend

__all__ = ["upsample_blend"]
