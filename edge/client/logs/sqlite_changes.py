"""Opens a log in SQLite to change it afterwards: assignments, erasing."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from edge.client.logs.failures import open_error
from edge.client.logs.sqlite_schema import check_identity
from edge.errors import ConfigError, LogFileError
from edge.files.regular import refuse_special

BUSY_S: Final = 10.0
"""How long to wait for a logger that writes to the same file."""


@contextmanager
def open_log(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a log; each statement commits at once, unless a transaction was begun.

    Raises:
        ConfigError: the file is not there, may not be read, or is no log of this kind.
        LogFileError: from the block, too: it cannot be read or written.
    """
    expected = "expected a log (.sqlite) that affect-edge log wrote"
    try:
        refuse_special(path)
        is_there = path.is_file()
    except OSError as error:
        raise open_error(path, error) from error
    if not is_there:
        raise ConfigError(f"--log {path}: no such file; {expected}")
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_S, isolation_level=None
        )
        try:
            check_identity(connection, f"--log {path}")
            yield connection
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        hint = ""
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            hint = "; stop the logger, which writes to it, and try again"
        raise LogFileError(f"--log {path}: {error}{hint}") from error
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"--log {path}: {error}; {expected}") from error


def columns(connection: sqlite3.Connection, table: str) -> set[str]:
    """Return the names of the columns of a table or view; empty if there is none."""
    return {
        name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", [table])
    }


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block does, all or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
