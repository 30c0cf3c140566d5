"""The rule behind `implementation=`, written once for every operation.

None takes, for the platform that the computation is lowered to, the first implementation that can
run there. A named one works or says why. `NotImplementedError` means "not here": try another one.
`ValueError` means "you erred": no other one will help.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import mlir


class Implementation(NamedTuple):
    """One way to compute an operation.

    `run(*arrays)` raises NotImplementedError while it is traced if it cannot serve: a package is
    missing, or these shapes and dtypes are beyond it. `platforms` are JAX's names of those that it
    runs on ("cpu", "cuda", "tpu"); None means all.
    """

    run: Callable[..., Any]
    platforms: tuple[str, ...] | None = None


def dispatch(
    implementations: Mapping[str, Implementation], implementation: str | None, *arrays: jax.Array
) -> Any:
    """Runs the named implementation, or the first of them in order that can.

    The platform is known only when a computation is lowered, perhaps for another machine, so
    implementations of some platforms become branches of which lowering keeps one.

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
        if platforms is None:
            return run(*arrays)
        reason = (
            f"implementation={implementation!r} runs on {', '.join(platforms)} only, and this "
            "computation is for another platform; None takes the best one there"
        )
        refuse = _refusal(reason, jax.eval_shape(run, *arrays))
        return lax.platform_dependent(*arrays, default=refuse, **dict.fromkeys(platforms, run))

    branches = {}
    for run, platforms in implementations.values():
        try:
            jax.eval_shape(run, *arrays)
        except NotImplementedError:
            continue
        if platforms is None:
            return lax.platform_dependent(*arrays, default=run, **branches)
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
