"""The losses of other libraries, on the same numbers: `make golden` writes `loss_peers.json`.

They know no ignored pixels, or not all do: what is ignored is taken out of the batch before.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).parent / "loss_peers.json"
CLASSES, IGNORE = 5, 255


def drawn() -> dict[str, np.ndarray]:
    """Logits float32 [3, 13, 11, C], labels of which a fifth is ignored, and class weights.

    Of a mask the logits are those of class 0, and the person is class 1.
    """
    rng = np.random.default_rng(5)
    shape = (3, 13, 11)
    labels = rng.integers(CLASSES, size=shape)
    return {
        "logits": rng.normal(0, 2, (*shape, CLASSES)).astype(np.float32),
        "labels": np.where(rng.uniform(size=shape) < 0.2, IGNORE, labels).astype(np.uint8),
        "weights": rng.uniform(0.2, 3, CLASSES).astype(np.float32),
    }


def measured() -> dict[str, tuple[float, list[list[float]]]]:
    """Each loss in double precision, and its gradient at the first pixels [4, C]."""
    import torch  # pyright: ignore[reportMissingImports]
    from kornia import losses as kornia  # pyright: ignore[reportMissingImports]
    from torch.nn import functional  # pyright: ignore[reportMissingImports]

    arrays = {name: torch.from_numpy(value) for name, value in drawn().items()}
    logits = arrays["logits"].double()
    labels, weights = arrays["labels"].long(), arrays["weights"].double()
    valid = labels != IGNORE
    person = (labels == 1).long()

    def kept(x: Any) -> tuple[Any, Any]:
        """The valid pixels as one picture of one row."""
        return x[valid].T[None, :, None], labels[valid][None, None]

    def first(x: Any) -> Any:
        return x[..., :1].movedim(-1, 1)

    losses: dict[str, Callable[[Any], Any]] = {
        "ce": lambda x: functional.cross_entropy(*kept(x)),
        "weighted ce": lambda x: functional.cross_entropy(
            x.movedim(-1, 1), labels, weights, ignore_index=IGNORE
        ),
        "dice": lambda x: kornia.dice_loss(*kept(x), average="macro", eps=0.0),
        "focal": lambda x: (
            kornia.focal_loss(*kept(x), alpha=None, gamma=2.0, reduction="sum") / valid.sum()
        ),
        "lovasz": lambda x: kornia.lovasz_softmax_loss(*kept(x)),
        "mask bce": lambda x: functional.binary_cross_entropy_with_logits(
            first(x)[:, 0], person.double()
        ),
        "mask focal": lambda x: kornia.binary_focal_loss_with_logits(
            first(x), person[:, None], alpha=None, gamma=2.0, reduction="mean"
        ),
        "mask lovasz": lambda x: kornia.lovasz_hinge_loss(first(x), person),
    }
    found = {}
    for name, loss in losses.items():
        x = logits.clone().requires_grad_()
        value = loss(x)
        value.backward()
        found[name] = (float(value.detach()), x.grad[0, 0, :4].tolist())
    return found


if __name__ == "__main__":
    FILE.write_text(json.dumps(measured()) + "\n")
