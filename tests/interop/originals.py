"""torchvision's networks, for `make parity`."""

from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from golden import CLASSES, Case

# torchvision's compiled operators need the very PyTorch that they were built with. None of them is
# used here, so their registration may as well find nothing.
_register_fake: Any = torch.library.register_fake
_has_kernel: Any = torch._C._dispatch_has_kernel_for_dispatch_key


def _register_others(name: Any, *arguments: Any, **options: Any) -> Any:
    if isinstance(name, str) and name.startswith("torchvision::"):
        return lambda function: function
    return _register_fake(name, *arguments, **options)


torch.library.register_fake = _register_others
torch._C._dispatch_has_kernel_for_dispatch_key = lambda name, key: (
    name.startswith("torchvision::") or _has_kernel(name, key)
)
import torchvision  # noqa: E402  # pyright: ignore[reportMissingImports]

MODELS = {"fcn_head": "fcn", "deeplabv3": "deeplabv3", "lraspp": "lraspp"}


def build(case: Case) -> Any:
    """The original with weights of its own."""
    if not case.model:
        return getattr(torchvision.models, case.encoder)(weights=None)
    name = f"{MODELS[case.model]}_{case.encoder}"
    options = {} if case.model == "lraspp" else {"aux_loss": True}
    make = getattr(torchvision.models.segmentation, name)
    return make(weights=None, weights_backbone=None, num_classes=CLASSES, **options)


def load(model: Any, arrays: dict[str, np.ndarray]) -> None:
    """Gives the original these weights, and puts it into inference."""
    model.load_state_dict({name: torch.from_numpy(one) for name, one in arrays.items()})
    model.eval()


@torch.no_grad()
def maps(case: Case, model: Any, x: np.ndarray) -> list[np.ndarray]:
    """The original's logits, or the features that our encoder gives, NHWC."""
    y = torch.from_numpy(x).permute(0, 3, 1, 2)
    if case.model:
        mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        found = model((y - mean[:, None, None]) / deviation[:, None, None])
        wanted = [found["out"]]
        # Of MobileNetV3 the auxiliary head stands on another level than ours would.
        if "aux" in found and case.encoder.startswith("resnet"):
            wanted.append(found["aux"])
    elif case.encoder.startswith("resnet"):
        wanted = [model.relu(model.bn1(model.conv1(y)))]
        y = model.maxpool(wanted[0])
        for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
            y = stage(y)
            wanted.append(y)
    else:
        outputs = []
        for layer in model.features:
            y = layer(y).clone()  # before a ReLU changes it in place
            outputs.append(y)
        wanted = [outputs[at] for at in _ends(case.encoder, model)]
    return [one.permute(0, 2, 3, 1).numpy() for one in wanted]


def _ends(encoder: str, model: Any) -> list[int]:
    """Which layers of `features` give the maps."""
    if encoder.startswith("vgg"):
        pools = [at for at, one in enumerate(model.features) if isinstance(one, torch.nn.MaxPool2d)]
        return [*(at - 1 for at in pools), pools[-1]]
    return {
        "mobilenet_v2": [1, 3, 6, 13, 17],
        "mobilenet_v3_small": [0, 1, 3, 8, 12],
        "mobilenet_v3_large": [1, 3, 6, 12, 16],
    }.get(encoder, [1, 2, 3, 5, 7])


def shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """Of all tensors in the original's state dictionary."""
    return {name: tuple(one.shape) for name, one in model.state_dict().items()}
