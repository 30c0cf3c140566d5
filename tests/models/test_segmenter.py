"""The contract of a network, for every encoder and decoder that is registered."""

import functools
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from segjax import weights
from segjax.config import ModelConfig
from segjax.models import Segmenter, create_model, fold_norms, seed_dropout
from segjax.models.decoders import DECODERS
from segjax.models.encoders import ENCODERS
from segjax.models.encoders.hybrid import Context
from segjax.models.features import FeatureInfo
from segjax.models.initial import Keys, shapes_of
from segjax.models.segmenter import misfit, variant_class

pytestmark = pytest.mark.usefixtures("quick_compile")


class Pair(NamedTuple):
    """A network so small that its training step compiles in a second or two."""

    decoder: str
    encoder: str
    decoder_options: dict[str, Any] = {}  # noqa: RUF012
    encoder_options: dict[str, Any] = {}  # noqa: RUF012

    def config(self) -> ModelConfig:
        return ModelConfig(
            self.encoder,
            self.decoder,
            classes=2,
            encoder_options=self.encoder_options,
            decoder_options=self.decoder_options,
        )

    def build(self) -> Segmenter:
        return weights.create_model(self.config())


# The same few channels wherever it can be: what draws initial weights is compiled by shape.
VGG = {"depths": (1, 1, 1, 1, 1), "widths": (8, 8, 8, 8, 8)}
RESNET = {"depths": (1, 1, 1, 1), "width": 8, "multi_grid": ()}
UNET = {"widths": (8, 8, 8, 8, 8)}
ROWS = ((3, 8, 8, False, False, 2), (3, 8, 8, False, False, 2), (3, 16, 8, True, True, 2))
STAGES = ((2, 3, 2, 8, 1), (2, 3, 2, 8, 1), (2, 5, 2, 8, 1))
PAIRS = (
    Pair(
        "skip_aspp",
        "hybrid",
        {"branch": 8, "rates": (2,), "widths": (8, 8)},
        {"widths": (8, 8, 8), "depths": (0, 0), "expanded": 8, "dilations": (2,)},
    ),
    Pair("fcn_auxiliary", "dilated_resnet", {}, {"widths": (8, 8, 8), "depths": (0, 0, 2)}),
    Pair("fcn32s", "vgg11", {"widths": (8, 8), "kernel": 3}, VGG | {"pooled": True}),
    Pair("fcn16s", "vgg11", {"widths": (8, 8), "kernel": 3}, VGG | {"pooled": True}),
    Pair("fcn8s", "vgg11", {"widths": (8, 8), "kernel": 3}, VGG | {"pooled": True}),
    Pair(
        "fcn_head",
        "mobilenet_v2",
        {},
        {"stages": ((1, 8, 1, 1), (2, 8, 1, 2), (2, 8, 1, 2), (2, 8, 1, 2)), "width": 0.25},
    ),
    Pair("unet", "unet", {"widths": (8, 8, 8, 8)}, UNET),
    Pair("unet_valid", "unet_valid", {"widths": (8, 8, 8, 8)}, UNET),
    Pair("segnet", "vgg11_bn", {"depths": (1, 1, 1, 1, 1)}, VGG),
    Pair("deeplabv1", "vgg11", {"widths": (8, 8)}, VGG | {"output_stride": 8}),
    Pair("deeplabv2", "resnet18", {"rates": (1, 2), "widths": ()}, RESNET | {"output_stride": 8}),
    Pair("deeplabv3", "resnet50", {"width": 8}, RESNET | {"output_stride": 16, "bottleneck": True}),
    Pair(
        "deeplabv3plus",
        "efficientnet_b0",
        {"width": 8, "low_width": 8},
        {"stages": STAGES, "width": 0.25},
    ),
    Pair("lraspp", "mobilenet_v3_small", {"width": 8}, {"rows": ROWS}),
    Pair("hrnet", "hrnet_w18", {}, {"width": 4, "modules": (1, 1, 1), "depth": 1, "stem": 8}),
    Pair(
        "segformer",
        "mit_b0",
        {"width": 8},
        {"widths": (8, 8, 8, 8), "depths": (1, 1, 1, 1), "heads": (1, 1, 2, 2), "expansion": 1}
        # Less is left of a small picture than of a large one: of one key all attention is the same.
        | {"reductions": (4, 2, 1, 1)},
    ),
    Pair("fpn", "dense_lite", {"widths": (8, 8, 8)}, {"widths": (8, 8)}),
    Pair("lraspp", "efficientnet_lite0", {"width": 8}, {"stages": STAGES, "width": 0.25}),
    Pair("patch_classifier", "pixels", {"width": 8, "hidden": 8}),
)
"""Every decoder, and every family of encoders, at least once."""

SMALL = {pair.encoder: pair.encoder_options for pair in PAIRS}
each_pair = pytest.mark.parametrize(
    "pair", PAIRS, ids=lambda pair: f"{pair.decoder}-{pair.encoder}"
)


def pictures(height: int, width: int, count: int = 2) -> jax.Array:
    rng = np.random.default_rng(height)
    return jnp.asarray(rng.uniform(size=(count, height, width, 3)), jnp.float32)


def size_for(model: Segmenter) -> tuple[int, int]:
    """As awkward as the network allows."""
    return (33, 47) if model.multiple == 1 else (2 * model.multiple, 3 * model.multiple)


def filled(model: Segmenter) -> Segmenter:
    """A network of shapes gets numbers: drawing them by JAX would be compiled shape by shape."""
    rng = np.random.default_rng(0)
    state = nnx.state(model, (nnx.Param, nnx.BatchStat))
    for path, value in nnx.to_flat_state(state):
        one = np.ones(value.shape, np.float32)
        if len(value.shape) > 1:
            one = rng.normal(size=value.shape) * (2 / np.prod(value.shape[:-1])) ** 0.5
        value.set_value(jnp.asarray(one * (path[-1] not in ("bias", "mean")), jnp.float32))
    nnx.update(model, state)
    return model


def infer(model: nnx.Module, x: jax.Array) -> Any:
    model.eval()
    return nnx.jit(lambda model, x: model(x))(model, x)


def shapes(encoder: str, **options: Any) -> Any:
    """An encoder without numbers."""
    made = shapes_of(lambda: ENCODERS[encoder](**options, rngs=Keys(0)))
    made.eval()
    return made


def logits_of(make: Any, info: FeatureInfo, sizes: Any, features: Any) -> list[jax.Array]:
    """Of a decoder that is made here and now, for the features of several pictures."""
    decoder = make(info, 5, rngs=Keys(0))
    decoder.eval()
    return [decoder(maps, size) for maps, size in zip(features, sizes, strict=True)]


def _zeros(key: Any, lower: Any, upper: Any, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
    return jnp.zeros(shape, dtype)


# --- every encoder with every decoder -------------------------------------------------------


@pytest.mark.parametrize(
    "name", sorted({names[0] for names in ENCODERS.families.values()} | {"unet_valid"})
)
def test_every_decoder_fits_every_encoder_that_has_its_levels(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One variant a family, at its own size: the others differ in numbers."""
    monkeypatch.setattr(jax.random, "truncated_normal", _zeros)  # whose tracing is most of the time
    encoder = shapes(name)
    (maps,) = (row[2] for row in page("Encoders") if f"`{name}`" in row[0])
    assert maps == ", ".join(map(str, encoder.info.levels)), "docs/models.md"
    sizes = [
        (height, width)
        for height, width in ((64, 96), (33, 47), (48, 32))
        if height % encoder.multiple == width % encoder.multiple == 0
    ][:2]
    features = [
        nnx.eval_shape(lambda encoder, x: encoder(x), encoder, jnp.zeros((2, *size, 3)))
        for size in sizes
    ]
    fitting = []
    for decoder in DECODERS.names:
        make = DECODERS[decoder]
        kind = variant_class(make)
        if misfit(kind, encoder) or any(side % kind.multiple for size in sizes for side in size):
            continue
        places = encoder.info.places(kind.levels)
        chosen = [[maps[at] for at in places] for maps in features]
        run = functools.partial(logits_of, make, encoder.info.of(kind.levels), sizes)
        for size, logits in zip(sizes, jax.eval_shape(run, chosen), strict=True):
            assert logits.shape == (2, *size, 5), decoder
        fitting.append(decoder)
    assert fitting


@pytest.mark.parametrize("output_stride", [None, 8, 16, 32])
@pytest.mark.parametrize("name", [*SMALL, "vgg16", "resnet101", "mobilenet_v3_large"])
def test_an_encoder_keeps_its_contract(name: str, output_stride: int | None) -> None:
    options = {**SMALL.get(name, {})}
    if output_stride:
        options["output_stride"] = output_stride
    try:
        encoder = shapes(name, **options)
    except ValueError as error:
        assert f"output_stride: got {output_stride};" in str(error)  # and says which are built
        return
    levels, strides, channels = encoder.info
    assert list(levels) == sorted(set(levels))
    assert list(strides) == [min(level, encoder.output_stride) for level in levels]
    sides = (33, 47) if encoder.multiple == 1 else (32, 48)
    features = nnx.eval_shape(lambda encoder, x: encoder(x), encoder, jnp.zeros((2, *sides, 3)))
    margin = getattr(encoder, "margin", 0)
    for feature, stride, width in zip(features, strides, channels, strict=True):
        if margin:
            assert feature.shape[3] == width
        else:
            assert feature.shape == (2, *(-(-side // stride) for side in sides), width)


@pytest.mark.parametrize("name", ["dilated_resnet", "hybrid", "mobilenet_v2", "resnet50", "vgg11"])
def test_dilation_gives_the_same_features_more_densely(name: str) -> None:
    """Of an encoder without global pooling: at stride 16 is every other one of those at 8."""
    coarse, dense = (
        ENCODERS[name](**{**SMALL[name], "output_stride": stride}, rngs=Keys(0))
        for stride in (16, 8)
    )
    x = pictures(48, 64)
    found, wanted = infer(dense, x)[-1], infer(coarse, x)[-1]
    np.testing.assert_allclose(found[:, ::2, ::2], wanted, rtol=1e-4, atol=1e-5)


def page(heading: str) -> list[list[str]]:
    """The rows of a table of docs/models.md, cells as they stand there."""
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    table = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_page_of_models_names_them_all() -> None:
    words = {-1: "coarsest", -2: "second coarsest"}
    rows = {row[0].strip("`"): row[2:] for row in page("Models")}
    assert sorted(rows) == list(DECODERS.names)
    for name, row in rows.items():
        kind = variant_class(DECODERS[name])
        maps = ", ".join(words.get(level, str(level)) for level in kind.levels)
        assert row == [maps or "all", f"`{kind.encoder[0]}`"], name
    encoders = " ".join(row[0] for row in page("Encoders")).replace("`", "").split()
    assert sorted(encoders) == list(ENCODERS.names)


def test_every_registered_name_is_one_that_its_family_knows() -> None:
    for registry in (ENCODERS, DECODERS):
        for family, names in registry.families.items():
            assert set(importlib.import_module(f"{registry.package}.{family}").VARIANTS) == set(
                names
            ), family


def test_every_decoder_and_every_family_of_encoders_is_trained_below() -> None:
    assert {pair.decoder for pair in PAIRS} == set(DECODERS.names)
    trained = {family for family, names in ENCODERS.families.items() if set(names) & set(SMALL)}
    assert trained == set(ENCODERS.families)


# --- a small one of each --------------------------------------------------------------------


@each_pair
def test_a_network_trains_compiles_once_and_is_the_same_after_loading(
    pair: Pair, tmp_path: Path
) -> None:
    keeps_the_contract(pair, tmp_path)


@pytest.mark.zoo
@pytest.mark.parametrize("encoder", SMALL)
@pytest.mark.parametrize("decoder", DECODERS.names)
def test_every_decoder_does_so_on_every_family_of_encoders(
    decoder: str, encoder: str, tmp_path: Path
) -> None:
    """Or says what it needs, where the two do not fit."""
    encoder_options = SMALL[encoder]
    if encoder == "vgg11" and not decoder.startswith("deeplab"):
        encoder_options = VGG | {"pooled": decoder.startswith("fcn")}
    body = shapes(encoder, **encoder_options)
    (decoder_options,) = (pair.decoder_options for pair in PAIRS if pair.decoder == decoder)
    if decoder.startswith("unet"):
        decoder_options = {"widths": (8,) * (len(body.info.levels) - 1)}
    pair = Pair(decoder, encoder, decoder_options, encoder_options)
    if misfit(variant_class(DECODERS[decoder]), body):
        with pytest.raises(ValueError, match="; take another encoder"):
            shapes_of(pair.build)
    else:
        model = keeps_the_contract(pair, tmp_path)
        height, width = size_for(model)
        x = pictures(2 * height, width)
        assert infer(model, x).shape == (*x.shape[:3], 2)


def keeps_the_contract(pair: Pair, tmp_path: Path) -> Segmenter:
    """Trains for two steps, compiled once, is saved, and is the same after loading."""
    model = filled(shapes_of(pair.build))
    model.train()
    graph, params, stats, rest = nnx.split(model, nnx.Param, nnx.BatchStat, ...)
    x = pictures(*size_for(model))

    traced: list[None] = []

    @jax.jit
    def step(params, stats, key):
        traced.append(None)

        def loss_fn(params):
            # A copy, because the outer trace's own variables must not be changed in here.
            network = nnx.merge(graph, params, jax.tree.map(jnp.asarray, stats), rest)
            seed_dropout(network, key)
            return (network(x) ** 2).mean(), nnx.state(network, nnx.BatchStat)

        (loss, stats_), gradients = jax.value_and_grad(loss_fn, has_aux=True)(params)
        return loss, jax.tree.map(lambda p, g: p - 1e-3 * g, params, gradients), stats_, gradients

    _, params, stats, _ = step(params, stats, jax.random.key(0))
    loss, params, stats, gradients = step(params, stats, jax.random.key(1))
    assert np.isfinite(loss)
    assert len(traced) == 1  # and compiled once
    # Who takes the coarsest map reaches the whole encoder, unless its maps are made side by side.
    maps = len(model.encoder.info.levels)
    taken = {place % maps for place in model.encoder.info.places(model.decoder.levels)}
    side_by_side = ENCODERS.kin(pair.encoder, "hrnet_w18")
    whole = len(taken) == maps if side_by_side else maps - 1 in taken
    for path, gradient in nnx.to_flat_state(gradients):
        assert np.isfinite(gradient[...]).all(), path
        if path[-1] == "kernel" and (whole or path[0] == "decoder"):
            assert np.any(gradient[...]), f"{path} takes no part"

    nnx.update(model, params, stats)
    before = infer(model, x)
    assert before.shape == (*x.shape[:3], 2) and before.dtype == jnp.float32
    weights.save(tmp_path / "one.safetensors", model, pair.config())
    loaded = weights.load(tmp_path / "one.safetensors").model
    assert not [part for _, part in nnx.iter_graph(loaded) if isinstance(part, nnx.BatchNorm)]
    np.testing.assert_allclose(infer(loaded, x), before, rtol=1e-3, atol=1e-4)
    return model


@each_pair
@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_a_network_lowers_for(platform: str, pair: Pair) -> None:
    model = shapes_of(pair.build)
    model.eval()
    graph, state = nnx.split(model)
    x = jax.ShapeDtypeStruct((1, *size_for(model), 3), jnp.float32)
    traced = jax.jit(lambda state, x: nnx.merge(graph, state)(x)).trace(state, x)
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert "stablehlo.convolution" in text


def test_folding_a_network_keeps_its_map() -> None:
    model = PAIRS[0].build()
    rng = np.random.default_rng(0)
    statistics = nnx.state(model, nnx.BatchStat)
    for path, value in nnx.to_flat_state(statistics):
        drawn = 0.3 * rng.normal(size=value.shape)
        value.set_value(jnp.asarray(np.exp(drawn) if path[-1] == "var" else drawn, jnp.float32))
    nnx.update(model, statistics)
    x = pictures(32, 32)
    before = infer(model, x)
    fold_norms(model)
    np.testing.assert_allclose(infer(model, x), before, rtol=1e-4, atol=1e-4)
    assert not [part for _, part in nnx.iter_graph(model) if isinstance(part, nnx.BatchNorm)]


def test_an_auxiliary_head_gives_logits_of_its_own() -> None:
    model = shapes_of(
        lambda: create_model(
            "deeplabv3",
            encoder="resnet50",
            num_classes=3,
            auxiliary="fcn_auxiliary",
            encoder_options=RESNET | {"output_stride": 8},
        )
    )
    model.eval()
    assert model.auxiliary.conv.kernel.shape == (3, 3, 128, 32)  # of stage 3, not of stage 4
    logits, second = nnx.eval_shape(
        lambda model, x: model.decode(model.features(x), x),
        model,
        jnp.zeros((1, 33, 47, 3)),
    )
    assert logits.shape == second.shape == (1, 33, 47, 3)


def test_context_sees_the_whole_map_at_any_size() -> None:
    context = Context(8, 16, 1, rngs=Keys(0))
    for height, width in ((9, 16), (10, 15), (1, 1)):
        x = jnp.asarray(np.random.default_rng(0).normal(size=(1, height, width, 8)), jnp.float32)
        y = infer(context, x)
        assert y.shape == x.shape and np.any(y != x)
    centre = jnp.zeros((1, 9, 9, 8)).at[0, 4, 4].set(1)
    reached = np.any(np.asarray(infer(context, centre) != infer(context, 0 * centre)), axis=-1)[0]
    assert reached.all()


def test_shapes_are_those_of_numbers_and_draw_none() -> None:
    def of(model: Segmenter) -> Any:
        return jax.tree.map(lambda x: (x.shape, x.dtype), nnx.state(model, nnx.Param))

    made, model = shapes_of(PAIRS[0].build), PAIRS[0].build()
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(nnx.state(made)))
    assert of(made) == of(model)
    kernels = [x for x in jax.tree.leaves(nnx.state(model, nnx.Param)) if x.ndim == 4]
    assert kernels and all(np.std(kernel) > 0 for kernel in kernels)


def test_a_seed_decides_the_weights() -> None:
    def first(seed: int) -> np.ndarray:
        part = create_model(
            "skip_aspp",
            encoder="hybrid",
            encoder_options=PAIRS[0].encoder_options,
            decoder_options=PAIRS[0].decoder_options,
            seed=seed,
        ).encoder.stem
        return np.asarray(part.kernel[...])

    np.testing.assert_array_equal(first(1), first(1))
    assert not np.array_equal(first(1), first(2))


def test_a_family_shares_the_options_that_a_model_was_published_with() -> None:
    model = shapes_of(lambda: create_model("fcn8s", encoder="vgg19"))
    assert model.encoder.info.levels == (2, 4, 8, 16, 32)  # pooled, as of VGG-16
    model = shapes_of(lambda: create_model("deeplabv3", encoder="resnet18", output_stride=8))
    assert model.encoder.output_stride == 8


# --- what is refused ------------------------------------------------------------------------


@functools.cache
def portrait() -> Segmenter:
    return shapes_of(PAIRS[0].build)


@pytest.mark.parametrize(
    ("shape", "fits"),
    [((1, 30, 32, 3), "32x32"), ((1, 100, 250, 3), "96x256"), ((1, 3, 5, 3), "16x16")],
)
def test_a_size_that_does_not_fit_is_answered_with_one_that_does(
    shape: tuple[int, ...], fits: str
) -> None:
    with pytest.raises(ValueError, match=f"multiples of 16; {fits} would fit"):
        portrait()(jnp.zeros(shape))


def test_a_batch_without_colours_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 32, 32, 1\); it must be \[N, H, W, 3\]"):
        portrait()(jnp.zeros((1, 32, 32, 1)))


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    known = ", ".join(ENCODERS.names)
    with pytest.raises(ValueError, match=f"encoder: got 'lenet'; known are {known}"):
        create_model("skip_aspp", encoder="lenet")
    known = ", ".join(DECODERS.names)
    with pytest.raises(ValueError, match=f"model: got 'crf'; known are {known}"):
        create_model("crf", encoder="hybrid")


@pytest.mark.parametrize(
    ("decoder", "encoder", "auxiliary", "words"),
    [
        ("fcn8s", "hybrid", None,
         "fcn8s needs features at strides 8, 16, 32; the encoder hybrid has 4, 8, 16; take"),
        ("unet_valid", "unet", None,
         "needs maps with a margin of 92 pixels; the encoder unet has one of 0; take another"),
        ("deeplabv3", "unet_valid", None,
         "a margin of 0 pixels; the encoder unet_valid has one of 92"),
        ("deeplabv3", "pixels", "fcn_auxiliary",
         "fcn_auxiliary needs 2 maps; the encoder pixels has 1; take another"),
    ],
)  # fmt: skip
def test_an_encoder_that_does_not_fit_is_told_why(
    decoder: str, encoder: str, auxiliary: str | None, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        shapes_of(lambda: create_model(decoder, encoder=encoder, auxiliary=auxiliary))


# --- nothing is imported before it is used --------------------------------------------------


@pytest.mark.parametrize(
    ("code", "families"),
    [
        ("import segjax", set()),
        ("from segjax import cli\ntry: cli.main(['--help'])\nexcept SystemExit: pass", set()),
        ("from segjax.models import decoders, encoders; decoders.DECODERS.names", set()),
        (
            "import jax\nfrom flax import nnx\nfrom segjax import create_model\n"
            "nnx.eval_shape(lambda: create_model('lraspp', encoder='hybrid'))",
            {"segjax.models.decoders.lraspp", "segjax.models.encoders.hybrid"},
        ),
    ],
    ids=["import", "help", "names", "one model"],
)
def test_only_the_families_in_use_are_imported(code: str, families: set[str]) -> None:
    tell = (
        "\nimport sys\nprint('imported', *(name for name in sys.modules if name.startswith("
        "('segjax.models.encoders.', 'segjax.models.decoders.')) or name == 'jax'))"
    )
    done = subprocess.run([sys.executable, "-c", code + tell], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.splitlines()[-1].split()[1:])
    assert imported - {"jax"} == families
    assert ("jax" in imported) == ("models" in code or bool(families))
