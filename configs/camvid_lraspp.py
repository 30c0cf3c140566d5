"""LR-ASPP (Howard et al., 2019) on MobileNetV3 large at stride 16.

    python train.py --config configs/camvid_lraspp.py

Recipe: `configs/recipes/camvid.py`; cost and result: `docs/results.md`.
"""

from recipes.camvid import recipe

config = recipe(
    "camvid_lraspp",
    "mobilenet_v3_large",
    "lraspp",
    encoder_options={},
    decoder_options={},
)
