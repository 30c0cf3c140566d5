"""The C library: built once for all tests, and there or not for each module of them."""

from collections.abc import Callable, Iterator

import jax
import pytest

from segjax_kernels.cpu import api, build


@pytest.fixture(scope="session")
def c_library(tmp_path_factory: pytest.TempPathFactory, needs: Callable[..., object]) -> None:
    """XLA knows the functions: the user's own library, if it is of these very sources, or a new
    one, which is used by none but who asks for it."""
    before, api._loaded = api._loaded, None  # whatever a test pretends: look
    try:
        if not api.available():
            api.load(build.build(tmp_path_factory.mktemp("native") / "native.so"))
    except RuntimeError as error:
        needs("a C compiler", found="no C compiler" not in str(error))
        raise
    finally:
        api._loaded = before


def _pretend(there: bool) -> Iterator[None]:
    before, api._loaded = api._loaded, there
    jax.clear_caches()  # of programs traced with the other answer
    yield
    api._loaded = before
    jax.clear_caches()


@pytest.fixture(scope="module")
def with_c(c_library: None) -> Iterator[None]:
    """The library is there."""
    yield from _pretend(True)


@pytest.fixture(scope="module")
def without_c() -> Iterator[None]:
    """No library is there."""
    yield from _pretend(False)


@pytest.fixture(scope="module", params=["xla", "reference", "c"])
def implementation(request: pytest.FixtureRequest) -> str:
    """Each of those that run on a CPU."""
    if request.param == "c":
        request.getfixturevalue("with_c")
    return request.param
