"""The URL of a store of each engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import ENGINES


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, url_of: Callable[[str], str]) -> str:
    """Names an empty log."""
    return url_of(request.param)
