"""What several test folders share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HSRAY_REPORT", "0")  # sweeps write no report: seconds each; tests of the report say so


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Small measured data that may not be committed; tests that need it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder ../shared/data is not there")
    return folder
