import jax
import jax.numpy as jnp
import pytest

from segjax_kernels.dispatch import (
    Implementation,
    by_platform,
    dispatch,
    operation,
    tracing_for,
)

ONE = jnp.float32(1)


def absent(x):
    raise NotImplementedError("absent: its package is not installed")


GPU_FIRST = {
    "absent": Implementation(absent, platforms=("cpu",)),
    "gpu": Implementation(lambda x: jnp.sin(x), platforms=("cuda",)),
    "any": Implementation(lambda x: jnp.cos(x)),
    "slow": Implementation(lambda x: jnp.tan(x)),
}


def lowered(implementation, platform):
    function = jax.jit(lambda x: dispatch(GPU_FIRST, implementation, x))
    return function.trace(ONE).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize(
    ("implementation", "platform", "operation"),
    [
        (None, "cpu", "cosine"),
        (None, "cuda", "sine "),
        (None, "tpu", "cosine"),
        ("gpu", "cuda", "sine "),
        ("any", "cuda", "cosine"),
        ("slow", "cpu", "tan"),
    ],
)
def test_the_platform_lowered_to_decides(implementation, platform, operation):
    text = lowered(implementation, platform)
    assert [name for name in ("cosine", "sine ", "tan") if f".{name}" in text] == [operation]


def test_a_named_implementation_works_or_says_why():
    with pytest.raises(NotImplementedError, match=r"'gpu' runs on cuda only, .* None takes the"):
        lowered("gpu", "cpu")
    with pytest.raises(NotImplementedError, match="its package is not installed"):
        dispatch(GPU_FIRST, "absent", ONE)
    with pytest.raises(ValueError, match=r"got .*'quick'; .* 'absent', 'gpu', 'any', 'slow'; name"):
        dispatch(GPU_FIRST, "quick", ONE)


def test_none_fails_only_where_nothing_can_run():
    with pytest.raises(NotImplementedError, match="none of absent"):
        dispatch({"absent": GPU_FIRST["absent"]}, None, ONE)


def test_an_error_of_the_user_is_not_passed_over():
    def strict(x):
        raise ValueError("you erred")

    with pytest.raises(ValueError, match="you erred"):
        dispatch({"strict": Implementation(strict), "any": GPU_FIRST["any"]}, None, ONE)


def test_an_operation_is_one_call_of_a_batch_however_it_is_asked_for():
    shapes = []

    def add(x, y, *, times):
        shapes.append((x.shape, y.shape))
        return times * (x + y)

    call = operation({"any": Implementation(add)}, "has no derivative")

    def run(x, y, batched):
        shapes.clear()
        result = call(None, (("times", 2),), batched, x, y)
        assert len(set(shapes)) == 1
        return result, shapes[0]

    one, four = jnp.arange(3.0), jnp.arange(12.0).reshape(4, 3)
    result, seen = run(one, one, (False, False))
    assert seen == ((1, 3), (1, 3)) and result.shape == (3,)
    result, seen = run(four, one, (True, False))
    assert seen == ((4, 3), (1, 3)) and (result == 2 * (four + one)).all()

    shapes.clear()
    mapped = jax.vmap(lambda x, y: call(None, (("times", 2),), (False, False), x, y), (0, None))
    assert (mapped(four, one) == result).all() and shapes[-1] == seen

    # A batch of batches: what only one of the two axes has is repeated along the other.
    shapes.clear()
    twice = jax.vmap(lambda x, y: call(None, (("times", 2),), (True, True), x, y), (None, 0))
    result = twice(four, jnp.stack([four, 2 * four]))
    assert shapes[-1] == ((8, 3), (8, 3))
    assert (result == 2 * jnp.stack([2 * four, 3 * four])).all()

    with pytest.raises(NotImplementedError, match="has no derivative"):
        jax.grad(lambda x: call(None, (("times", 2),), (False, False), x, one).sum())(one)


def test_for_a_platform_alone_no_other_form_is_traced():
    traced = []

    def form(name, platforms=None):
        return Implementation(lambda x: traced.append(name) or x + 1, platforms)

    forms = {"gpu": form("gpu", ("cuda",)), "cpu": form("cpu", ("cpu",)), "any": form("any")}

    @jax.jit
    def inner(x):
        return by_platform(x, cpu=form("left").run, default=form("right").run)

    @jax.jit
    def outer(x):
        return inner(dispatch(forms, None, x))

    with tracing_for("cpu"):
        assert outer(ONE) == 3
        assert set(traced) == {"cpu", "left"}
        traced.clear()
        assert outer(ONE) == 3 and not traced, "it is traced once"
        with pytest.raises(NotImplementedError, match="'gpu' runs on cuda only"):
            jax.jit(lambda x: dispatch(forms, "gpu", x))(ONE)
    traced.clear()
    # What was traced for a CPU is not taken for any platform, nor the inner function's part of it.
    assert outer(ONE) == 3
    assert set(traced) == {"gpu", "cpu", "any", "left", "right"}
