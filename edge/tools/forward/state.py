"""The forwarder's state: a small SQLite file with the cursor of each stream."""

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

from edge.client import Cursor
from edge.errors import ConfigError, LogFileError
from edge.files.regular import open_regular

_APPLICATION: Final = 0x61666677
_SETUP: Final = f"""
PRAGMA application_id = {_APPLICATION};
CREATE TABLE IF NOT EXISTS target (url TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cursor (
    stream TEXT PRIMARY KEY, epoch INTEGER NOT NULL, seq INTEGER NOT NULL
) WITHOUT ROWID;
"""


class ForwardState:
    """Cursors of one forwarder and one target; the file is locked. Not thread-safe.

    Args:
        path: the file; made if it is missing, readable by its owner alone.
        target: address of the broker; a file of another target is refused.

    Raises:
        ConfigError: the file cannot be used, belongs to another target, or is in use.
    """

    def __init__(self, path: Path, target: str) -> None:
        self._path = path
        try:
            os.close(open_regular(path, os.O_RDWR | os.O_CREAT))  # SQLite lets all users read it
            self._file = sqlite3.connect(path, timeout=0.5, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(f"--state {path}: {reason}; expected a file to write to") from error
        try:
            self._open(target)
        except sqlite3.Error as error:
            self._file.close()
            if "locked" in str(error):
                text = "in use by another forwarder; stop that one or name another file"
            else:
                text = f"{error}; expected a file that forward has made, or none"
            raise ConfigError(f"--state {path}: {text}") from error
        except ConfigError:
            self._file.close()
            raise

    def _open(self, target: str) -> None:
        self._file.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._file.execute("PRAGMA synchronous = FULL")
        self._file.execute("BEGIN EXCLUSIVE")
        tables = self._file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        application = self._file.execute("PRAGMA application_id").fetchone()[0]
        if tables and application != _APPLICATION:
            raise ConfigError(f"--state {self._path}: is another program's file; name another one")
        for statement in _SETUP.split(";"):
            self._file.execute(statement)
        known = self._file.execute("SELECT url FROM target").fetchone()
        if known is None:
            self._file.execute("INSERT INTO target VALUES (?)", (target,))
        elif known[0] != target:
            raise ConfigError(
                f"--state {self._path}: belongs to {known[0]}, not to {target}; name another file"
            )
        self._file.execute("COMMIT")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def cursors(self) -> list[Cursor]:
        """Return the last forwarded message of each stream."""
        return [Cursor(*row) for row in self._file.execute("SELECT stream, epoch, seq FROM cursor")]

    def store(self, cursors: Iterable[Cursor]) -> None:
        """Replace the cursors of these streams; on return they would survive a power cut.

        Raises:
            LogFileError: the file cannot be written; it holds the cursors before.
        """
        try:
            self._file.execute("BEGIN")
            self._file.executemany(
                "INSERT OR REPLACE INTO cursor VALUES (?, ?, ?)",
                [(each.stream, each.epoch, each.seq) for each in cursors],
            )
            self._file.execute("COMMIT")
        except sqlite3.Error as error:
            if self._file.in_transaction:
                self._file.execute("ROLLBACK")
            raise LogFileError(
                f"--state {self._path}: {error}; start the forwarder again: at most some messages"
                " arrive twice"
            ) from error
