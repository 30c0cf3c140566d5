"""What a network is made of and what it costs: read from its program, and measured."""

import contextlib
import functools
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.extend import core

from segjax.models import Segmenter, fold_norms

STRIP = (4096, 32)
"""Height and width of the picture in which the receptive field is looked for."""

FAR = 1e20
"""Scale of the gradient: at the field's border it has passed a hundred kernels by their edges, and
would be rounded to zero."""

WARM_UP = 3

MARK = "part:"


class Part(NamedTuple):
    """A stretch of the network.

    Attributes:
      name: its path in the model.
      shapes: [H, W, C] of the maps that it gives, finest first.
      parameters: trained numbers.
      macs: multiply-adds; see `count_macs`.
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    parameters: int
    macs: int


class Architecture(NamedTuple):
    """What a network's program tells, for one picture in inference.

    Attributes:
      parts: in the order in which they run.
      parameters: trained numbers; what an auxiliary head has is among them, but runs in no part.
      macs: multiply-adds; what stands in no part is among them.
      live_bytes: of maps, by `count_live_bytes`.
    """

    parts: list[Part]
    parameters: int
    macs: int
    live_bytes: int


class Measured(NamedTuple):
    """What the program needs once it is compiled for this device.

    Attributes:
      temporary_bytes: of XLA's buffers besides weights, picture and logits.
      weight_bytes: of weights and picture, norms folded.
      median_ms: a picture; p20_ms and p80_ms are percentiles.
      runs: how many were timed.
    """

    temporary_bytes: int
    weight_bytes: int
    median_ms: float
    p20_ms: float
    p80_ms: float
    runs: int


def count_parameters(module: nnx.Module) -> int:
    """How many numbers are trained in a module, or in the shapes of one."""
    leaves: Any = jax.tree.leaves(nnx.state(module, nnx.Param))
    return sum(math.prod(leaf.shape) for leaf in leaves)


def describe(model: Segmenter, size: tuple[int, int]) -> Architecture:
    """Reads a network, or the shapes of one, for a picture of `size`. Nothing is computed.

    Raises:
      ValueError: the size does not fit the network; the message names one that does.
    """
    graph, state = nnx.split(_in_inference(model))
    parts: list[Part] = []

    def forward(state: Any, x: jax.Array) -> jax.Array:
        network = nnx.merge(graph, state)
        with _watched(network, parts):
            return network(x)

    program = jax.make_jaxpr(forward)(state, jax.ShapeDtypeStruct((1, *size, 3), jnp.float32))
    macs = _macs(program.jaxpr)
    return Architecture(
        _joined([part._replace(macs=macs[part.name]) for part in parts]),
        count_parameters(model),
        macs.total(),
        count_live_bytes(program.jaxpr),
    )


def count_macs(function: Callable[..., Any], *arguments: Any) -> int:
    """Multiply-adds of the convolutions and matrix products of `function`.

    Papers' "FLOPs" are most often these; floating-point operations are twice as many. Arguments
    may be shapes, and every array among them is taken for data or weights. Counted as defined,
    however a device goes about it: each kernel position for each output, on the border too; in a
    transposed convolution without the zeros between pixels. Not counted: products with constants,
    by which maps are resized, and norms, activations, pooling and sums.
    """
    return _macs(jax.make_jaxpr(function)(*arguments).jaxpr).total()


def count_live_bytes(program: core.Jaxpr) -> int:
    """Of results that are needed at once, at most, when operations run in the program's order.

    Without arguments, and as if each operation wrote its whole result: an estimate, as a compiler
    joins operations, and may go about them in ways that need room.
    """
    last: dict[Any, int] = {}
    for at, equation in enumerate(program.eqns):
        last.update((var, at) for var in equation.invars if isinstance(var, core.Var))
    last.update((var, len(program.eqns)) for var in program.outvars if isinstance(var, core.Var))
    sizes: dict[Any, int] = {}
    live = most = 0
    for at, equation in enumerate(program.eqns):
        written = {var: _bytes(var.aval) for var in equation.outvars}
        inside = max(map(count_live_bytes, _inner(equation)), default=0)
        most = max(most, live + max(inside, sum(written.values())))
        sizes |= {var: size for var, size in written.items() if last.get(var, -1) > at}
        live = sum(sizes.values())
        for var in equation.invars:
            if isinstance(var, core.Var) and last[var] == at:
                live -= sizes.pop(var, 0)
    return most


def find_receptive_field(model: Segmenter) -> int | None:
    """Rows of the picture that the logits of its central pixel depend on; None if it is all rows.

    Found by the gradient at random weights in a picture of `STRIP`'s size: where a row has any
    part in the central logits, a gradient is not zero. A field as tall as the strip is taken for
    all, as it is with attention, squeeze-excitation or pooling of the whole map.

    Raises:
      FloatingPointError: no gradient arrived, or none that is finite.
    """
    height, width = (math.lcm(side, model.multiple) for side in STRIP)
    graph, state = nnx.split(_with_numbers(model))
    # Two pictures: a batch goes the way that training does, whose gradients are fast.
    pictures = np.random.default_rng(0).uniform(size=(2, height, width, 3)).astype(np.float32)

    def central(pictures: jax.Array, state: Any) -> jax.Array:
        logits = nnx.merge(graph, state)(pictures)[:, height // 2, width // 2]
        return FAR * logits.sum()

    # Compiling takes longest, so it may optimise little. A GPU's convolutions may take ways whose
    # rounding errors reach beyond the kernel; a CPU's do not.
    options = {"xla_backend_optimization_level": 0}
    with jax.default_device(jax.devices("cpu")[0]):
        gradient = jax.jit(jax.grad(central), compiler_options=options)(pictures, state)
    (rows,) = np.nonzero(np.any(np.asarray(gradient), axis=(0, 2, 3)))
    if not (rows.size and np.isfinite(gradient).all()):
        raise FloatingPointError("the gradient left the range of float32 on its way")
    if rows[0] == 0 or rows[-1] == height - 1:
        return None
    return int(rows[-1] - rows[0] + 1)


def measure(
    model: Segmenter,
    size: tuple[int, int],
    *,
    seconds: float = 3.0,
    most: int = 100,
    clock: Callable[[], float] = time.perf_counter,
) -> Measured:
    """Compiles a network, or the shapes of one, and times it on one picture, on this device.

    With random weights, norms folded. Pictures alternate, so that none stays in a cache; at least
    five runs are timed, however long they take.
    """
    network = _with_numbers(model)
    fold_norms(network)
    graph, state = nnx.split(network)
    state = jax.tree.map(jnp.asarray, state)
    rng = np.random.default_rng(0)
    pictures = [jnp.asarray(rng.uniform(size=(1, *size, 3)), jnp.float32) for _ in range(4)]
    forward = jax.jit(lambda state, x: nnx.merge(graph, state)(x))
    compiled = forward.lower(state, pictures[0]).compile()
    times: list[float] = []
    began = clock()
    for turn in range(-WARM_UP, most):
        if turn == 0:
            began = clock()
        if turn >= 5 and clock() - began > seconds:
            break
        start = clock()
        jax.block_until_ready(compiled(state, pictures[turn % len(pictures)]))
        if turn >= 0:
            times.append(1000 * (clock() - start))
    memory: Any = compiled.memory_analysis()
    p20, median, p80 = (float(value) for value in np.percentile(times, [20, 50, 80]))
    return Measured(
        int(memory.temp_size_in_bytes),
        int(memory.argument_size_in_bytes),
        median,
        p20,
        p80,
        len(times),
    )


# --- parts ------------------------------------------------------------------------------------


@contextlib.contextmanager
def _watched(network: Segmenter, parts: list[Part]) -> Iterator[None]:
    """Notes what runs meanwhile: the outermost modules inside of encoder and decoder.

    Their operations carry their names into the program.
    """
    units = {
        id(node): ".".join(map(str, path))
        for root in ("encoder", "decoder")
        for path, node in _outermost(getattr(network, root), (root,))
    }
    kinds = {
        next(kind for kind in type(node).__mro__ if "__call__" in vars(kind))
        for _, node in nnx.iter_graph(network)
        if id(node) in units
    }
    originals: dict[Any, Callable[..., Any]] = {kind: vars(kind)["__call__"] for kind in kinds}

    def noted(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(self: Any, *arguments: Any, **options: Any) -> Any:
            name = units.get(id(self))
            if name is None:
                return original(self, *arguments, **options)
            with jax.named_scope(f"{MARK}{name}"):
                out = original(self, *arguments, **options)
            if all(part.name != name for part in parts):
                shapes = tuple(leaf.shape[1:] for leaf in jax.tree.leaves(out))
                parts.append(Part(name, shapes, count_parameters(self), 0))
            return out

        return call

    for kind, original in originals.items():
        kind.__call__ = noted(original)
    try:
        yield
    finally:
        for kind, original in originals.items():
            kind.__call__ = original


def _outermost(root: nnx.Module, prefix: tuple[Any, ...]) -> list[tuple[tuple[Any, ...], Any]]:
    """Modules that can be called, and stand in none that can but `root`."""
    found: list[tuple[tuple[Any, ...], Any]] = []
    for path, node in sorted(nnx.iter_graph(root), key=lambda item: len(item[0])):
        inside = any(path[: len(outer)] == outer for outer, _ in found)
        if path and isinstance(node, nnx.Module) and callable(node) and not inside:
            found.append((path, node))
    return [((*prefix, *path), node) for path, node in found]


def _joined(parts: list[Part]) -> list[Part]:
    """Neighbours of one list that give maps of one shape, as one: `stages.0.0`, `stages.0.1` …"""
    rows: list[Part] = []
    for part in parts:
        stem, _, index = part.name.rpartition(".")
        if rows and index.isdigit():
            before, _, first = rows[-1].name.rpartition(".")
            if before == stem and rows[-1].shapes == part.shapes:
                start = first.partition("–")[0]
                counts = (rows[-1].parameters + part.parameters, rows[-1].macs + part.macs)
                rows[-1] = Part(f"{stem}.{start}–{index}", part.shapes, *counts)
                continue
        rows.append(part)
    return rows


# --- the program ------------------------------------------------------------------------------


def _macs(program: core.Jaxpr) -> Counter[str]:
    """Multiply-adds by the part that they stand in, "" for those in none."""
    found: Counter[str] = Counter()

    def walk(program: core.Jaxpr, varies: list[bool], part: str, times: int) -> None:
        # What comes from constants alone is itself one, such as the weights of a resizing.
        varying = {var for var, flag in zip(program.invars, varies, strict=True) if flag}
        for equation in program.eqns:
            flags = [isinstance(var, core.Var) and var in varying for var in equation.invars]
            if any(flags):
                varying.update(equation.outvars)
            here = part or _part_of(equation)
            if all(flags):
                found[here] += times * _products(equation)
            repeated = equation.params["length"] if equation.primitive.name == "scan" else 1
            for inner in _inner(equation):
                walk(inner, flags[len(flags) - len(inner.invars) :], here, times * repeated)

    walk(program, [True] * len(program.invars), "", 1)
    return found


def _products(equation: core.JaxprEqn) -> int:
    """Multiply-adds of one operation."""
    operands: list[Any] = [*equation.invars[:2], *equation.outvars[:1]]
    shapes = [operand.aval.shape for operand in operands]
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return math.prod(shapes[2]) * math.prod(shapes[0][axis] for axis in contracted)
    if equation.primitive.name == "conv_general_dilated":
        features = equation.params["dimension_numbers"].rhs_spec[0]
        each = math.prod(shapes[1]) // shapes[1][features]
        return math.prod(shapes[2]) * each // math.prod(equation.params["lhs_dilation"])
    return 0


def _inner(equation: core.JaxprEqn) -> list[core.Jaxpr]:
    """The programs inside of an operation; of those for several platforms the general one."""
    if equation.primitive.name == "cond":
        branches = equation.params["branches"]
        if equation.params.get("branches_platforms"):
            branches = branches[-1:]
        return [branch.jaxpr for branch in branches]
    found = [getattr(value, "jaxpr", value) for value in equation.params.values()]
    return [program for program in found if isinstance(program, core.Jaxpr)]


def _part_of(equation: core.JaxprEqn) -> str:
    names = re.findall(rf"{MARK}([^/]+)", str(equation.source_info.name_stack))
    return names[0] if names else ""


def _bytes(shaped: Any) -> int:
    return math.prod(shaped.shape) * shaped.dtype.itemsize


# --- numbers ----------------------------------------------------------------------------------


def _in_inference(model: Segmenter) -> Segmenter:
    copy = nnx.clone(model)
    copy.eval()
    return copy


def _with_numbers(model: Segmenter) -> Segmenter:
    """A copy in inference, of random weights: a quarter of the variance that keeps maps' own.

    So sums of residuals grow slowly, and no gate is saturated.
    """
    rng = np.random.default_rng(0)
    copy = _in_inference(model)
    state = nnx.state(copy, (nnx.Param, nnx.BatchStat))
    for path, variable in nnx.to_flat_state(state):
        shape = variable.shape
        if len(shape) > 1:
            value = rng.normal(size=shape) * (0.5 / math.prod(shape[:-1])) ** 0.5
        else:
            value = np.full(shape, float(path[-1] in ("scale", "var")))
        variable.set_value(value.astype(np.float32))
    nnx.update(copy, state)
    return copy
