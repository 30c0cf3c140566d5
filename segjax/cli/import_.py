"""`segjax import`: weights of torchvision and Hugging Face as ours."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from segjax import weights
from segjax.interop import import_weights


@dataclass(frozen=True)
class Options:
    """Turn weights of PyTorch into weights of segjax: a whole model's, or an encoder's alone.

    The file is read as numbers; nothing in it is executed, and PyTorch is not needed. Of a
    classifier the last layers are left out, and named.

    Examples:
      segjax import resnet50-11ad3fa6.pth --encoder resnet50 --out resnet50.safetensors
      segjax train --config configs/mine.py --encoder-init resnet50.safetensors
      segjax import deeplabv3_resnet50_coco-cd0a2569.pth --model deeplabv3 --encoder resnet50 \\
        --out deeplabv3.safetensors
      segjax segment photo.jpg --model deeplabv3.safetensors --out masks
    """

    file: tyro.conf.Positional[Path]
    """A .pth or .pt file with a state dictionary, or .safetensors."""
    out: Path
    """The .safetensors file to write."""
    model: str = ""
    """Name of the model, such as deeplabv3, lraspp, segformer, hrnet or fcn_head (torchvision's
    FCN). Without one, the encoder alone is imported."""
    encoder: str = ""
    """Name of the encoder, such as resnet50; by default that of the model's paper."""


def main(options: Options) -> None:
    """Imports and says what was left out.

    Raises:
      SegjaxError: the file is broken, or its names or shapes are not those of such a network.
    """
    imported = import_weights(options.file, model=options.model, encoder=options.encoder)
    weights.write(options.out, imported.arrays, imported.config, {"source": options.file.name})
    count = sum(array.size for array in imported.arrays.values())
    print(f"{len(imported.arrays)} tensors with {count:,} numbers are in {options.out}")
    if imported.left_out:
        print(f"left out, having no place in it: {', '.join(imported.left_out)}")
