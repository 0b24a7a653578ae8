"""The Parquet format of a log: a folder of tidy tables by device and day.

::

    OUT/faces/device=chamber-1/day=2026-11-27/STREAM-EPOCH-SEQ.parquet
    OUT/events/device=chamber-1/day=2026-11-27/STREAM-EPOCH-SEQ.parquet
    OUT/.spool/messages.sqlite

A Parquet file cannot be continued, and is readable only once it is closed. So messages are stored
in the spool first, a SQLite log, in transactions with the cursors. A spool that is large or old is
set aside and turned into Parquet files, which get their names when they are complete; then it is
deleted. After a kill that is done again: the same messages give the same names, so the files are
replaced, not doubled. ``STREAM-EPOCH-SEQ`` is the identity of a file's first message.

The column ``device`` is in the names of the folders, not in the files, and ``day`` (UTC, of
``unix_ns``) as well.
"""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from edge.client.gaps import Cursor
from edge.client.logs.arrow import require_arrow
from edge.client.logs.failures import log_error
from edge.client.logs.sqlite_log import SqliteLog
from edge.client.logs.sqlite_reader import SqliteReader
from edge.client.logs.stored_rows import MessageRows, StoredRows
from edge.client.logs.table_file import TableFile, opened_table
from edge.client.subscriber import Received
from edge.client.tidy import COLUMNS, EVENT_COLUMNS, Cell
from edge.clock import day, elapsed_ms, monotonic_ns
from edge.errors import ConfigError, LogFileError
from edge.files.durable import sync_folder

SPOOL_BYTES: Final = 32 << 20
"""Size of the spool at which it is turned into files: about half an hour at 20 messages a second;
it takes some seconds."""

SPOOL_MS: Final = 3_600_000.0
"""Longest time from a message to its file."""


class ParquetLog:
    """Tables in a folder; see ``LogFormat``. Not thread-safe.

    Args:
        path: the folder; made if missing.
        report: takes a line when a file was deleted or moved.

    Raises:
        ConfigError: the folder cannot be made or has other contents, pyarrow is missing, or another
            process writes to it.
    """

    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        self.path = path
        self._report = report
        self._spool_folder = path / ".spool"
        require_arrow("a log in Parquet", extra="parquet", instead="choose .sqlite")
        try:
            if path.exists() and not self._spool_folder.exists() and any(path.iterdir()):
                raise ConfigError(f"log {path}: exists and is no log; name another folder")
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            make_folders(self._spool_folder, path)
        except OSError as error:
            raise ConfigError(f"log {path}: cannot be made: {error.strerror}") from error
        self._spool = SqliteLog(self._spool_folder / "messages.sqlite", report)
        self._since_ns: int | None = None  # since when there is something in the spool
        self._is_sealed = False  # a spool was set aside, and is not converted yet

    @property
    def cut_bytes(self) -> int:
        """See ``LogFormat``."""
        return self._spool.cut_bytes

    @property
    def deleted_rows(self) -> int:
        """See ``LogFormat``."""
        return self._spool.deleted_rows

    @property
    def size(self) -> int:
        """Bytes of the spool."""
        return self._spool.size

    @property
    def day(self) -> str | None:
        """UTC day of the first message in the spool; see ``LogFormat``."""
        return self._spool.day

    def cursors(self) -> list[Cursor]:
        """Finish the files that a kill interrupted; return the cursors; see ``LogFormat``."""
        cursors = self._spool.cursors()
        self._convert()
        return cursors

    def write(self, received: Received) -> int:
        """Add a message, after its gap; see ``LogFormat``."""
        if self._since_ns is None:
            self._since_ns = monotonic_ns()
        return self._spool.write(received)

    def commit(self) -> None:
        """Store the messages in the spool; see ``LogFormat``."""
        was_due = self._spool.is_rotation_due
        self._spool.commit()
        self._is_sealed |= was_due and not self._spool.is_rotation_due
        is_old = self._since_ns is not None and elapsed_ms(self._since_ns) >= SPOOL_MS
        if self._is_sealed or is_old or self._spool.size >= SPOOL_BYTES:
            self.rotate()

    def rotate(self) -> None:
        """Turn the spool into files; see ``LogFormat``."""
        self._spool.rotate()
        if not self._spool.is_rotation_due:
            self._since_ns = None
        self._is_sealed = True
        self._convert()
        self._is_sealed = False

    def close(self) -> None:
        """Turn the spool into files and close it; see ``LogFormat``."""
        try:
            self.rotate()
        except LogFileError as error:  # the messages are in the spool: the next start does it
            self._report(f"{self.path}: {error}; the newest messages stay in {self._spool_folder}")
        finally:
            self._spool.close()

    def _convert(self) -> None:
        for sealed in sorted(self._spool_folder.glob("messages.????-??-??*.sqlite")):
            with SqliteReader(sealed) as reader, ExitStack() as stack:
                files = _Files(self.path, stack)
                for each in StoredRows(reader):
                    files.append("faces", each, each.frames)
                    files.append("events", each, each.events)
            with suppress(FileNotFoundError):
                sealed.unlink()


class _Files:
    """The open files of one spool, one for each table, device and day."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._open: dict[tuple[str, str, str], TableFile] = {}

    def append(self, table: str, message: MessageRows, rows: list[list[Cell]]) -> None:
        if not rows:
            return
        key = table, message.device, day(message.unix_ns)
        file = self._open.get(key)
        if file is None:
            device = quote(message.device, safe="")
            folder = self._folder / table / f"device={device}" / f"day={key[2]}"
            try:
                make_folders(folder, self._folder)
            except OSError as error:
                raise log_error(folder, error) from error
            columns = COLUMNS if table == "faces" else EVENT_COLUMNS
            path = folder / f"{message.identity}.parquet"
            file = self._stack.enter_context(opened_table(path, columns[1:]))
            self._open[key] = file
        file.append([row[1:] for row in rows])


def make_folders(folder: Path, within: Path) -> None:
    """Make a folder and those above it, so that they survive a power cut."""
    if not folder.is_dir():
        if folder != within:
            make_folders(folder.parent, within)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)
