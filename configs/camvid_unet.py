"""U-Net (Ronneberger et al., 2015), padded and with batch norm.

    python train.py --config configs/camvid_unet.py

Recipe: `configs/recipes/camvid.py`; cost and result: `docs/results.md`.
"""

from recipes.camvid import recipe

config = recipe(
    "camvid_unet",
    "unet",
    "unet",
    encoder_options={"widths": (16, 32, 64, 96, 128)},
    decoder_options={"widths": (16, 32, 64, 96)},
)
