"""Backbones. An encoder maps float [N, H, W, 3] to one feature map a level.

Contract: `Encoder(*, output_stride=…, rngs=…)` and whatever else the family varies;

* `info`: its maps, a `FeatureInfo`, finest first; `__call__` gives them in that order;
* `output_stride`: the coarsest stride. A smaller one than the family's own trades strides for
  dilation: the same weights give the same features, more of them;
* `multiple`: what the sides of a picture must be multiples of; 1 where any size will do;
* `margin`, where there is one: pixels of surroundings that each map keeps on every side, for a
  decoder that consumes them and says so by the same number;
* `normalization`: the mean and the standard deviation of the colours it expects, of [0, 1];
* `adopted(name)`, where there is one: beginnings of names, ours → theirs, that it takes over from
  the encoder of that name; empty for any other.

A new family is one file with a table `VARIANTS`, and one line here.
"""

from segjax.models.registry import Registry

ENCODERS = Registry(
    "encoder",
    __name__,
    {
        "dense_lite": ("dense_lite",),
        "dilated_resnet": ("dilated_resnet",),
        "efficientnet": tuple(f"efficientnet_b{index}" for index in range(8)),
        "efficientnet_lite": tuple(f"efficientnet_lite{index}" for index in range(5)),
        "hrnet": ("hrnet_w18", "hrnet_w32", "hrnet_w48"),
        "hybrid": ("hybrid",),
        "mix_transformer": ("mit_b0", "mit_b1", "mit_b2", "mit_b3", "mit_b4", "mit_b5"),
        "mobilenet_v2": ("mobilenet_v2",),
        "mobilenet_v3": ("mobilenet_v3_large", "mobilenet_v3_small"),
        "pixels": ("pixels",),
        "resnet": ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
        "unet": ("unet", "unet_valid"),
        "vgg": tuple(f"vgg{layers}{norm}" for layers in (11, 13, 16, 19) for norm in ("", "_bn")),
    },
)
