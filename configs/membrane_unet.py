"""U-Net's own task (Ronneberger et al., 2015): cells against their membranes, electron microscopy.

    python train.py --config configs/membrane_unet.py

24 pictures of ISBI 2012's 30 to train on, 6 to validate on; crops of half the side at the full
resolution, turned, mirrored and deformed. A quarter as wide as published. Cost and result:
`docs/results.md`.
"""

from segjax.config import (
    Bucket,
    DataConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    SceneAugmentation,
    TrainConfig,
)

config = TrainConfig(
    name="membrane_unet",
    model=ModelConfig(
        encoder="unet",
        decoder="unet",
        area=0,
        encoder_options={"widths": (16, 32, 64, 96, 128)},
        decoder_options={"widths": (16, 32, 64, 96)},
    ),
    data=DataConfig(
        root="../shared/data/membrane",
        buckets=(Bucket(256, 256, 1.0),),
        batch_size=4,
        # A scale of 2 shows half of the picture's side in a crop of half its size.
        augmentation=SceneAugmentation(
            smallest=1.7, largest=2.4, upside_down=0.5, rotation=180.0, elastic=0.02, grey=1.0
        ),
    ),
    loss=LossConfig(bce=1.0, dice=0.5, edge=0.5),
    optimizer=OptimizerConfig(learning_rate=2e-3, ema_decay=0.99),
    steps=2_000,
    log_every=25,
    eval_every=200,
    save_every=100,
    keep=2,
)
