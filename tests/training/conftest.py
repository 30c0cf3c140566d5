"""What runs in tests share."""

from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache
from small_run import compile_little


@pytest.fixture(scope="module")
def cache(quick_compile: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Each program is compiled once for all runs of a file's tests, in all their processes.

    Programs that other tests compiled with other settings are forgotten: they round otherwise.
    """
    folder = tmp_path_factory.mktemp("cache")
    jax.clear_caches()
    compile_little(folder)
    compilation_cache.reset_cache()
    yield folder
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
