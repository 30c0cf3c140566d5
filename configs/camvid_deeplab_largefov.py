"""DeepLab-LargeFOV (Chen et al., 2015): atrous VGG-16 at stride 8, one 3×3 of rate 12.

    python train.py --config configs/camvid_deeplab_largefov.py

Recipe: `configs/recipes/camvid.py`; cost and result: `docs/results.md`.
"""

from recipes.camvid import VGG, recipe

config = recipe(
    "camvid_deeplab_largefov",
    "vgg16_bn",
    "deeplabv1",
    encoder_options={"widths": VGG},
    decoder_options={"widths": (256, 256)},
)
