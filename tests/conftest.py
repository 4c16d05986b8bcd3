"""Fixtures every room uses."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data that lies beside the checkout in CI; a user's clone does not have it."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real test data is not at {SHARED_DATA}")
    return SHARED_DATA
