"""The implementations that are tested alike."""

import pytest


@pytest.fixture(scope="module", params=["xla", "reference", "c"])
def implementation(request: pytest.FixtureRequest) -> str:
    """Each of those that run on a CPU."""
    if request.param == "c":
        request.getfixturevalue("with_c")
    return request.param
