"""EfficientNet-Lite against a reference that computes with the published names directly."""

from typing import Any

import golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from segjax import weights
from segjax.config import ModelConfig
from segjax.errors import SegjaxError
from segjax.interop import from_tensors
from segjax.models.encoders import ENCODERS
from segjax.models.initial import Keys, shapes_of

pytestmark = pytest.mark.usefixtures("quick_compile")

# Kernel, stride, expansion, channels, layers: EfficientNet's table, as Lite0 has it.
ROWS = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
LEVELS = {2: 0, 4: 2, 8: 4, 16: 10, 32: 15}
"""The last block of each stride."""


def blocks() -> list[tuple[int, int, int, int, int]]:
    """Of every block the kernel, stride, channels in, expanded, and out."""
    found, before = [], 32
    for kernel, stride, expansion, channels, layers in ROWS:
        for layer in range(layers):
            found.append((kernel, 1 if layer else stride, before, before * expansion, channels))
            before = channels
    return found


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    """A classifier of EfficientNet-PyTorch."""
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    shapes["_conv_stem.weight"] = (32, 3, 3, 3)
    norm("_bn0", 32)
    for at, (kernel, _, before, expanded, channels) in enumerate(blocks()):
        name = f"_blocks.{at}"
        if expanded != before:
            shapes[f"{name}._expand_conv.weight"] = (expanded, before, 1, 1)
            norm(f"{name}._bn0", expanded)
        shapes[f"{name}._depthwise_conv.weight"] = (expanded, 1, kernel, kernel)
        norm(f"{name}._bn1", expanded)
        shapes[f"{name}._project_conv.weight"] = (channels, expanded, 1, 1)
        norm(f"{name}._bn2", channels)
    shapes["_conv_head.weight"] = (1280, 320, 1, 1)
    norm("_bn1", 1280)
    shapes |= {"_fc.weight": (1000, 1280), "_fc.bias": (1000,)}
    return golden.filled(shapes)


def reference(
    tensors: dict[str, np.ndarray], x: jax.Array, *, one_sided: bool
) -> dict[int, jax.Array]:
    """Its maps by stride, of bytes, padded on both sides or as TensorFlow does."""

    def layer(x: jax.Array, conv: str, norm: str, stride: int = 1, groups: int = 1) -> jax.Array:
        kernel = jnp.asarray(tensors[f"{conv}.weight"])
        pad = (kernel.shape[-1] - 1) // 2
        x = lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            "SAME" if one_sided else [(pad, pad)] * 2,
            feature_group_count=groups,
            dimension_numbers=("NCHW", "OIHW", "NCHW"),
        )
        scale, bias, mean, var = (
            tensors[f"{norm}.{part}"][:, None, None]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(var + 1e-3) * scale + bias

    x = jnp.clip(layer((x.transpose(0, 3, 1, 2) - 127) / 128, "_conv_stem", "_bn0", 2), 0, 6)
    maps = []
    for at, (_, stride, before, expanded, channels) in enumerate(blocks()):
        name, y = f"_blocks.{at}", x
        if expanded != before:
            y = jnp.clip(layer(y, f"{name}._expand_conv", f"{name}._bn0"), 0, 6)
        y = layer(y, f"{name}._depthwise_conv", f"{name}._bn1", stride, expanded)
        y = layer(jnp.clip(y, 0, 6), f"{name}._project_conv", f"{name}._bn2")
        x = x + y if stride == 1 and before == channels else y
        maps.append(x.transpose(0, 2, 3, 1))
    return {level: maps[at] for level, at in LEVELS.items()}


def ours(tensors: dict[str, np.ndarray], x: jax.Array) -> dict[int, Any]:
    """Our maps by stride, of bytes."""
    name = "efficientnet_lite0"
    part = shapes_of(lambda: nnx.Dict(encoder=ENCODERS[name](rngs=Keys(0))))
    found = from_tensors(tensors, encoder=name)
    for key, variable in weights.variables(part).items():
        variable.set_value(jnp.asarray(found.arrays[key]))
    part.eval()
    mean, deviation = part.encoder.normalization
    maps = nnx.jit(lambda part, x: part.encoder((x / 255 - mean) / deviation))(part, x)
    return dict(zip(part.encoder.info.levels, maps, strict=True))


def test_the_maps_are_the_original_s(tensors: dict[str, np.ndarray]) -> None:
    x = 255 * jnp.asarray(golden.picture((65, 51)))
    found = ours(tensors, x)
    wanted = jax.jit(lambda x: reference(tensors, x, one_sided=False))(x)
    assert found.keys() == wanted.keys()
    for level, map_ in wanted.items():
        assert golden.difference(np.asarray(found[level]), np.asarray(map_)) <= golden.TOLERANCE


def test_tensorflow_s_padding_moves_the_picture_by_a_pixel_less_than_the_stride(
    tensors: dict[str, np.ndarray],
) -> None:
    stride, seen = 8, 66  # so far to both sides a number of that map looks
    x = 255 * jnp.asarray(golden.picture((3 * 64, 4 * 64)))
    moved = x[:, stride - 1 :, stride - 1 :]
    theirs = reference(tensors, x, one_sided=True)[stride]
    inner = np.s_[:, seen // stride + 1 : -(seen // stride) - 2]
    both = [
        np.asarray(map_)[inner][:, :, inner[1]] for map_ in (ours(tensors, moved)[stride], theirs)
    ]
    assert both[1].size > 1000
    assert golden.difference(*both) <= golden.TOLERANCE


def test_another_size_of_it_is_refused(tensors: dict[str, np.ndarray]) -> None:
    with pytest.raises(SegjaxError, match="is not of efficientnet_lite1: 75 missing"):
        from_tensors(tensors, encoder="efficientnet_lite1")


def test_dense_lite_begins_with_its_part_of_it(
    tensors: dict[str, np.ndarray], tmp_path: Any
) -> None:
    found = from_tensors(tensors, encoder="efficientnet_lite0")
    path = tmp_path / "lite0.safetensors"
    weights.write(path, found.arrays, found.config)
    model = shapes_of(lambda: weights.create_model(ModelConfig("dense_lite", "fpn")))
    weights.load_encoder(model, path)
    assert isinstance(model.encoder.stem.kernel.get_value(), jax.ShapeDtypeStruct)  # to be drawn
    first, last = model.encoder.layers[0], model.encoder.layers[-1]
    for layer, at in ((first, 4), (last, 11)):
        np.testing.assert_array_equal(
            layer.project.kernel[...].transpose(3, 2, 0, 1),
            tensors[f"_blocks.{at}._project_conv.weight"],
        )
    assert last.project.kernel.shape[-1] == 192
    del found.arrays["encoder.layers.12.project.kernel"]
    weights.write(path, found.arrays, found.config)
    with pytest.raises(SegjaxError, match=r"1 missing \(encoder\.layers\.7\.project\.kernel"):
        weights.load_encoder(model, path)
