"""`segjax export`: a network as a file that needs no segjax."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import tyro

from segjax import weights
from segjax.cli.describe import parse_size, usual_size
from segjax.config import to_dict
from segjax.errors import SegjaxError
from segjax.files import replacing

Network = Callable[[jax.Array], jax.Array]

PLATFORMS = ("cpu", "cuda", "tpu")
"""That a StableHLO file runs on."""

TOLERANCE = 1e-3
"""Between what onnxruntime and JAX make of one picture; float32 leaves about 1e-6."""


@dataclass(frozen=True)
class Options:
    """Write a network to a file that runs without segjax: ONNX, or StableHLO for JAX.

    It takes float32 RGB in [0, 1], [1, height, width, 3], of the one size that is asked for, and
    gives [1, height, width, 1], how much of each pixel is the person, or, of several classes,
    [1, height, width, classes], their logits. Nothing in it remembers the picture before.

    An `.onnx` file runs in onnxruntime on servers, phones and in browsers, and in `segjax evaluate`
    and `segjax report`. It is tried on a picture before it is written. A `.stablehlo` file is for
    `jax.export.deserialize(data).call(image)`, on CPU, GPU and TPU.

    The weights' licence holds for the file too; an `.onnx` file names it.

    Examples:
      segjax export portrait --out portrait.onnx
      segjax export portrait --size 256x144 --layout nchw --out upright.onnx
      segjax export runs/streets/streets.safetensors --size 360x480 --out streets.stablehlo
    """

    name: tyro.conf.Positional[str]
    """Released weights by name or path."""
    out: Path
    """File to write: .onnx or .stablehlo."""
    size: str = ""
    """Height and width of the picture, as 360x480; for one class that of the
    weights, at 16:9, if left out."""
    layout: Literal["nhwc", "nchw"] = "nhwc"
    """Channels last, or first, as most other programs have them; of input and output."""


def main(options: Options) -> None:
    """Writes the file.

    Raises:
      SegjaxError: no such weights, a size or suffix that is none, an operation without a
        counterpart in ONNX, a package that is missing, or the file cannot be written.
    """
    write = {".onnx": _onnx, ".stablehlo": _stablehlo}.get(options.out.suffix.lower())
    if write is None:
        raise SegjaxError(
            f"{options.out} has no suffix that says what it is; name it .onnx or .stablehlo"
        )
    released = weights.load(options.name)
    one = released.config.classes == 1
    if not options.size and not one:
        raise SegjaxError(
            f"{options.name} has {released.config.classes} classes and no usual size; give --size, "
            "such as 360x480"
        )
    height, width = parse_size(options.size) if options.size else usual_size(released.config)
    first = options.layout == "nchw"

    def network(image: jax.Array) -> jax.Array:
        logits = released.model(jnp.moveaxis(image, 1, -1) if first else image)
        found = jax.nn.sigmoid(logits) if one else logits
        return jnp.moveaxis(found, -1, 1) if first else found

    shape = (1, 3, height, width) if first else (1, height, width, 3)
    image = jax.ShapeDtypeStruct(shape, jnp.float32)
    try:
        result = jax.eval_shape(network, image)
    except ValueError as error:  # sides that the network does not take
        raise SegjaxError(
            f"{options.name} does not take --size {height}x{width}: {error}"
        ) from error
    facts = {
        "name": released.name,
        "input": "RGB in [0, 1]",
        "output": "the person's share of each pixel" if one else "logits of the classes",
        "config": json.dumps(to_dict(released.config)),
        "licence": str(released.info.get("licence", "that of the weights")),
    }
    data = write(network, image, "mask" if one else "logits", facts)
    with replacing(options.out) as beside:
        beside.write_bytes(data)
    print(
        f"written: {options.out}, {len(data) / 1e6:.1f} MB, {list(shape)} to {list(result.shape)}"
    )


def _stablehlo(
    network: Network, image: jax.ShapeDtypeStruct, output: str, facts: dict[str, str]
) -> bytes:
    return bytes(jax.export.export(jax.jit(network), platforms=PLATFORMS)(image).serialize())


def _onnx(
    network: Network, image: jax.ShapeDtypeStruct, output: str, facts: dict[str, str]
) -> bytes:
    try:
        import onnxruntime

        from segjax.interop.onnx_graph import to_onnx
    except ImportError as error:
        raise SegjaxError(
            f"an .onnx file needs {error.name}, which is not installed; run "
            'pip install "segjax[onnx]"'
        ) from None
    try:
        data = to_onnx(network, image, output=output, facts=facts).SerializeToString()
    except NotImplementedError as error:
        raise SegjaxError(f"{error}; write a .stablehlo file instead") from error
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    picture = np.random.default_rng(0).random(image.shape, np.float32)
    theirs = np.asarray(session.run([output], {"image": picture})[0])
    ours = np.asarray(jax.jit(network)(picture))
    off = float(np.abs(theirs - ours).max() / max(1, np.abs(ours).max()))
    if not off < TOLERANCE:
        raise SegjaxError(
            f"onnxruntime {onnxruntime.__version__} gives another mask, by {off:.1e}; try "
            "another version of it, or a .stablehlo file"
        )
    print(f"onnxruntime and JAX agree to {off:.1e} of the largest number")
    return data
