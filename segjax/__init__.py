"""segjax: real-time semantic segmentation in JAX.

The public names are imported when first used, so that `import segjax` costs nothing and a command
imports only what it runs.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segjax.errors import SegjaxError
    from segjax.models import create_model
    from segjax.weights import load, load_encoder

__version__ = "0.1.0"

_HOMES = {
    "SegjaxError": "segjax.errors",
    "create_model": "segjax.models",
    "load": "segjax.weights",
    "load_encoder": "segjax.weights",
}

__all__ = ["SegjaxError", "__version__", "create_model", "load", "load_encoder"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'segjax' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
