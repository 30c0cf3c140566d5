"""What the comparisons with other libraries share."""

from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def originals() -> ModuleType:
    """torchvision's networks; imported here, since only `make parity` has PyTorch."""
    import originals

    return originals
