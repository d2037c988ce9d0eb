"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def congress_root() -> Path:
    """The folder that holds the real portraits and the face detector, or a skip that says why."""
    folder = os.environ.get("BFR_LITE_DATA")
    if not folder:
        pytest.skip("BFR_LITE_DATA is not set: real portraits not available")
    return Path(folder)


@pytest.fixture
def own_cache(tmp_path, monkeypatch) -> Path:
    """An empty cache folder of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("BFR_LITE_CACHE", str(folder))
    return folder


@pytest.fixture
def no_data(own_cache, monkeypatch) -> Path:
    """No data folder and an empty cache, which is returned."""
    monkeypatch.delenv("BFR_LITE_DATA", raising=False)
    return own_cache
