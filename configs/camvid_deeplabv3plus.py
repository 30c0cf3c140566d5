"""DeepLabv3+ (Chen et al., 2018) on MobileNetV3 small at stride 16.

    python train.py --config configs/camvid_deeplabv3plus.py

Recipe: `configs/recipes/camvid.py`; cost and result: `docs/results.md`.
"""

from recipes.camvid import recipe

config = recipe(
    "camvid_deeplabv3plus",
    "mobilenet_v3_small",
    "deeplabv3plus",
    encoder_options={},
    decoder_options={"width": 96, "low_width": 32},
)
