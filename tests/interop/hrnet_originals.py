"""timm's HRNet, which has the authors' names, for `make parity`; see `originals.py`."""

from typing import Any

import numpy as np
import originals  # before timm, which imports torchvision
import timm  # pyright: ignore[reportMissingImports]
import torch  # pyright: ignore[reportMissingImports]
from golden import CLASSES, Case
from torch import nn  # pyright: ignore[reportMissingImports]

load, shapes = originals.load, originals.shapes


def build(case: Case) -> Any:
    """timm's classifier, made to resize bilinearly, as it does for segmentation.

    A model gets the head of the paper's Figure 4b, under the names that the authors gave it.
    """
    model: Any = timm.create_model(case.encoder)
    for part in model.modules():
        if isinstance(part, nn.Upsample):
            part.mode, part.align_corners = "bilinear", False
    if case.model:
        width = sum(model.stage4_cfg["num_channels"])
        for name in ("incre_modules", "downsamp_modules", "final_layer", "classifier"):
            delattr(model, name)
        model.last_layer = nn.Sequential(
            nn.Conv2d(width, width, 1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, CLASSES, 1),
        )
    return model


@torch.no_grad()
def maps(case: Case, model: Any, x: np.ndarray) -> list[np.ndarray]:
    """The branches after stage 4, or logits; the picture's sides must be multiples of 32. NHWC."""
    y = torch.from_numpy(x).permute(0, 3, 1, 2)
    if case.model:
        mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        y = (y - mean[:, None, None]) / deviation[:, None, None]
    y = model.act1(model.bn1(model.conv1(y)))
    found = model.stages(model.act2(model.bn2(model.conv2(y))))
    if case.model:
        resized = [_resized(one, found[0].shape[2:]) for one in found]
        found = [_resized(model.last_layer(torch.cat(resized, 1)), x.shape[1:3])]
    return [one.permute(0, 2, 3, 1).numpy() for one in found]


def _resized(x: torch.Tensor, size: Any) -> torch.Tensor:
    return nn.functional.interpolate(x, tuple(size), mode="bilinear", align_corners=False)
