"""Decoders: features of an encoder → one map at the finest stride.

Contract: `Decoder(in_channels, strides, rngs=…)`, `out_channels`, and `stride` of the map.
"""

from segjax.models.decoders.skip_aspp import SkipASPP

DECODERS = {"skip_aspp": SkipASPP}
