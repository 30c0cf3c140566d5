"""The one recipe by which the classics are compared on CamVid: what `camvid_*.py` share.

    python train.py --config configs/camvid_segnet.py

11 classes, the split of 367/101/233 pictures, from scratch: no weights from ImageNet. Networks see
the picture at 192×256, half of its size, and their logits are enlarged to 360×480 before they are
compared with the labels. Encoders and heads are about a quarter as wide as published, and pictures
are seen 33 times, so that two CPU cores train a network in half an hour. Where a GPU is at hand,
leave out the widths and give `--data.buckets.0.height 360 --data.buckets.0.width 480 --model.area 0
--steps 20000`.
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

CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian",
    "bicycle",
)  # fmt: skip

VGG = (16, 32, 64, 96, 96)
"""Channels of VGG's five stages, published as 64, 128, 256, 512, 512."""


def recipe(
    name: str, encoder: str, decoder: str, *, encoder_options: dict, decoder_options: dict
) -> TrainConfig:
    """The run of a network; all but the network is the same."""
    return TrainConfig(
        name=name,
        model=ModelConfig(
            encoder=encoder,
            decoder=decoder,
            classes=len(CLASSES),
            area=192 * 256,
            encoder_options=encoder_options,
            decoder_options=decoder_options,
        ),
        data=DataConfig(
            root="../shared/data/camvid",
            ignore=(11,),
            names=CLASSES,
            buckets=(Bucket(192, 256, 1.0),),
            batch_size=8,
            augmentation=SceneAugmentation(smallest=0.8, largest=2.0),
        ),
        # Poles, signs and cyclists are a hundredth of the pixels and a third of the mean IoU: Dice
        # counts each class once. Weights by frequency made so short a run see them everywhere.
        loss=LossConfig(ce=1.0, dice=1.0, edge=0.0),
        optimizer=OptimizerConfig(
            learning_rate=3e-3, schedule="poly", weight_decay=0.02, ema_decay=0.99
        ),
        steps=1_500,
        log_every=25,
        eval_every=250,
        save_every=100,
        keep=2,
    )
