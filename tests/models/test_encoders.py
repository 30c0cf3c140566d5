"""The families whose weights others publish: their sizes, and what their options do."""

import functools
import itertools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from segjax.models.blocks import max_pool
from segjax.models.encoders import ENCODERS
from segjax.models.encoders.chain import divisible
from segjax.models.features import dilate
from segjax.models.initial import Keys, shapes_of

pytestmark = pytest.mark.usefixtures("quick_compile")

PUBLISHED = {
    "vgg11": 132_863_336,
    "vgg11_bn": 132_868_840,
    "vgg13": 133_047_848,
    "vgg13_bn": 133_053_736,
    "vgg16": 138_357_544,
    "vgg16_bn": 138_365_992,
    "vgg19": 143_667_240,
    "vgg19_bn": 143_678_248,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "mobilenet_v2": 3_504_872,
    "mobilenet_v3_large": 5_483_032,
    "mobilenet_v3_small": 2_542_856,
    "efficientnet_b0": 5_288_548,
    "efficientnet_b1": 7_794_184,
    "efficientnet_b2": 9_109_994,
    "efficientnet_b3": 12_233_232,
    "efficientnet_b4": 19_341_616,
    "efficientnet_b5": 30_389_784,
    "efficientnet_b6": 43_040_704,
    "efficientnet_b7": 66_347_960,
    "efficientnet_lite0": 4_652_008,
    "efficientnet_lite1": 5_416_680,
    "efficientnet_lite2": 6_092_072,
    "efficientnet_lite3": 8_197_096,
    "efficientnet_lite4": 13_006_568,
}
"""Parameters of the classifiers for ImageNet's 1000 classes, as torchvision and timm list them."""

LASTS = ("mobilenet_v2", "efficientnet", "efficientnet_lite")
"""Families whose classifiers have a convolution more than the encoders."""

HIDDEN = {"vgg": (4096, 4096), "mobilenet_v3_large": (1280,), "mobilenet_v3_small": (1024,)}


@functools.cache
def shaped(name: str, **options: Any) -> Any:
    """An encoder of shapes alone."""
    return shapes_of(lambda: ENCODERS[name](**options, rngs=Keys(0)))


def parameters(module: nnx.Module) -> int:
    return sum(
        math.prod(value.shape) for _, value in nnx.to_flat_state(nnx.state(module, nnx.Param))
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_with_its_classifier_a_network_has_the_published_size(name: str) -> None:
    family = ENCODERS.family(name)
    last = {"last": True} if family in LASTS else {}
    encoder = shaped(name, **last)
    channels = encoder.info.channels[-1]
    widths = [
        channels * (49 if family == "vgg" else 1),
        *HIDDEN.get(family, HIDDEN.get(name, ())),
        1000,
    ]
    classifier = sum((before + 1) * after for before, after in itertools.pairwise(widths))
    # Theirs have biases before VGG's norms, too, which subtract them again.
    needless = (
        sum(conv.norm.bias.shape[0] for stage in encoder.stages for conv in stage)
        if name.startswith("vgg") and name.endswith("_bn")
        else 0
    )
    assert parameters(encoder) + classifier + needless == PUBLISHED[name]


@pytest.mark.parametrize(
    ("name", "levels", "channels"),
    [
        ("vgg16", (1, 2, 4, 8, 16, 32), (64, 128, 256, 512, 512, 512)),
        ("resnet34", (2, 4, 8, 16, 32), (64, 64, 128, 256, 512)),
        ("resnet101", (2, 4, 8, 16, 32), (64, 256, 512, 1024, 2048)),
        ("mobilenet_v2", (2, 4, 8, 16, 32), (16, 24, 32, 96, 320)),
        ("mobilenet_v3_small", (2, 4, 8, 16, 32), (16, 16, 24, 48, 576)),
        ("mobilenet_v3_large", (2, 4, 8, 16, 32), (16, 24, 40, 112, 960)),
        ("efficientnet_b0", (2, 4, 8, 16, 32), (16, 24, 40, 112, 320)),
        ("efficientnet_lite4", (2, 4, 8, 16, 32), (24, 32, 56, 160, 448)),
        ("dense_lite", (4, 8, 16, 32), (32, 40, 112, 192)),
    ],
)
def test_maps_are_those_of_the_papers_tables(
    name: str, levels: tuple[int, ...], channels: tuple[int, ...]
) -> None:
    info = shaped(name).info
    assert (info.levels, info.strides, info.channels) == (levels, levels, channels)


# --- strides and dilation ---------------------------------------------------------------------


def test_strides_become_dilation_by_hand() -> None:
    # Of strides 2, 2, 1, 2, 2 only the first two fit into 4 × 2; the last one dilates twofold.
    places = dilate((2, 2, 1, 2, 2, 1), 8)
    assert [place.level for place in places] == [2, 4, 4, 8, 16, 16]
    assert [place.stride for place in places] == [2, 2, 1, 2, 1, 1]
    assert [place.before for place in places] == [1, 1, 1, 1, 1, 2]
    assert [place.after for place in places] == [1, 1, 1, 1, 2, 2]
    with pytest.raises(ValueError, match="output_stride: got 4; 8, 16 and 32 are built"):
        dilate((2,), 4)


def dilations(encoder: Any) -> list[int]:
    """Of the last stage's 3×3 convolutions."""
    return [block.spatial.dilation for block in encoder.stages[-1]]


def test_the_last_stage_of_resnet_is_dilated_as_published() -> None:
    assert dilations(shaped("resnet50")) == [1, 1, 1]
    assert dilations(shaped("resnet50", output_stride=16)) == [1, 2, 2]
    assert dilations(shaped("resnet50", output_stride=8)) == [2, 4, 4]
    grid = {"multi_grid": (1, 2, 4)}
    assert dilations(shaped("resnet50", output_stride=16, **grid)) == [2, 4, 8]
    with pytest.raises(ValueError, match="multi_grid: got 2 rates; the last stage has 3 blocks"):
        shaped("resnet50", multi_grid=(1, 2))


def test_a_deep_stem_gives_maps_of_the_same_shapes() -> None:
    deep = shaped("resnet18", deep=True)
    assert len(deep.stem) == 3 and deep.info == shaped("resnet18").info
    deep.eval()
    found = nnx.eval_shape(lambda deep, x: deep(x), deep, jnp.zeros((1, 33, 47, 3)))
    assert found[0].shape == (1, 17, 24, 64) and found[-1].shape == (1, 2, 2, 512)


def test_deeplab_s_vgg_halves_321_pixels_to_41() -> None:
    encoder = shaped("vgg16", pool=3, output_stride=8)
    found = nnx.eval_shape(lambda encoder, x: encoder(x), encoder, jnp.zeros((1, 321, 321, 3)))
    assert [one.shape[1] for one in found] == [321, 161, 81, 41, 41, 41]
    assert [stage[0].dilation for stage in encoder.stages] == [1, 1, 1, 1, 2]


def test_vgg_gives_maps_before_pooling_or_pooled_ones() -> None:
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 35, 32, 3)), jnp.float32)
    options = {"depths": (1,) * 5, "widths": (8,) * 5}
    encoder = ENCODERS["vgg11"](**options, rngs=Keys(0))

    @nnx.jit
    def both(encoder, x):
        before = encoder(x)
        encoder.pooled = True
        after = encoder(x)
        encoder.pooled = False
        return before, after, [max_pool(one, 2, stride=2) for one in before[:-1]]

    before, after, pooled = both(encoder, x)
    for one, other in zip([*pooled, before[-1]], [*after, after[-1]], strict=True):
        np.testing.assert_array_equal(one, other)
    assert [one.shape[1] for one in after] == [18, 9, 5, 3, 2]
    encoder = shaped("vgg11", **options, pooled=True, ceil=False)
    assert encoder.info == ((2, 4, 8, 16, 32), (2, 4, 8, 16, 32), (8,) * 5)
    floored = nnx.eval_shape(lambda encoder, x: encoder(x), encoder, x)
    assert [one.shape[1] for one in floored] == [17, 8, 4, 2, 1]


# --- MobileNets -------------------------------------------------------------------------------


def test_widths_are_rounded_to_multiples_of_eight_and_not_far_down() -> None:
    assert [divisible(width) for width in (3, 8, 11.9, 12, 19, 20, 32 * 1.1, 672 // 4)] == [
        8, 8, 16, 16, 24, 24, 32, 168,
    ]  # fmt: skip


def test_torchvision_s_maps_and_dilation_of_mobilenet_v3() -> None:
    ours = shaped("mobilenet_v3_large", output_stride=16)
    theirs = shaped("mobilenet_v3_large", output_stride=16, torchvision=True)
    assert (ours.ends, theirs.ends) == ((1, 3, 6, 12, 16), (0, 2, 4, 7, 16))
    assert theirs.info.channels == (16, 24, 40, 80, 960)
    last = [
        [encoder.layers[at].spatial.dilation for at in (13, 14, 15)] for encoder in (ours, theirs)
    ]
    assert last == [[1, 2, 2], [2, 2, 2]]
    assert parameters(ours) == parameters(theirs)


# --- pooling ----------------------------------------------------------------------------------


def test_pooling_by_hand() -> None:
    x = jnp.asarray([[1.0, 5, 2, 0, -3], [4, 0, 0, 0, -1], [9, 0, 0, 0, -2]])[None, ..., None]
    np.testing.assert_array_equal(max_pool(x, 2, stride=2)[0, ..., 0], [[5, 2, -1], [9, 0, -2]])
    np.testing.assert_array_equal(max_pool(x, 3, stride=2)[0, ..., 0], [[5, 5, 0], [9, 0, 0]])
    np.testing.assert_array_equal(max_pool(x, 2)[0, 0, :, 0], [5, 5, 2, 0, -1])
    np.testing.assert_array_equal(max_pool(x, 2, dilation=2)[0, 0, :, 0], [9, 5, 2, 0, -2])
