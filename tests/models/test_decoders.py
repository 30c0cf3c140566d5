"""What each model is known by: its figure's sizes, its published numbers, its one idea."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from segjax.models import create_model, seed_dropout, shapes_of
from segjax.models.blocks import Conv, ConvNorm
from segjax.models.decoders.deeplab import DeepLabV2, DeepLabV3, DeepLabV3Plus, SeparableConv
from segjax.models.decoders.fcn import FCN8s
from segjax.models.decoders.patch_classifier import PatchClassifier
from segjax.models.decoders.unet import UNet
from segjax.models.features import FeatureInfo
from segjax.models.sampling import ConvTranspose

pytestmark = pytest.mark.usefixtures("quick_compile")

RNG = np.random.default_rng(0)


def normal(*shape: int) -> jax.Array:
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def run(module: Any, *arguments: Any) -> Any:
    module.eval()
    graph, state = nnx.split(module)
    return jax.jit(lambda state, maps: nnx.merge(graph, state)(maps, *arguments[1:]))(
        state, arguments[0]
    )


def convolutions(module: nnx.Module) -> list[Any]:
    kinds = (Conv, ConvNorm, ConvTranspose)
    return [part for _, part in nnx.iter_graph(module) if isinstance(part, kinds)]


# --- published numbers ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "classes", "published"),
    [
        ("fcn8s", {}, 21, 134e6),  # FCN-VGG16: the paper's Table 1
        ("deeplabv1", {}, 21, 20.5e6),  # DeepLab-LargeFOV: Table 2
        ("segnet", {}, 12, 29.45e6),
        ("fcn_head", {"auxiliary": "fcn_auxiliary"}, 21, 35_322_218),  # torchvision's, as below
        ("deeplabv3", {"encoder": "resnet50", "auxiliary": "fcn_auxiliary"}, 21, 42_004_074),
        ("lraspp", {}, 21, 3_221_538),
    ],
)
def test_parameters_are_as_many_as_published(
    name: str, options: dict[str, Any], classes: int, published: float
) -> None:
    model = shapes_of(lambda: create_model(name, num_classes=classes, **options))
    found = sum(value.size for value in jax.tree.leaves(nnx.state(model, nnx.Param)))
    exact = isinstance(published, int)
    assert found == published if exact else abs(found / published - 1) < 0.005


def test_unet_has_the_figure_s_sizes_and_its_23_convolutions() -> None:
    model = shapes_of(lambda: create_model("unet_valid", num_classes=2))
    model.eval()
    assert len(convolutions(model)) == 23
    features, logits = nnx.eval_shape(
        lambda model, x: (model.encoder(x), model(x)), model, jnp.zeros((1, 388, 388, 3))
    )
    sides = [(568, 64), (280, 128), (136, 256), (64, 512), (28, 1024)]
    assert [(x.shape[1], x.shape[3]) for x in features] == sides
    assert logits.shape == (1, 388, 388, 2)


def test_segnet_s_decoder_mirrors_the_13_convolutions_of_vgg() -> None:
    model = shapes_of(lambda: create_model("segnet", num_classes=12))
    down = [part.kernel.shape[2:] for part in convolutions(model.encoder)]
    up = [part.kernel.shape[2:] for stage in model.decoder.stages[::-1] for part in stage]
    assert len(down) == 13
    assert up[::-1] == [(b, a) for a, b in down[1:]]
    assert model.decoder.classifier.kernel.shape == (3, 3, 64, 12)


def test_segnet_needs_an_encoder_whose_maps_halve() -> None:
    with pytest.raises(ValueError, match="got strides 1, 2, 4, 8, 8; leave out output_stride"):
        shapes_of(lambda: create_model("segnet", num_classes=2, output_stride=8))


# --- FCN ------------------------------------------------------------------------------------


def fcn8s() -> tuple[FCN8s, list[jax.Array]]:
    info = FeatureInfo((8, 16, 32), (8, 16, 32), (3, 4, 5))
    maps = [normal(1, 5, 6, 3), normal(1, 3, 3, 4), normal(1, 2, 2, 5)]
    return FCN8s(info, 2, widths=(8, 8), kernel=3, rngs=nnx.Rngs(0)), maps


def test_skips_add_nothing_at_the_start_and_their_scores_later() -> None:
    decoder, maps = fcn8s()
    before = run(decoder, maps, (40, 47))
    without = [0 * maps[0], 0 * maps[1], maps[2]]
    np.testing.assert_array_equal(before, run(decoder, without, (40, 47)))
    # A constant score of the finest map is upsampled once: it stays what it is.
    decoder.skips[0].bias[...] = jnp.asarray([1.0, -2.0])
    difference = run(decoder, maps, (40, 47)) - before
    np.testing.assert_allclose(
        difference, np.broadcast_to([1.0, -2.0], before.shape), rtol=1e-4, atol=1e-4
    )


def test_at_a_smaller_output_stride_nothing_is_upsampled_between_equal_maps() -> None:
    info = FeatureInfo((8, 16, 32), (8, 8, 8), (3, 4, 5))
    decoder = FCN8s(info, 2, widths=(8, 8), kernel=3, rngs=nnx.Rngs(0))
    maps = [normal(1, 5, 6, width) for width in (3, 4, 5)]
    assert [up is None for up in decoder.upsamplings] == [False, True, True]
    assert run(decoder, maps, (40, 47)).shape == (1, 40, 47, 2)


# --- U-Net ----------------------------------------------------------------------------------


def test_the_published_unet_knows_no_border() -> None:
    """Of an even picture, mirrored beyond its borders, the logits repeat with the stride of 16."""
    widths = (4, 4, 4, 4)
    model = create_model(
        "unet_valid",
        num_classes=2,
        encoder_options={"widths": (*widths, 4)},
        decoder_options={"widths": widths},
    )
    model.eval()
    logits = nnx.jit(lambda model, x: model(x))(model, jnp.full((1, 33, 50, 3), 0.3))
    assert logits.shape == (1, 33, 50, 2) and np.ptp(logits) > 0
    np.testing.assert_allclose(logits[:, 16:], logits[:, :-16], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(logits[:, :, 16:], logits[:, :, :-16], rtol=1e-4, atol=1e-5)


def test_unet_needs_a_width_for_each_skip() -> None:
    info = FeatureInfo((4, 8, 16), (4, 8, 16), (4, 4, 4))
    with pytest.raises(ValueError, match="widths: got 3; the encoder has 2 skips"):
        UNet(info, 2, widths=(4, 4, 4), rngs=nnx.Rngs(0))


# --- DeepLab --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stride", "rates"), [(32, (3, 6, 9)), (16, (6, 12, 18)), (8, (12, 24, 36))]
)
def test_the_pyramid_has_the_published_rates_and_shapes(
    stride: int, rates: tuple[int, ...]
) -> None:
    info = FeatureInfo((32,), (stride,), (20,))
    pyramid: Any = nnx.eval_shape(lambda: DeepLabV3(info, 21, rngs=nnx.Rngs(0))).pyramid
    assert tuple(branch.dilation for branch in pyramid.atrous) == rates
    parts = (pyramid.pointwise, *pyramid.atrous, pyramid.image, pyramid.project)
    assert [part.kernel.shape for part in parts] == [
        (1, 1, 20, 256),
        *[(3, 3, 20, 256)] * 3,
        (1, 1, 20, 256),
        (1, 1, 5 * 256, 256),
    ]
    assert pyramid.dropout.rate == 0.5


def test_the_pyramid_s_branch_of_the_whole_image_by_hand() -> None:
    info = FeatureInfo((32,), (16,), (1,))
    pyramid = DeepLabV3(info, 2, width=1, rates=(1,), rngs=nnx.Rngs(0)).pyramid
    pyramid.image.kernel[...] = jnp.full((1, 1, 1, 1), 2.0)
    # The projection takes of (1×1, atrous, image) only the last.
    pyramid.project.kernel[...] = jnp.asarray([0.0, 0.0, 1.0]).reshape(1, 1, 3, 1)
    pyramid.eval()
    x = jnp.asarray([[1.0, 2.0, 3.0], [4.0, 5.0, 9.0]])[None, :, :, None]
    np.testing.assert_allclose(pyramid(x)[0, ..., 0], np.full((2, 3), 2 * 4.0), rtol=1e-4)


def test_v2_sums_the_scores_of_its_branches() -> None:
    info = FeatureInfo((32,), (8,), (6,))
    decoder = DeepLabV2(info, 3, rates=(1, 2), widths=(4, 4), rngs=nnx.Rngs(0))
    x = normal(1, 5, 6, 6)
    both = run(decoder, [x], (33, 47))
    parts = []
    for branch in (0, 1):
        alone = DeepLabV2(info, 3, rates=(1 + branch,), widths=(4, 4), rngs=nnx.Rngs(0))
        nnx.update(alone.branches[0], nnx.state(decoder.branches[branch]))
        parts.append(run(alone, [x], (33, 47)))
    np.testing.assert_allclose(both, parts[0] + parts[1], rtol=1e-4, atol=1e-5)
    rates = [
        DeepLabV2(FeatureInfo((32,), (s,), (2,)), 2, widths=(), rngs=nnx.Rngs(0)) for s in (8, 16)
    ]
    found = [[branch[0].dilation for branch in each.branches] for each in rates]
    assert found == [[6, 12, 18, 24], [3, 6, 9, 12]]  # as many pixels of the picture apart


def test_v3plus_is_separable_or_dense() -> None:
    info = FeatureInfo((4, 32), (4, 16), (24, 32))
    for separable in (True, False):
        made: Any = nnx.eval_shape(
            lambda separable=separable: DeepLabV3Plus(
                info, 21, separable=separable, rngs=nnx.Rngs(0)
            )
        )
        kind = SeparableConv if separable else ConvNorm
        assert all(isinstance(part, kind) for part in (*made.pyramid.atrous, *made.refine.layers))
        assert made.low.kernel.shape == (1, 1, 24, 48)
        first = made.refine.layers[0]
        kernel = first.pointwise.kernel if separable else first.kernel
        assert kernel.shape[2:] == (304, 256)  # 48 channels of the finer map beside 256


# --- patches --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(16, 16), (33, 47), (1, 50)])
def test_a_slid_classifier_and_its_convolution_give_the_same_map(size: tuple[int, int]) -> None:
    info = FeatureInfo((1,), (1,), (3,))
    slid, convolved = (
        PatchClassifier(info, 3, width=4, hidden=8, convolved=convolved, rngs=nnx.Rngs(0))
        for convolved in (False, True)
    )
    x = normal(2, *size, 3)
    found, wanted = run(slid, [x], size), run(convolved, [x], size)
    assert found.shape == (2, *size, 3)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_pixel_s_class_is_that_of_the_window_around_it() -> None:
    info = FeatureInfo((1,), (1,), (3,))
    decoder = PatchClassifier(info, 1, width=4, hidden=8, stride=15, rngs=nnx.Rngs(0))
    decoder.eval()
    x = normal(1, 1, 120, 3)
    # Of an odd stride's blocks the pixel in the middle has a window of its own: here 7 + 4 · 15.
    seen = jax.jit(jax.grad(lambda x: decoder([x], (1, 120))[0, 0, 67, 0]))(x)
    (columns,) = np.nonzero(np.any(np.asarray(seen[0, 0]), axis=-1))
    assert columns.min() >= 67 - 47 and columns.max() <= 67 + 47 and len(columns) > 60


def test_a_convolved_classifier_has_its_own_stride_alone() -> None:
    info = FeatureInfo((1,), (1,), (3,))
    with pytest.raises(ValueError, match="stride: got 1; convolved, the network's own of 16 is"):
        PatchClassifier(info, 2, stride=1, convolved=True, rngs=nnx.Rngs(0))


# --- dropout --------------------------------------------------------------------------------


def test_dropout_is_drawn_by_the_step_s_key_and_sleeps_in_inference() -> None:
    info = FeatureInfo((32,), (8,), (6,))
    decoder = DeepLabV2(info, 3, rates=(1, 2), widths=(4, 4), rngs=nnx.Rngs(0))
    x, size = [normal(1, 5, 6, 6)], (5, 6)
    np.testing.assert_array_equal(run(decoder, x, size), run(decoder, x, size))
    decoder.train()
    with pytest.raises(ValueError, match="rngs"):  # nobody gave it numbers
        decoder(x, size)

    def draw(seed: int) -> np.ndarray:
        seed_dropout(decoder, jax.random.key(seed))
        return np.asarray(decoder(x, size))

    np.testing.assert_array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1), draw(2))
    assert not nnx.to_flat_state(nnx.state(nnx.clone(fcn8s()[0]), nnx.RngState))
