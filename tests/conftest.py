"""What tests share: JAX on the CPU, with the C library or without, and what may be missing."""

import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["SEGJAX_SETTINGS"] = "off"

import pytest

LONGEST = ("test_several.py", "test_web_page.py", "test_web_serve.py", "test_segmenter.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first: of two workers, none is left alone with it at the end."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="module")
def quick_compile() -> Iterator[None]:
    """Lets XLA compile in half the time, to programs that run slower: for many small ones."""
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session")
def needs() -> Callable[..., ModuleType | None]:
    """`needs("triton")` gives the module, or skips the test by that name.

    `needs("a display", found)` does so for what is no module. Where SEGJAX_CI=1 nothing may be
    missing: the test fails instead.
    """

    def needs(name: str, found: bool | None = None) -> ModuleType | None:
        if found:
            return None
        problem = f"{name} is not there"
        if found is None:
            try:
                return importlib.import_module(name)
            except ImportError as error:
                problem = f"{name} is not installed" if error.name == name else str(error)
        if os.environ.get("SEGJAX_CI") == "1":
            pytest.fail(f"{problem}, and SEGJAX_CI=1 wants every test run")
        pytest.skip(problem)

    return needs


@pytest.fixture(scope="session")
def c_library(tmp_path_factory: pytest.TempPathFactory, needs: Callable[..., object]) -> None:
    """XLA knows the functions: the user's own library, if it is of these very sources, or a new
    one, which is used by none but who asks for it."""
    from segjax_kernels.cpu import api, build

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
    import jax

    from segjax_kernels.cpu import api

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
def trains_by_c(with_c: None) -> None:
    """The library computes a batch's convolutions; skipped where the processor cannot."""
    from segjax_kernels import cpu

    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file() or "avx512_bf16" not in cpuinfo.read_text():
        pytest.skip("this processor does not multiply bfloat16")
    assert cpu.trains()


@pytest.fixture
def by_tiles(trains_by_c: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions are products of tiles, without AMX by other instructions."""
    from segjax_kernels.cpu import api

    monkeypatch.setattr(api, "_tiles", True)


@pytest.fixture(scope="module")
def without_c() -> Iterator[None]:
    """No library is there."""
    yield from _pretend(False)
