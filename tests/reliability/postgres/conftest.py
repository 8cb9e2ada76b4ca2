"""One PostgreSQL for all tests here, a new database for each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from tests.reliability.postgres.server import Postgres, may_run


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    if reason := may_run():
        pytest.skip(reason)
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def database(postgres: Postgres, request: pytest.FixtureRequest) -> Callable[[str], str]:
    """`database('ledger')` is the address of a new, empty database."""
    test = re.sub(r"\W+", "_", request.node.name)[:40]
    return lambda name: postgres.create(f"{test}_{name}")
