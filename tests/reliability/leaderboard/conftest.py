"""Stores of MLflow's to mirror."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hsray.tracking.client import open_client
from tests.benchmarks.mlflowstore import make_store
from tests.reliability.postgres.conftest import database, postgres

__all__ = ["database", "postgres"]
RUNS = 1000
Uri = Callable[[Path], str]


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of a thousand invented runs. Copy it."""
    path = tmp_path_factory.mktemp("many") / "mlflow.db"
    make_store(path, RUNS)
    return path


@pytest.fixture
def store(many: Path, tmp_path: Path) -> Path:
    """The same, to change."""
    return Path(shutil.copy(many, tmp_path / "mlflow.db"))


@pytest.fixture
def uri(store: Path) -> str:
    return f"sqlite:///{store}"


@pytest.fixture(scope="session")
def none(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without runs. Copy it."""
    path = tmp_path_factory.mktemp("none") / "mlflow.db"
    open_client(f"sqlite:///{path}", to_write=True)
    return path


@pytest.fixture
def empty(none: Path, tmp_path: Path) -> str:
    """Its address."""
    return f"sqlite:///{shutil.copy(none, tmp_path / 'empty.db')}"
