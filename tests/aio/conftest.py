"""The URL of a store of each engine."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Names an empty log."""
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'aio.db'}"
