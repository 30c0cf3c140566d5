"""What the fully convolutional form saves: a classifier of patches, slid or convolved.

Both give the same map at the network's stride of 16 (Long et al., 2015); a slid window can also be
placed more densely, at the price of one more window each.

python benchmarks/sliding_window.py [--size 120 160] [--strides 16 8] [--seconds 20]
"""

import argparse
import dataclasses
from typing import Any

import harness
import numpy as np
from flax import nnx
from rich.table import Table

from segjax.models import create_model


@dataclasses.dataclass(frozen=True)
class Options:
    size: tuple[int, int]
    strides: tuple[int, ...]
    seconds: float


def main(options: Options) -> None:
    height, width = options.size
    pictures = np.random.default_rng(0).uniform(size=(4, 1, height, width, 3)).astype(np.float32)
    forms: dict[str, dict[str, Any]] = {"convolved": {"convolved": True}}
    forms |= {f"slid by {stride}": {"stride": stride} for stride in options.strides}

    def turn(**decoder_options: Any) -> harness.Turn:
        model = create_model("patch_classifier", num_classes=21, decoder_options=decoder_options)
        model.eval()
        graph, state = nnx.split(model)
        return harness.jax_turn(
            lambda x: nnx.merge(graph, state)(x), [(picture,) for picture in pictures]
        )

    spreads, failed = harness.take_turns(
        {name: turn(**options) for name, options in forms.items()}, seconds=options.seconds, least=3
    )
    table = Table("form", "windows", "ms a picture", "times the convolved")
    for name, options_ in forms.items():
        stride = options_.get("stride", 16)
        if name in failed:
            table.add_row(name, "", failed[name], "")
            continue
        took = spreads[name].median_ms
        windows = -(-height // stride) * -(-width // stride)
        ratio = took / spreads["convolved"].median_ms
        table.add_row(name, str(windows), f"{took:.1f}", f"{ratio:.1f}")
    harness.SCREEN.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, nargs=2, default=(120, 160), metavar=("H", "W"))
    parser.add_argument("--strides", type=int, nargs="+", default=(16, 8))
    parser.add_argument("--seconds", type=float, default=20.0)
    main(Options(**vars(parser.parse_args())))
