"""`segjax describe`: what a network is made of, and what it costs."""

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import tyro
from rich.console import Console
from rich.table import Table

from segjax import weights
from segjax.config import ModelConfig, to_dict
from segjax.errors import SegjaxError
from segjax.evaluation.architecture import (
    STRIP,
    Architecture,
    describe,
    find_receptive_field,
    measure,
)
from segjax.files import write_json
from segjax.geometry import network_size
from segjax.models import shapes_of
from segjax.models.decoders import DECODERS
from segjax.models.encoders import ENCODERS
from segjax.models.segmenter import variant_class
from segjax.prediction import picture_area

OTHERS = (512, 512)
"""Where a network sees pictures as they are."""


@dataclass(frozen=True)
class Options:
    """Describe a network: parts, parameters, operations, memory, receptive field, speed.

    MACs are multiply-adds of convolutions and matrix products: what papers call FLOPs, though
    floating-point operations are twice as many. The receptive field is where the gradient of the
    central pixel's logits is not zero. XLA's memory and the speed are of this device, with norms
    folded; all else is read from the program.

    Examples:
      segjax describe portrait
      segjax describe deeplabv3plus --encoder mobilenet_v3_large --size 360x480 --classes 11
      segjax describe segformer --classes 150 --no-latency --report out/segformer.json
    """

    name: tyro.conf.Positional[str]
    """A model, or released weights by name or path."""
    encoder: str | None = None
    """The model's backbone; by default the one that it was published with."""
    output_stride: int | None = None
    """Coarsest stride of the encoder; by default its own."""
    size: str | None = None
    """Height and width of the picture, as 360x480; by default 512x512; for one class the pixels
    that the network sees, at 16:9."""
    classes: int | None = None
    """Channels of a model's logits; by default 21."""
    receptive_field: bool = True
    """Look for the receptive field, which takes seconds to minutes."""
    latency: bool = True
    """Compile for this device and time it, which takes seconds to minutes."""
    report: Path | None = None
    """JSON file to write."""


def main(options: Options) -> None:
    """Prints the tables and writes the report.

    Raises:
      SegjaxError: name, encoder or size are not such as fit together, or the report cannot be
        written.
    """
    config = _config(options)
    size = parse_size(options.size) if options.size else usual_size(config)
    try:
        model = shapes_of(lambda: weights.create_model(config))
        architecture = describe(model, size)
    except (ValueError, TypeError) as error:
        raise SegjaxError(f"{options.name} cannot be described: {error}") from error
    facts: dict[str, Any] = {
        "size": list(size),
        "parameters": architecture.parameters,
        "macs": architecture.macs,
        "flops": 2 * architecture.macs,
        "live_bytes": architecture.live_bytes,
    }
    with Console(stderr=True).status("") as status:
        if options.receptive_field:
            status.update("looking for the receptive field")
            facts["receptive_field"] = find_receptive_field(model)
        if options.latency:
            status.update("compiling and timing")
            facts |= {"device": _device(), **measure(model, size)._asdict()}
    screen = Console()
    screen.print(_parts(architecture))
    screen.print(_summary(facts))
    if options.report:
        parts = [part._asdict() for part in architecture.parts]
        write_json(options.report, {"model": to_dict(config), **facts, "parts": parts})
        screen.print(f"written: {options.report}", soft_wrap=True)


def _config(options: Options) -> ModelConfig:
    if options.name in DECODERS.names:
        own, _ = variant_class(DECODERS[options.name]).encoder
        stride = options.output_stride
        return ModelConfig(
            encoder=options.encoder or own,
            decoder=options.name,
            classes=21 if options.classes is None else options.classes,
            encoder_options={} if stride is None else {"output_stride": stride},
        )
    if not _are_weights(options.name):
        known = f"models are {', '.join(DECODERS.names)}; weights are {', '.join(weights.names())}"
        remedy = (
            f"give a model and --encoder {options.name}"
            if options.name in ENCODERS.names
            else "give one of these or the path of a .safetensors file"
        )
        raise SegjaxError(f"{options.name} is neither a model nor weights; {known}; {remedy}")
    for option in ("encoder", "output_stride", "classes"):
        if getattr(options, option) is not None:
            raise SegjaxError(
                f"--{option.replace('_', '-')} cannot change {options.name}, whose weights were "
                "trained with their own; leave it out"
            )
    return weights.load(options.name).config


def _are_weights(name: str) -> bool:
    return name in weights.names() or Path(name).is_file()


def usual_size(config: ModelConfig) -> tuple[int, int]:
    """Height and width that such a network sees of a 16:9 picture."""
    area = picture_area(config)
    return network_size(9, 16, area=area) if area else OTHERS


def parse_size(text: str) -> tuple[int, int]:
    """HEIGHTxWIDTH as (height, width).

    Raises:
      SegjaxError: it is not that.
    """
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not found:
        raise SegjaxError(f"--size is {text!r}; it must be height x width in pixels; write 360x480")
    return int(found[1]), int(found[2])


def _device() -> str:
    device = jax.devices()[0]
    if device.platform != "cpu":
        return device.device_kind
    return f"CPU {platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def _parts(architecture: Architecture) -> Table:
    table = Table()
    for column in ("part", "gives (height×width×channels)"):
        table.add_column(column, overflow="fold")
    for column in ("parameters", "million MACs"):
        table.add_column(column, justify="right")
    for part in architecture.parts:
        shapes = ", ".join("×".join(map(str, shape)) for shape in part.shapes)
        table.add_row(part.name, shapes, f"{part.parameters:,}", f"{part.macs / 1e6:,.1f}")
    return table


def _summary(facts: dict[str, Any]) -> Table:
    height, width = facts["size"]
    rows = {
        f"MACs at {height}×{width}": f"{facts['macs'] / 1e9:.3f} billion",
        "parameters": f"{facts['parameters']:,}",
        "maps alive at once, unfused": _mib(facts["live_bytes"]),
    }
    if "receptive_field" in facts:
        field = facts["receptive_field"]
        rows["receptive field"] = (
            f"the whole picture (at least {STRIP[0]} rows)" if field is None else f"{field} pixels"
        )
    if "device" in facts:
        rows |= {
            "XLA's buffers": _mib(facts["temporary_bytes"]),
            "weights and picture": _mib(facts["weight_bytes"]),
            f"latency, median of {facts['runs']}": (
                f"{facts['median_ms']:.2f} ms ({facts['p20_ms']:.2f} to {facts['p80_ms']:.2f})"
            ),
            "device": facts["device"],
        }
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right", overflow="fold")
    for row in rows.items():
        table.add_row(*row)
    return table


def _mib(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"
