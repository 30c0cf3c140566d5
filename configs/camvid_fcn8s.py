"""FCN-8s (Long et al., 2015) on VGG-16, with batch norm since it starts from scratch.

    python train.py --config configs/camvid_fcn8s.py

Recipe: `configs/recipes/camvid.py`; cost and result: `docs/results.md`.
"""

from recipes.camvid import VGG, recipe

config = recipe(
    "camvid_fcn8s",
    "vgg16_bn",
    "fcn8s",
    encoder_options={"widths": VGG},
    decoder_options={"widths": (256, 256), "kernel": 3},
)
