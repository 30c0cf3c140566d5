"""The rule behind `implementation=`, written once for every operation.

None takes, for the platform that the computation is lowered to, the first implementation that can
run there. A named one works or says why. `NotImplementedError` means "not here": try another one.
`ValueError` means "you erred": no other one will help.

`operation` makes of an operation's implementations what its public function calls: jitted, with
batches and `vmap` led to the same batched kernel, and without a derivative.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import ShapedArray
from jax.custom_batching import custom_vmap
from jax.extend.core import Primitive
from jax.interpreters import mlir


class Implementation(NamedTuple):
    """One way to compute an operation.

    `run(*arrays, **options)` raises NotImplementedError while it is traced if it cannot serve: a
    package is missing, or these shapes and dtypes are beyond it. `platforms` are JAX's names of
    those that it runs on ("cpu", "cuda", "tpu"); None means all.
    """

    run: Callable[..., Any]
    platforms: tuple[str, ...] | None = None


tracing_for = jax.make_user_context(default_value=None)
"""What is traced `with tracing_for("cpu")` (or "cuda", "tpu") will be lowered for it alone.

The forms for other platforms are left out then, not traced to be thrown away: a step is traced in a
third of the time. None, the default, is for any. It is a part of the key by which `jax.jit` knows
again what it has traced.
"""


def by_platform(*arrays: Any, default: Callable[..., Any], **branches: Callable[..., Any]) -> Any:
    """`jax.lax.platform_dependent`, or within `tracing_for` its platform's branch alone."""
    if (platform := tracing_for.value) is None:
        return lax.platform_dependent(*arrays, default=default, **branches)
    return branches.get(platform, default)(*arrays)


def operation(
    implementations: Mapping[str, Implementation], no_derivative: str
) -> Callable[..., jax.Array]:
    """`call(implementation, options, batched, *arrays)`: `dispatch`, jitted, over batches.

    `batched` says of each array whether it has a leading axis of N; the result has one if any has.
    Implementations get arrays that all have one, of N or, where all N share it, of 1, and return
    one of N. `vmap` makes that axis longer, so a batch is one call however it is asked for.
    `options` are pairs of a keyword and a hashable value, for every implementation. A derivative
    raises NotImplementedError(no_derivative).
    """

    @partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
    def call(implementation, options, batched, *arrays):
        @custom_vmap
        def run(*arrays):
            return dispatch(implementations, implementation, *arrays, **dict(options))

        @run.def_vmap
        def _(size, mapped, *arrays):
            inner = max(
                x.shape[int(is_mapped)] for x, is_mapped in zip(arrays, mapped, strict=True)
            )

            def fold(x, is_mapped):
                if not is_mapped and x.shape[0] == 1:
                    return x
                x = x if is_mapped else x[None]
                x = jnp.broadcast_to(x, (size, inner, *x.shape[2:]))
                return x.reshape(size * inner, *x.shape[2:])

            out = run(*map(fold, arrays, mapped))
            return out.reshape(size, inner, *out.shape[1:]), True

        out = run(
            *(x if has_axis else x[None] for x, has_axis in zip(arrays, batched, strict=True))
        )
        return out if any(batched) else out[0]

    @call.defjvp
    def _(implementation, options, batched, primals, tangents):
        raise NotImplementedError(no_derivative)

    return jax.jit(call, static_argnums=(0, 1, 2))


def dispatch(
    implementations: Mapping[str, Implementation],
    implementation: str | None,
    *arrays: Any,
    **options: Any,
) -> Any:
    """Runs the named implementation of some trees of arrays, or the first in order that can.

    The platform is known only when a computation is lowered, perhaps for another machine, so
    implementations of some platforms become branches of which lowering keeps one. Each gets the
    `options` as keywords.

    Raises:
      ValueError: the name is unknown.
      NotImplementedError: the implementation cannot run here; for a wrong platform it is raised
        when the computation is lowered.
    """
    if implementation is not None:
        if implementation not in implementations:
            known = ", ".join(map(repr, implementations))
            raise ValueError(
                f"got implementation={implementation!r}; the known ones are {known}; "
                "name one of them, or None for the best one here"
            )
        run, platforms = implementations[implementation]
        run = partial(run, **options)
        if platforms is None:
            return run(*arrays)
        reason = (
            f"implementation={implementation!r} runs on {', '.join(platforms)} only, and this "
            "computation is for another platform; None takes the best one there"
        )
        refuse = _refusal(reason, jax.eval_shape(run, *arrays))
        return by_platform(*arrays, default=refuse, **dict.fromkeys(platforms, run))

    branches, only = {}, tracing_for.value
    for run, platforms in implementations.values():
        if only and platforms is not None and only not in platforms:
            continue
        run = partial(run, **options)
        try:
            if only:
                return run(*arrays)
            jax.eval_shape(run, *arrays)
        except NotImplementedError:
            continue
        if platforms is None:
            return by_platform(*arrays, default=run, **branches)
        branches = dict.fromkeys(platforms, run) | branches
    raise NotImplementedError(f"none of {', '.join(implementations)} can run here")


def _refusal(reason: str, result: Any) -> Callable[..., Any]:
    """A branch shaped like `result` that raises NotImplementedError(reason) when it is lowered."""
    return lambda *_: jax.tree.map(
        lambda leaf: _refuse.bind(reason=reason, shape=leaf.shape, dtype=leaf.dtype), result
    )


_refuse = Primitive("refuse")


@_refuse.def_abstract_eval
def _(*, shape, dtype, **_):
    return ShapedArray(shape, dtype)


def _lower_refusal(_, *, reason, **__):
    raise NotImplementedError(reason)


mlir.register_lowering(_refuse, _lower_refusal)
