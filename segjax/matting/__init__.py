"""Frame → composited frame, all in JAX: shrink, network, smoothing, refinement, effect, blend."""

from segjax.matting.effects import Effect
from segjax.matting.stream import AlphaClip, Composite, Matting

__all__ = ["AlphaClip", "Composite", "Effect", "Matting"]
