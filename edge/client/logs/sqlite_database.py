"""Opens the database of a SQLite log, and translates its errors."""

import sqlite3
from pathlib import Path
from typing import Final

from edge.client.logs.sqlite_schema import APPLICATION_ID, VERSION, check_identity, schema
from edge.errors import ConfigError, LogFileError, LogUnavailable

BUSY_S: Final = 5.0
"""How long a commit waits for another program that writes to the database."""

_FULL: Final = frozenset(["SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"])
_BUSY: Final = frozenset(["SQLITE_BUSY", "SQLITE_LOCKED"])


class DamagedLog(LogFileError):
    """The database is a log whose pages are damaged."""


def opened_database(path: Path) -> sqlite3.Connection:
    """Open a log, or make its tables in an empty file.

    Raises:
        ConfigError: it is not a log of this version.
        DamagedLog: it is a log, and damaged.
        LogFileError: the disk fails (LogUnavailable: there is no space).
    """
    database = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    try:
        (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables:
            check_identity(database, f"log {path}")
        database.execute("PRAGMA page_size = 8192")  # seven messages; 4096 wastes a fifth
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA journal_size_limit = 8388608")
        if not tables:
            database.executescript(
                f"BEGIN; PRAGMA application_id = {APPLICATION_ID};"
                f" PRAGMA user_version = {VERSION}; {schema()} COMMIT;"
            )
    except sqlite3.Error as error:
        database.close()
        if getattr(error, "sqlite_errorname", "") == "SQLITE_NOTADB":
            raise ConfigError(f"log {path}: {error}; name another file") from error
        raise database_error(path, error) from error
    except ConfigError:
        database.close()
        raise
    return database


def is_busy(error: sqlite3.Error) -> bool:
    """Return whether another program has the database open, or writes to it."""
    return getattr(error, "sqlite_errorname", "") in _BUSY


def database_error(path: Path, error: sqlite3.Error) -> LogFileError:
    """Return the error of a log: ``LogUnavailable`` for now, ``DamagedLog``, or for good."""
    name = getattr(error, "sqlite_errorname", "")
    if name in _FULL:
        return LogUnavailable(f"log {path}: No space left on device; make room")
    if is_busy(error):
        return LogUnavailable(f"log {path}: another program writes to it; end it")
    if name.startswith("SQLITE_CORRUPT"):
        return DamagedLog(f"is damaged ({error})")
    return LogFileError(
        f"log {path}: {error} ({name}); what was committed is complete; check the disk and start"
        " the logger again"
    )


def companion(path: Path, suffix: str) -> Path:
    """Return the path of a file that SQLite keeps next to a database, such as ``-wal``."""
    return path.with_name(path.name + suffix)
