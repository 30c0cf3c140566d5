"""A JAX function as an ONNX graph: its program at one size, written down operation by operation.

What depends on no input is computed here and stored. Of `jax.lax.platform_dependent` the default
branch is taken, the one for no platform in particular, so that a depthwise convolution is one node.
"""

import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import onnx
from jax.extend.core import Literal
from onnx import helper, numpy_helper

OPSET = 18
"""Of ONNX: since then every reduction takes its axes as an input. onnxruntime has it since 1.14."""

ELEMENTWISE = {
    "abs": "Abs",
    "add": "Add",
    "and": "And",
    "copy": "Identity",
    "div": "Div",
    "eq": "Equal",
    "erf": "Erf",
    "exp": "Exp",
    "floor": "Floor",
    "ge": "GreaterOrEqual",
    "gt": "Greater",
    "le": "LessOrEqual",
    "log": "Log",
    "logistic": "Sigmoid",
    "lt": "Less",
    "max": "Max",
    "min": "Min",
    "mul": "Mul",
    "neg": "Neg",
    "not": "Not",
    "or": "Or",
    "pow": "Pow",
    "sign": "Sign",
    "sqrt": "Sqrt",
    "stop_gradient": "Identity",
    "sub": "Sub",
    "tanh": "Tanh",
}
"""What both call differently, and do alike."""

REDUCTIONS = {"reduce_max": "ReduceMax", "reduce_min": "ReduceMin", "reduce_sum": "ReduceSum"}


class Tensor(str):
    """The name of what is known only when the graph runs; everything else is an array."""


def to_onnx(
    function: Callable[[jax.Array], jax.Array],
    image: jax.ShapeDtypeStruct,
    *,
    output: str = "mask",
    facts: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """Traces a function of one array and writes what it does as ONNX.

    Args:
      function: whatever networks in inference are made of; loops and random numbers are not.
      image: shape and dtype of the input, which is called "image" there.
      output: what the result is called.
      facts: stored beside the graph.

    Raises:
      NotImplementedError: an operation has no counterpart here; the message names it.
    """
    program = jax.make_jaxpr(function)(image)
    graph = _Graph()
    (found,) = graph.run(program.jaxpr, program.consts, [Tensor("image")])
    (result,) = program.out_avals
    graph.nodes.append(helper.make_node("Identity", [graph.name(found)], [output]))
    proto = helper.make_graph(
        graph.nodes,
        "segjax",
        [helper.make_tensor_value_info("image", _type(image.dtype), image.shape)],
        [helper.make_tensor_value_info(output, _type(result.dtype), result.shape)],
        initializer=graph.stored,
    )
    model = helper.make_model(
        proto,
        producer_name="segjax",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,  # the oldest that has this opset: runtimes refuse what is newer than they are
    )
    helper.set_model_props(model, dict(facts or {}))
    onnx.checker.check_model(model, full_check=True)
    return model


def _type(dtype: Any) -> int:
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


class _Graph:
    """Nodes and stored arrays, in the making."""

    def __init__(self):
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[onnx.TensorProto] = []
        self._names: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def run(self, program: Any, consts: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
        """Writes what a jaxpr does with its arguments; returns its results, stored or to come."""
        known = dict(zip(program.constvars, consts, strict=True))
        known |= dict(zip(program.invars, arguments, strict=True))

        def read(atom: Any) -> Any:
            if not isinstance(atom, Literal):
                return known[atom]
            kind: Any = atom.aval
            return np.asarray(atom.val, kind.dtype)

        for equation in program.eqns:
            results = self._do(equation, [read(atom) for atom in equation.invars])
            known |= dict(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in program.outvars]

    def _do(self, equation: Any, inputs: list[Any]) -> list[Any]:
        name, params = equation.primitive.name, equation.params
        if name == "platform_index":
            return [np.int32(params["platforms"].index(None))]
        if name == "cond" and not isinstance(inputs[0], Tensor):
            branch = params["branches"][int(inputs[0])]
            return self.run(branch.jaxpr, branch.consts, inputs[1:])
        if not any(isinstance(x, Tensor) for x in inputs):
            found = equation.primitive.bind(*inputs, **params)
            return list(found) if equation.primitive.multiple_results else [found]
        if name in ("jit", "pjit", "custom_jvp_call", "custom_vjp_call", "remat", "checkpoint"):
            inner = params.get("call_jaxpr") or params["jaxpr"]
            consts = getattr(inner, "consts", ())
            return self.run(getattr(inner, "jaxpr", inner), consts, inputs)
        results = [atom.aval for atom in equation.outvars]
        if not any(result.size for result in results):  # ONNX takes a side of 0 for another's
            return [np.zeros(result.shape, result.dtype) for result in results]
        if name in ELEMENTWISE:
            return [self.add(ELEMENTWISE[name], *inputs)]
        if name in REDUCTIONS:
            axes = np.array(params["axes"], np.int64)
            return [self.add(REDUCTIONS[name], *inputs, axes, keepdims=0)]
        rule = getattr(self, f"_{name}", None)
        if rule is None:
            raise NotImplementedError(f"{name} has no counterpart in ONNX here")
        shapes = [atom.aval.shape for atom in equation.invars]
        return [rule(*inputs, shapes=shapes, result=results[0], **params)]

    def add(self, operator: str, *inputs: Any, **attributes: Any) -> Tensor:
        """A node of one result."""
        out = Tensor(f"{operator.lower()}_{len(self.nodes)}")
        names = [self.name(x) for x in inputs]
        self.nodes.append(helper.make_node(operator, names, [out], **attributes))
        return out

    def name(self, x: Any) -> str:
        """Of a tensor, or of an array, which is stored if it is not yet."""
        if isinstance(x, Tensor):
            return x
        array = np.asarray(x)
        key = str(array.dtype), array.shape, array.tobytes()
        if key not in self._names:
            self._names[key] = f"stored_{len(self.stored)}"
            self.stored.append(numpy_helper.from_array(array, self._names[key]))
        return self._names[key]

    def reshape(self, x: Any, shape: Sequence[int]) -> Any:
        if not isinstance(x, Tensor):
            return np.reshape(x, shape)
        return self.add("Reshape", x, np.array(shape, np.int64))

    def transpose(self, x: Any, order: Sequence[int]) -> Any:
        if not isinstance(x, Tensor):
            return np.transpose(x, order)
        return self.add("Transpose", x, perm=list(order))

    # One method a primitive of JAX, by its name and with its parameters.

    def _argmax(self, x: Any, *, axes: Any, result: Any, **_: Any) -> Tensor:
        found = self.add("ArgMax", x, axis=int(axes[0]), keepdims=0)
        return self.add("Cast", found, to=_type(result.dtype))

    def _broadcast_in_dim(
        self, x: Any, *, shapes: Any, result: Any, broadcast_dimensions: Any, **_: Any
    ) -> Tensor:
        sides = dict(zip(broadcast_dimensions, shapes[0], strict=True))
        placed = self.reshape(x, [sides.get(axis, 1) for axis in range(result.ndim)])
        return self.add("Expand", placed, np.array(result.shape, np.int64))

    def _concatenate(self, *parts: Any, shapes: Any, dimension: int, **_: Any) -> Tensor:
        some = [part for part, shape in zip(parts, shapes, strict=True) if shape[dimension]]
        return self.add("Concat", *some, axis=dimension)

    def _conv_general_dilated(
        self,
        x: Any,
        kernel: Any,
        *,
        shapes: Any,
        window_strides: Any,
        padding: Any,
        lhs_dilation: Any,
        rhs_dilation: Any,
        dimension_numbers: Any,
        feature_group_count: int,
        batch_group_count: int,
        **_: Any,
    ) -> Any:
        before, after = zip(*padding, strict=True)
        if batch_group_count != 1 or set(lhs_dilation) != {1} or min(before + after) < 0:
            raise NotImplementedError(
                "a convolution that spreads its input, cuts it or groups batches has no "
                "counterpart in ONNX here"
            )
        places = dimension_numbers
        found = self.add(
            "Conv",
            self.transpose(x, places.lhs_spec),
            self.transpose(kernel, places.rhs_spec),
            strides=list(window_strides),
            pads=[*before, *after],
            dilations=list(rhs_dilation),
            group=feature_group_count,
            kernel_shape=[shapes[1][axis] for axis in places.rhs_spec[2:]],
        )
        return self.transpose(found, np.argsort(places.out_spec).tolist())

    def _convert_element_type(self, x: Any, *, new_dtype: Any, **_: Any) -> Tensor:
        return self.add("Cast", x, to=_type(new_dtype))

    def _dot_general(
        self, x: Any, y: Any, *, shapes: Any, dimension_numbers: Any, **_: Any
    ) -> Tensor:
        (along_x, along_y), (batch_x, batch_y) = dimension_numbers
        letters = iter(string.ascii_letters)
        of_x = [next(letters) for _ in shapes[0]]
        shared = dict(zip((*along_y, *batch_y), (*along_x, *batch_x), strict=True))
        of_y = [
            of_x[shared[axis]] if axis in shared else next(letters)
            for axis in range(len(shapes[1]))
        ]
        free_x = [of_x[axis] for axis in range(len(of_x)) if axis not in shared.values()]
        free_y = [of_y[axis] for axis in range(len(of_y)) if axis not in shared]
        out = [of_x[axis] for axis in batch_x] + free_x + free_y
        equation = f"{''.join(of_x)},{''.join(of_y)}->{''.join(out)}"
        return self.add("Einsum", x, y, equation=equation)

    def _erfc(self, x: Any, *, result: Any, **_: Any) -> Tensor:
        return self.add("Sub", np.ones((), result.dtype), self.add("Erf", x))

    def _expand_dims(self, x: Any, *, result: Any, **_: Any) -> Any:
        return self.reshape(x, result.shape)

    def _integer_pow(self, x: Any, *, y: int, result: Any, **_: Any) -> Tensor:
        return self.add("Pow", x, np.array(y, result.dtype))

    def _pad(self, x: Any, value: Any, *, padding_config: Any, **_: Any) -> Tensor:
        before, after, between = np.array(padding_config).T
        if between.any() or min(before.min(), after.min()) < 0:
            raise NotImplementedError("padding between pixels, or less than none, is not there")
        return self.add("Pad", x, np.concatenate([before, after]), value)

    def _reshape(self, x: Any, *, new_sizes: Any, dimensions: Any, **_: Any) -> Any:
        if dimensions is not None:
            raise NotImplementedError("a reshape in another order has no counterpart in ONNX here")
        return self.reshape(x, new_sizes)

    def _rev(self, x: Any, *, dimensions: Any, **_: Any) -> Tensor:
        ones = np.ones(len(dimensions), np.int64)
        beyond = np.iinfo(np.int64).min * ones
        return self.add("Slice", x, -ones, beyond, np.array(dimensions, np.int64), -ones)

    def _rsqrt(self, x: Any, **_: Any) -> Tensor:
        return self.add("Reciprocal", self.add("Sqrt", x))

    def _select_n(self, which: Any, *cases: Any, shapes: Any, **_: Any) -> Tensor:
        if len(cases) != 2:
            raise NotImplementedError(
                "a choice among more than two has no counterpart in ONNX here"
            )
        return self.add("Where", which, cases[1], cases[0])

    def _slice(
        self, x: Any, *, start_indices: Any, limit_indices: Any, strides: Any, **_: Any
    ) -> Tensor:
        axes = np.arange(len(start_indices))
        steps = np.ones_like(axes) if strides is None else np.array(strides, np.int64)
        starts, ends = (np.array(at, np.int64) for at in (start_indices, limit_indices))
        return self.add("Slice", x, starts, ends, axes, steps)

    def _square(self, x: Any, **_: Any) -> Tensor:
        return self.add("Mul", x, x)

    def _squeeze(self, x: Any, *, result: Any, **_: Any) -> Any:
        return self.reshape(x, result.shape)

    def _stack(self, *parts: Any, result: Any, axis: int, **_: Any) -> Tensor:
        shape = [1 if at == axis else side for at, side in enumerate(result.shape)]
        return self.add("Concat", *(self.reshape(part, shape) for part in parts), axis=axis)

    def _transpose(self, x: Any, *, permutation: Any, **_: Any) -> Any:
        return self.transpose(x, permutation)
