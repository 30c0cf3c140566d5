"""segjax: real-time semantic segmentation in JAX.

The public names are imported when first used, so that `import segjax` costs nothing and a command
imports only what it runs.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segjax.errors import SegjaxError
    from segjax.weights import load

__version__ = "0.1.0"

_HOMES = {"load": "segjax.weights", "SegjaxError": "segjax.errors"}

__all__ = ["SegjaxError", "__version__", "load"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'segjax' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
