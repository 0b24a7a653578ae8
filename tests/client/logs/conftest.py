"""A PostgreSQL server for the tests of this folder, and an empty database for each of them."""

from collections.abc import Iterator

import pytest

from tests.support.postgres import Database, PostgresServer, running_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Return a server that all tests share; none of them may stop it."""
    with running_server() as server:
        yield server


@pytest.fixture
def database(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Return an empty database; its password is in the environment."""
    database = postgres.new_database()
    for name, value in database.environment.items():
        monkeypatch.setenv(name, value)
    return database
