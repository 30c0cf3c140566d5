"""Decoders: an encoder's features → logits.

Contract: `Decoder(info, num_classes, *, rngs=…)` with the `FeatureInfo` of the maps that it takes,
and whatever else it varies;

* `levels` (of the class): the levels it needs, finest first; () for all that there are, (-1,) for
  the coarsest one;
* `multiple` (of the class): what the sides of a picture must be multiples of;
* `encoder` (of the class): name and options of the encoder that it was published with; the options
  are those of the encoder's whole family;
* `margin` (of the class), where there is one: see `segjax.models.encoders`;
* `__call__(features, size)`: logits [N, *size, num_classes] for a picture of `size`.

A new one is one file with a table `VARIANTS`, and one line here.
"""

from segjax.models.registry import Registry

DECODERS = Registry(
    "model",
    __name__,
    {
        "deeplab": ("deeplabv1", "deeplabv2", "deeplabv3", "deeplabv3plus"),
        "fcn": ("fcn32s", "fcn16s", "fcn8s", "fcn_head", "fcn_auxiliary"),
        "fpn": ("fpn",),
        "hrnet": ("hrnet",),
        "lraspp": ("lraspp",),
        "patch_classifier": ("patch_classifier",),
        "segformer": ("segformer",),
        "segnet": ("segnet",),
        "skip_aspp": ("skip_aspp",),
        "unet": ("unet", "unet_valid"),
    },
)
