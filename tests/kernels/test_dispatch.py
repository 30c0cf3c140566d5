import jax
import jax.numpy as jnp
import pytest

from segjax_kernels.dispatch import Implementation, dispatch

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
