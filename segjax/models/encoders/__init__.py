"""Backbones. An encoder maps float [N, H, W, 3] to one feature map a level.

Contract: `Encoder(*, output_stride=…, rngs=…)` and whatever else the family varies;

* `info`: its maps, a `FeatureInfo`, finest first; `__call__` gives them in that order;
* `output_stride`: the coarsest stride. A smaller one than the family's own trades strides for
  dilation: the same weights give the same features, more of them;
* `multiple`: what the sides of a picture must be multiples of; 1 where any size will do;
* `normalization`: the mean and the standard deviation of the colours it expects, of [0, 1].

A new family is one file with a table `VARIANTS`, and one line here.
"""

from segjax.models.registry import Registry

ENCODERS = Registry(
    "encoder",
    __name__,
    {
        "dilated_resnet": ("dilated_resnet",),
        "hybrid": ("hybrid",),
        "mobilenet_v3": ("mobilenet_v3",),
    },
)
