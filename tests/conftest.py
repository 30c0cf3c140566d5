"""What every test shares: JAX on the CPU, and the one rule about what may be missing."""

import importlib
import os
from collections.abc import Callable, Iterator
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
