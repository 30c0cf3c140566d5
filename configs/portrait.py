"""The portrait network: one person in front of a camera, at about 192×336 pixels.

    python train.py --config configs/portrait.py --workdir runs/portrait

The data set's folder is `--data.root`. Cost and result of the released weights stand in their
model card, `segjax/assets/portrait/README.md`.
"""

from segjax.config import Bucket, DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    name="portrait",
    model=ModelConfig(
        encoder="hybrid",
        decoder="skip_aspp",
        area=192 * 336,
        encoder_options={
            "widths": (24, 48, 128),
            "depths": (0, 1),
            "expanded": 256,
            "dilations": (1, 2, 4),
            "context": 3,
        },
        decoder_options={"widths": (24, 48), "rates": (), "branch": 64},
    ),
    data=DataConfig(
        root="../shared/data/person",
        val=("val.txt", "webcam.txt"),
        favoured="webcam.txt",
        favour=3.0,
        # The shapes of webcams (16:9, 4:3), of photographs (3:2) and of phones, all of one area.
        buckets=(
            Bucket(192, 336, 0.25),
            Bucket(208, 304, 0.30),
            Bucket(224, 288, 0.15),
            Bucket(304, 208, 0.20),
            Bucket(336, 192, 0.05),
            Bucket(256, 256, 0.05),
        ),
    ),
    optimizer=OptimizerConfig(learning_rate=3e-3),
    steps=22_500,
)
