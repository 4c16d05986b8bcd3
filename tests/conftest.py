"""Fixtures every room uses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores; threads that wait for each other on a busy core cost more than they bring.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data that lies beside the checkout in CI; a user's clone does not have it."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real test data is not at {SHARED_DATA}")
    return SHARED_DATA
