"""What a JAX function does, onnxruntime does with its graph."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
from jax import lax

from segjax import weights
from segjax.interop.onnx_graph import Tensor, to_onnx
from segjax.models import Segmenter, create_model, fold_norms, shapes_of

RNG = np.random.default_rng(0)
LAYOUT = ("NHWC", "HWIO", "NHWC")


@pytest.fixture(scope="module", autouse=True)
def _compile_quickly(quick_compile: None) -> None:
    pass


def normal(*shape: int) -> jax.Array:
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def run(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> np.ndarray:
    graph = to_onnx(function, jax.ShapeDtypeStruct(x.shape, x.dtype), output="out")
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(["out"], {"image": np.asarray(x)})
    return np.asarray(found)


KERNEL, GROUPED = normal(3, 2, 6, 4), normal(3, 3, 2, 12)
MATRIX, CUBE = normal(6, 5), normal(8, 7, 3)


def convolved(kernel: jax.Array, **options: Any) -> Callable[[jax.Array], jax.Array]:
    def convolve(x: jax.Array) -> jax.Array:
        options.setdefault("window_strides", (1, 1))
        return lax.conv_general_dilated(x, kernel, dimension_numbers=LAYOUT, **options)

    return convolve


FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "conv same": convolved(KERNEL, padding="SAME"),
    "conv uneven": convolved(KERNEL, padding=((0, 2), (1, 0)), window_strides=(2, 3)),
    "conv dilated": convolved(KERNEL, padding="VALID", rhs_dilation=(2, 3)),
    "conv grouped": convolved(GROUPED, padding="SAME", feature_group_count=3),
    "matmul": lambda x: x @ MATRIX,
    "batched matmul": lambda x: jnp.einsum("nhwc,nhvc->nhwv", x, 2 * x),
    "matmul over two axes": lambda x: jnp.einsum("nhwc,whd->dn", x, CUBE),
    "softmax": lambda x: jax.nn.softmax(x, axis=-1),
    "activations": lambda x: (
        jax.nn.gelu(x, approximate=False) + jax.nn.silu(x) + jax.nn.hard_swish(x)
    ),
    "norm": lambda x: (
        (x - x.mean(-1, keepdims=True)) * lax.rsqrt(x.var((1, 2), keepdims=True) + 1e-5)
    ),
    "pad": lambda x: jnp.pad(x, ((0, 0), (1, 2), (0, 3), (0, 0)), constant_values=-7),
    "slice and reverse": lambda x: x[:, 1:6:2, ::-1],
    "concatenate": lambda x: jnp.concatenate(
        [x, jnp.zeros((1, 7, 0, 6)), x.max((1, 2), keepdims=True) + 0 * x], 2
    ),
    "stack": lambda x: jnp.stack([x, 2 * x], 3).reshape(1, 7, 16, 6)[:, :, :, :2],
    "argmax and where": lambda x: jnp.where(x.argmax(-1, keepdims=True) == jnp.arange(6), x, 0.5),
    "comparisons": lambda x: (
        jnp.where(jnp.logical_and(x > 0, ~(x >= 1)), jnp.abs(x), x**3) - jnp.sqrt(x**2)
    ),
    "casts": lambda x: jnp.floor(x).astype(jnp.int32).astype(jnp.float32) + jnp.exp(-jnp.square(x)),
    "broadcast": lambda x: jnp.broadcast_to(x.sum((1, 2))[:, None], (1, 7, 6)),
    "pad with edges": lambda x: jnp.pad(x, ((0, 0), (2, 1), (0, 3), (0, 0)), mode="edge"),
    "resize": lambda x: jax.image.resize(x, (1, 14, 5, 6), "linear"),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_it_does_the_same(function: Callable[[jax.Array], jax.Array]) -> None:
    x = normal(1, 7, 8, 6)
    wanted, found = np.asarray(function(x)), run(function, x)
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_of_a_platforms_own_branches_none_is_taken() -> None:
    x = normal(2, 3)
    found = run(lambda x: lax.platform_dependent(x, cpu=jnp.sin, default=lambda x: x + 1), x)
    np.testing.assert_allclose(found, x + 1)


def network(name: str, encoder: str) -> Segmenter:
    """With numbers of about the usual size: drawing initial weights compiles for long."""
    model = shapes_of(lambda: create_model(name, encoder=encoder, num_classes=3))
    for part in weights.variables(model).values():
        spread = np.prod(part.shape[:-1]) ** -0.5
        many = (
            RNG.normal(size=part.shape) * spread if len(part.shape) > 1 else RNG.random(part.shape)
        )
        part.set_value(jnp.asarray(many, jnp.float32))
    model.eval()
    fold_norms(model)
    return model


@pytest.mark.parametrize(("name", "encoder"), [("segformer", "mit_b0"), ("skip_aspp", "hybrid")])
def test_networks(name: str, encoder: str) -> None:
    model = network(name, encoder)
    side = model.multiple * -(-32 // model.multiple)
    x = jnp.asarray(RNG.random((1, side, 2 * side, 3)), jnp.float32)
    wanted = np.asarray(jax.jit(lambda x: model(x))(x))
    np.testing.assert_allclose(run(model, x), wanted, atol=1e-4 * np.abs(wanted).max())


def test_a_depthwise_convolution_is_one_node_and_constants_are_none() -> None:
    model = network("skip_aspp", "hybrid")
    graph = to_onnx(model, jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)).graph
    groups = [
        attribute.i
        for node in graph.node
        for attribute in node.attribute
        if node.op_type == "Conv" and attribute.name == "group"
    ]
    assert max(groups) > 1
    made = {out for node in graph.node for out in node.output} | {"image"}
    assert all(made.intersection(node.input) for node in graph.node), "some node needs no picture"


def test_one_array_is_stored_once() -> None:
    weights = normal(6, 6)
    graph = to_onnx(lambda x: (x @ weights) @ weights, jax.ShapeDtypeStruct((2, 6), jnp.float32))
    assert len(graph.graph.initializer) == 1


def test_facts_stand_in_the_file() -> None:
    image = jax.ShapeDtypeStruct((3,), jnp.float32)
    graph = to_onnx(lambda x: x, image, facts={"licence": "none"})
    assert [(fact.key, fact.value) for fact in graph.metadata_props] == [("licence", "none")]
    assert Tensor("a") == "a"


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda x: lax.scan(lambda c, x: (c + x, c), x[0], x)[1], "scan has no counterpart"),
        (lambda x: lax.pad(x, 0.0, ((0, 0, 1), (0, 0, 0))), "padding between pixels"),
        (lambda x: lax.pad(x, 0.0, ((-1, 0, 0), (0, 0, 0))), "padding between pixels"),
        (
            lambda x: lax.conv_general_dilated(
                x[None, ..., None],
                normal(2, 2, 1, 1),
                (1, 1),
                ((1, 1), (1, 1)),
                (2, 2),
                None,
                LAYOUT,
            ),
            "a convolution that spreads its input",
        ),
    ],
)
def test_what_has_no_counterpart_is_named(
    function: Callable[[jax.Array], jax.Array], problem: str
) -> None:
    with pytest.raises(NotImplementedError, match=problem):
        run(function, normal(4, 5))
