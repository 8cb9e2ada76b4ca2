"""What several of these tests compare with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.checks import Expected
from tests.reliability.sweeps import undisturbed


@pytest.fixture(scope="session")
def undisturbed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("undisturbed")


@pytest.fixture(scope="session")
def expected(undisturbed_folder: Path) -> Expected:
    """What the undisturbed sweep gives, which stays in its folder."""
    expected = Expected()
    undisturbed(undisturbed_folder / "one", "one", expected)
    return expected
