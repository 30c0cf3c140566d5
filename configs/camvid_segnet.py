"""SegNet (Badrinarayanan et al., 2017): VGG-16 with batch norm, maxima returned to their places.

    python train.py --config configs/camvid_segnet.py

Recipe: `configs/recipes/camvid.py`; cost and result: `docs/results.md`.
"""

from recipes.camvid import VGG, recipe

config = recipe(
    "camvid_segnet",
    "vgg16_bn",
    "segnet",
    encoder_options={"widths": VGG},
    decoder_options={},
)
