"""The C library: built once for all tests, and there or not for each of them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from segjax_kernels.cpu import api, build


@pytest.fixture(scope="session")
def c_library(tmp_path_factory: pytest.TempPathFactory, needs: Callable[..., object]) -> Path:
    try:
        return build.build(tmp_path_factory.mktemp("native") / "native.so")
    except RuntimeError as error:
        needs("a C compiler", found="no C compiler" not in str(error))
        raise


@pytest.fixture(scope="module")
def with_c(c_library: Path) -> Iterator[None]:
    """The library is there: the user's own, which is of these very sources, or a new one."""
    before = api.available()
    if not before:
        api.load(c_library)
    yield
    api._loaded = before


@pytest.fixture
def without_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """No library is there."""
    monkeypatch.setattr(api, "_loaded", False)


@pytest.fixture(scope="module", params=["xla", "reference", "c"])
def implementation(request: pytest.FixtureRequest) -> str:
    """Each of those that run on a CPU."""
    if request.param == "c":
        request.getfixturevalue("with_c")
    return request.param
