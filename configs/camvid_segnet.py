"""SegNet (Badrinarayanan et al., 2017): VGG-16 with batch norm, maxima returned to their places.

    python train.py --config configs/camvid_segnet.py --compute bfloat16

Recipe: `configs/recipes/camvid.py`, but for four times the steps: after 1,500 it knows no class
that is rare. Cost and result: `docs/results.md`.
"""

import dataclasses

from recipes.camvid import VGG, recipe

config = dataclasses.replace(
    recipe(
        "camvid_segnet",
        "vgg16_bn",
        "segnet",
        encoder_options={"widths": VGG},
        decoder_options={},
    ),
    steps=6_000,
    eval_every=500,
)
