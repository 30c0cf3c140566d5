"""HRNet: published sizes, the branches' shapes, and an exchange unit by hand."""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from segjax.models.decoders.hrnet import HRNetHead
from segjax.models.encoders import ENCODERS
from segjax.models.encoders.hrnet import Exchange, Stage
from segjax.models.features import FeatureInfo
from segjax.models.initial import Keys, shapes_of

pytestmark = pytest.mark.usefixtures("quick_compile")


@nnx.jit
def run(module: Any, x: Any) -> Any:
    return module(x)


def parameters(module: nnx.Module) -> int:
    leaves: Any = jax.tree.leaves(nnx.state(module, nnx.Param))
    return sum(math.prod(leaf.shape) for leaf in leaves)


def classification_head(widths: tuple[int, ...]) -> int:
    """Parameters of the ImageNet head that the published backbones are counted with.

    A bottleneck a branch to 128, 256, 512 and 1024 channels, a 3×3 convolution from each to the
    next, then 1×1 to 2048 and 1,000 classes; convolutions between branches have a bias.
    """
    out = (128, 256, 512, 1024)
    bottlenecks = sum(
        c * f // 4 + 9 * (f // 4) ** 2 + f // 4 * f + c * f + 2 * (f // 4 + f // 4 + f + f)
        for c, f in zip(widths, out, strict=True)
    )
    down = sum(9 * a * b + b + 2 * b for a, b in itertools.pairwise(out))
    return bottlenecks + down + (1024 * 2048 + 2048 + 2 * 2048) + (2048 * 1000 + 1000)


@pytest.mark.parametrize(
    ("name", "published"),
    [("hrnet_w18", 21_299_004), ("hrnet_w32", 41_232_680), ("hrnet_w48", 77_469_864)],
)
def test_a_backbone_has_the_parameters_of_the_published_classifier(
    name: str, published: int
) -> None:
    encoder = shapes_of(lambda: ENCODERS[name](rngs=Keys(0)))
    channels = encoder.info.channels
    assert parameters(encoder) + classification_head(channels) == published
    if name == "hrnet_w48":
        # The paper's Table 4: 65.9 million with the head for the 19 classes of Cityscapes.
        width = sum(channels)
        assert parameters(encoder) + width * (width + 2) + 19 * (width + 1) == pytest.approx(
            65.9e6, rel=0.005
        )


def test_the_head_is_two_convolutions_on_all_channels() -> None:
    info = FeatureInfo((4, 8, 16, 32), (4, 8, 16, 32), (8, 16, 32, 64))
    head = nnx.eval_shape(lambda: HRNetHead(info, 19, rngs=Keys(0)))
    assert parameters(head) == 120 * (120 + 2) + 19 * (120 + 1)


@pytest.mark.parametrize("size", [(33, 47), (64, 32), (1, 1)])
def test_branches_halve_whatever_the_size(size: tuple[int, int]) -> None:
    options = {"width": 8, "modules": (1, 1, 1), "depth": 1, "stem": 8}
    encoder = shapes_of(lambda: ENCODERS["hrnet_w18"](**options, rngs=Keys(0)))
    encoder.eval()
    maps = nnx.eval_shape(lambda encoder, x: encoder(x), encoder, jnp.zeros((2, *size, 3)))
    shapes = [
        (2, *(-(-side // stride) for side in size), width)
        for stride, width in zip((4, 8, 16, 32), (8, 16, 32, 64), strict=True)
    ]
    assert [x.shape for x in maps] == shapes


def test_an_exchange_by_hand() -> None:
    """Kernels that pass each channel on: a branch is then the sum of all, resampled."""
    unit = Exchange((2, 2, 2), 0, rngs=Keys(0))
    unit.eval()
    for paths in unit.fuse:
        for path in paths:
            for layer in path:
                side = layer.kernel.shape[0] // 2
                layer.kernel.set_value(
                    jnp.zeros_like(layer.kernel[...]).at[side, side].set(jnp.eye(2))
                )
                layer.norm.epsilon = 0.0
    rng = np.random.default_rng(0)
    maps = [
        jnp.asarray(rng.normal(size=(1, *size, 2)), jnp.float32)
        for size in ((7, 5), (4, 3), (2, 2))
    ]

    def up(x: jax.Array, like: jax.Array) -> jax.Array:
        return jax.image.resize(x, like.shape, "linear", antialias=False)

    @jax.jit
    def wanted(x: jax.Array, y: jax.Array, z: jax.Array) -> list[jax.Array]:
        relu = jax.nn.relu
        # Two strides lie between the first and the last, with a ReLU after the first of them.
        twice = relu(x[:, ::2, ::2])[:, ::2, ::2]
        return [
            relu(x + up(y, x) + up(z, x)),
            relu(x[:, ::2, ::2] + y + up(z, y)),
            relu(twice + y[:, ::2, ::2] + z),
        ]

    for found, expected in zip(run(unit, maps), wanted(*maps), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_new_branch_starts_from_the_coarsest() -> None:
    stage = Stage((2, 4), (2, 4, 8), 0, 1, rngs=Keys(0))
    stage.eval()
    fine, middle = jnp.ones((1, 8, 8, 2)), jnp.ones((1, 4, 4, 4))
    maps = run(stage, [fine, middle])
    # Nothing lies between the stages where the channels stay; the new branch has half the size.
    np.testing.assert_array_equal(maps[0], fine)
    np.testing.assert_array_equal(maps[1], middle)
    assert maps[2].shape == (1, 2, 2, 8)


def test_the_head_sees_every_branch_at_the_finest_size() -> None:
    head = HRNetHead(FeatureInfo((4, 8), (4, 8), (1, 1)), 1, rngs=Keys(0))
    head.eval()
    head.mix.kernel.set_value(jnp.eye(2)[None, None])
    assert head.mix.norm is not None
    head.mix.norm.epsilon = 0.0
    head.classifier.kernel.set_value(jnp.asarray([1.0, 10.0]).reshape(1, 1, 2, 1))
    logits = nnx.jit(lambda head, maps: head(maps, (11, 13)))(
        head, [jnp.full((1, 3, 4, 1), 2.0), jnp.full((1, 2, 2, 1), 3.0)]
    )
    np.testing.assert_allclose(logits, np.full((1, 11, 13, 1), 32.0), rtol=1e-6)


def test_only_its_own_stride_is_built() -> None:
    with pytest.raises(ValueError, match="output_stride: got 16; 32 is built"):
        ENCODERS["hrnet_w18"](output_stride=16, rngs=Keys(0))
