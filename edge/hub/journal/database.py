"""Opens the journal's SQLite file: its settings, its schema, and whether it is ours and intact."""

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from edge import clock
from edge.files.durable import damaged_name, sync_folder
from edge.hub.journal.entries import DICTIONARY

VERSION: Final = 1
PAGE: Final = 4096
AUTOCHECKPOINT = 1000  # pages of the log that are written back into the file at once
_APPLICATION_ID: Final = 0x61666665
_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_SCHEMA: Final = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID",
    "CREATE TABLE groups (id INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL,"
    " unix_ns INTEGER NOT NULL, run_s INTEGER NOT NULL, size INTEGER NOT NULL, data BLOB NOT NULL)",
    "CREATE TABLE epochs (epoch INTEGER PRIMARY KEY, first BLOB, unix_ns INTEGER, boot_id TEXT,"
    " last_seq INTEGER NOT NULL, ended INTEGER NOT NULL)",
    "CREATE TABLE gaps (epoch INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER,"
    " reason TEXT NOT NULL)",
    "CREATE TABLE consumers (name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,"
    " seen_run_s INTEGER NOT NULL) WITHOUT ROWID",
)


class StoreDamaged(Exception):
    """The file is not a journal of this stream, or is damaged; the text gives the reason."""


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Raise ``StoreDamaged`` for what SQLite reports as damage, ``OSError`` for other failures."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        lacks = code == sqlite3.SQLITE_ERROR and str(error).startswith("no such")  # table, column
        # code 0: not from SQLite, but from Python, which cannot decode a value
        is_foreign = code == 0 or not isinstance(error, sqlite3.OperationalError)
        if code in _DAMAGE or lacks or is_foreign:
            raise StoreDamaged(str(error)) from error
        raise OSError(f"journal: {error}") from error
    except UnicodeError as error:  # Python decodes what SQLite takes for text
        raise StoreDamaged(f"text that is not UTF-8: {error}") from error


def set_aside(path: Path) -> Path:
    """Rename a damaged file and its companions; return the new name, which is free.

    Raises:
        OSError: it cannot be renamed.
    """
    fresh = damaged_name(path)
    for suffix in ("-wal", "-shm", ""):
        companion = path.with_name(path.name + suffix)
        with contextlib.suppress(FileNotFoundError):
            companion.rename(fresh.with_name(fresh.name + suffix))
    return fresh


def require_own_file(path: Path) -> None:
    """Refuse what is no file of this program before SQLite opens it, which may change it.

    Raises:
        StoreDamaged: it belongs to another program or user.
        OSError: it cannot be read.
    """
    try:
        state = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(state.st_mode):
        raise StoreDamaged("not a regular file")
    if state.st_uid != os.geteuid():
        raise StoreDamaged(f"belongs to user {state.st_uid}; expected {os.geteuid()}")
    with path.open("rb") as file:
        head = file.read(100)
    if head and head[:16] != b"SQLite format 3\0":
        raise StoreDamaged("not a SQLite database")
    if head and int.from_bytes(head[68:72], "big") != _APPLICATION_ID:
        raise StoreDamaged("a database of another program")


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection with the journal's settings; any thread may use it, one at a time."""
    # personal data; the files that SQLite makes beside it take the mode of this one
    with contextlib.suppress(OSError):  # SQLite says what is wrong
        path.touch(mode=0o600, exist_ok=False)
    connection = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA page_size={PAGE}")  # of a new file
        if not connection.execute("PRAGMA application_id").fetchone()[0]:
            # before the log is used, so that the file itself shows whose it is
            connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint={AUTOCHECKPOINT}")
        connection.execute("PRAGMA journal_size_limit=8388608")  # reused in place below it
        connection.execute("PRAGMA secure_delete=FAST")  # no remains within pages in use
        connection.execute("PRAGMA cache_size=-4000")
        connection.execute("PRAGMA mmap_size=0")  # an I/O error would be SIGBUS
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(connection: sqlite3.Connection, path: Path, stream: str) -> bytes:
    """Create the schema in a new file; else require that it is ours. Return the dictionary.

    Raises:
        StoreDamaged: the file is of another version or stream.
    """

    def value(statement: str) -> Any:
        row = connection.execute(statement).fetchone()
        return row[0] if row else None

    if not value("SELECT count(*) FROM sqlite_schema"):
        # one transaction: an interrupted start leaves an empty file, which is as good as none
        connection.execute("BEGIN")
        connection.execute(f"PRAGMA user_version={VERSION}")
        for statement in _SCHEMA:
            connection.execute(statement)
        meta = {"stream": stream, "dictionary": DICTIONARY}
        connection.executemany("INSERT INTO meta VALUES (?,?)", meta.items())
        connection.execute("COMMIT")
        sync_folder(path.parent)
    if (version := value("PRAGMA user_version")) != VERSION:
        raise StoreDamaged(f"schema version {version}; this program knows {VERSION}")
    if (found := value("SELECT value FROM meta WHERE key='stream'")) != stream:
        raise StoreDamaged(f"holds stream {found}; expected {stream}")
    dictionary = value("SELECT value FROM meta WHERE key='dictionary'")
    if not isinstance(dictionary, bytes):
        raise StoreDamaged("no dictionary")
    return dictionary


def quick_check(connection: sqlite3.Connection, check_s: float) -> bool:
    """Check the file's pages for ``check_s`` at most; return whether all were checked.

    Raises:
        StoreDamaged: a page is damaged.
    """
    start_ns = clock.monotonic_ns()
    connection.set_progress_handler(lambda: clock.elapsed_ms(start_ns) > check_s * 1000, 10_000)
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return False
    finally:
        connection.set_progress_handler(None, 0)
    if found != "ok":
        raise StoreDamaged(" ".join(found.split()))
    return True
