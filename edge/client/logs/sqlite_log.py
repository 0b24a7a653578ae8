"""The SQLite format of a log: messages as received, with views of typed columns.

Tables and views: ``edge.client.logs.sqlite_schema``. Messages and cursors are stored in one
transaction (WAL, synchronous=FULL), so each message is in the log exactly once. Of the statuses,
which come every second and are not numbered, the newest of each minute is kept.

Other programs may read the file while it is written.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from edge.client.axis import Origin
from edge.client.gaps import Cursor
from edge.client.logs.failures import log_error, open_error
from edge.client.logs.progress import Progress, ProgressFile, SavedProgress
from edge.client.logs.rotation import dated_name
from edge.client.logs.sqlite_database import (
    BUSY_S,
    DamagedLog,
    companion,
    database_error,
    is_busy,
    opened_database,
)
from edge.client.subscriber import Received
from edge.client.tidy import PlacedGap
from edge.errors import ConfigError, LogFileError
from edge.files.durable import sync_folder
from edge.files.lock import lock_file
from edge.files.regular import open_regular
from edge.protocol.messages import StatusMessage

_MINUTE_NS: Final = 60_000_000_000


class SqliteLog:
    """Messages in a database; see ``LogFormat``. Not thread-safe.

    Args:
        path: the file; created with mode 0600 if missing, in a folder that exists.
        report: takes a line when the file was deleted, moved or emptied.

    Raises:
        ConfigError: it cannot be opened or locked, is no log of this version, or another process
            writes to it; it is left unchanged.
    """

    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        self.path = path
        self.cut_bytes = 0
        self.deleted_rows = 0
        self._report = report
        self._progress_file = ProgressFile(path, report)
        self._messages: list[tuple[Any, ...]] = []
        self._statuses: list[tuple[Any, ...]] = []
        self._gaps: list[tuple[Any, ...]] = []
        self._pending_bytes = 0
        self._rows = 0  # of this run, in this file
        self._progress = Progress()
        self._is_rotation_due = False  # another program has the file open
        self._open()

    @property
    def is_rotation_due(self) -> bool:
        """Whether a rotation waits until no other program has the file open."""
        return self._is_rotation_due

    @property
    def size(self) -> int:
        """Bytes of the file and its write-ahead log, and of the messages in memory."""
        return self._pending_bytes + sum(map(_size, (self.path, companion(self.path, "-wal"))))

    @property
    def day(self) -> str | None:
        """See ``LogFormat``; None while a rotation is due: it is not asked for again."""
        return None if self._is_rotation_due else self._progress.day

    def cursors(self) -> list[Cursor]:
        """Return the cursors; see ``LogFormat``."""
        saved = _load(self._database)
        if not saved.cursors:  # a new file: the one before it may have been moved away
            earlier = self._progress_file.load() or SavedProgress()
            saved.cursors, saved.origins = earlier.cursors, earlier.origins
        self._progress = Progress(saved.cursors, saved.origins, saved.day)
        return self._progress.cursors

    def write(self, received: Received) -> int:
        """Add a message, after its gap; see ``LogFormat``."""
        message = received.message
        time_s = round(self._progress.note(received), 6) + 0.0
        text = received.body.decode()
        unix_ns = message.time.unix_ns
        for gap in received.gaps:
            placed = PlacedGap.before(message, gap, time_s)
            missing = (gap.stream, gap.epoch, gap.first_missing, gap.last_missing, gap.reason)
            self._gaps.append((*missing, message.device, unix_ns, placed.monotonic_ns, time_s))
        head = (message.stream, message.epoch)
        if isinstance(message, StatusMessage):
            minute = message.time.monotonic_ns // _MINUTE_NS
            self._statuses.append((*head, minute, message.device, unix_ns, text))
        else:
            row = (*head, message.seq, message.kind, message.device, unix_ns, time_s, text)
            self._messages.append(row)
        self._pending_bytes += len(text)
        return 1

    def commit(self) -> None:
        """Store messages and cursors in one transaction; see ``LogFormat``."""
        self._follow_path()
        self._commit()
        if self._is_rotation_due:
            self.rotate()

    def _commit(self) -> None:
        if not self._has_pending:
            return
        try:
            self._transaction(self._store)
        except DamagedLog as error:
            self._release()
            self._set_aside_damaged(error)
            self._begin(self._progress.day)
            self._transaction(self._store)
        self._rows += len(self._messages) + len(self._statuses) + len(self._gaps)
        self._messages.clear()
        self._statuses.clear()
        self._gaps.clear()
        self._pending_bytes = 0

    def rotate(self) -> None:
        """Rename the file; see ``LogFormat``.

        While another program has the file open, it is only noted: the log goes on in the file, and
        ``commit`` tries again. A reader uses the names of the write-ahead log that it has opened,
        and would delete that of the new file.
        """
        if self._fd < 0:
            self._begin(self._progress.day)
        if (on_day := self._progress.day) is None:
            return
        self._progress_file.store(self._progress)  # for a kill before the new file has its cursors
        is_alone = self._leave_wal_mode()
        if not is_alone and not self._is_rotation_due:
            self._report(
                f"{self.path}: another program has the log open; it is rotated when that ends"
            )
        elif is_alone and self._is_rotation_due:
            self._report(f"{self.path}: no other program has the log open; it is rotated")
        self._is_rotation_due = not is_alone
        if is_alone:
            self._rename(dated_name(self.path, on_day), on_day)

    def _leave_wal_mode(self) -> bool:
        """Make a single file, readable without a write-ahead log, and close it.

        Return False if another program has it open; then nothing has changed.
        """
        try:
            self._database.execute("PRAGMA busy_timeout = 0")
            self._database.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.Error as error:
            if is_busy(error):
                self._database.execute(f"PRAGMA busy_timeout = {BUSY_S * 1000:.0f}")
                return False
        with suppress(sqlite3.Error):
            self._database.close()
        return True

    def _rename(self, name: Path, on_day: str) -> None:
        try:
            with suppress(FileNotFoundError):  # the database failed
                os.rename(companion(self.path, "-wal"), companion(name, "-wal"))
            os.rename(self.path, name)
            sync_folder(self.path.parent)
        except OSError as error:
            raise log_error(self.path, error) from error
        finally:
            self._release()
            self._begin(on_day)

    def close(self) -> None:
        """Close the file; see ``LogFormat``."""
        if not self._has_pending:
            with suppress(LogFileError):  # the file has its cursors; this is if it is moved away
                self._progress_file.store(self._progress)
        self._release()

    @property
    def _has_pending(self) -> bool:
        return bool(self._messages or self._statuses or self._gaps)

    def _begin(self, on_day: str | None) -> None:
        """Open the file at the path; its day is ``on_day`` if it has messages, or gets some."""
        try:
            self._open()
        except ConfigError as error:
            raise LogFileError(str(error)) from error
        self._rows = 0
        if not self._messages and _load(self._database).day is None:
            on_day = None
        self._progress.day = on_day

    def _open(self) -> None:
        try:
            self._fd = open_regular(self.path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise open_error(self.path, error) from error
        try:
            in_use = "another process writes to it; give each logger its own file"
            lock_file(self._fd, name=f"log {self.path}", in_use=in_use)
            is_new = _size(self.path) == 0
            if is_new:
                self._set_aside_wal()
            self._database = opened_database(self.path)
            if is_new:
                sync_folder(self.path.parent)
        except DamagedLog as error:
            os.close(self._fd)
            self._fd = -1
            self._set_aside_damaged(error)
            self._open()
        except (ConfigError, LogFileError):
            os.close(self._fd)
            self._fd = -1
            raise

    def _set_aside_damaged(self, error: DamagedLog) -> None:
        """Rename the closed database and its write-ahead log, for someone to repair."""
        name = dated_name(self.path, "damaged")
        try:
            for suffix in ("-wal", "-shm"):
                with suppress(FileNotFoundError):
                    os.rename(companion(self.path, suffix), companion(name, suffix))
            os.rename(self.path, name)
        except OSError as renaming:
            raise log_error(self.path, renaming) from renaming
        self._report(f"{self.path}: {error}; renamed to {name.name}, a new log is started")

    def _set_aside_wal(self) -> None:
        """Keep the write-ahead log of a file that is gone: SQLite would delete it."""
        wal = companion(self.path, "-wal")
        if _size(wal):
            kept, number = wal.with_name(f"{wal.name}.kept"), 1
            while kept.exists():
                number += 1
                kept = wal.with_name(f"{wal.name}.kept-{number}")
            with suppress(OSError):
                os.rename(wal, kept)
                self._report(
                    f"{self.path}: the file is gone, but not its newest messages; they are in"
                    f" {kept.name}: put it next to the moved file as NAME-wal, and open that"
                )

    def _checkpoint(self) -> bool:
        """Write what is in the write-ahead log into the database; return whether that is all."""
        try:
            (busy, *_), *_ = self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            return False
        return not busy

    def _release(self) -> None:
        with suppress(sqlite3.Error):
            self._database.close()
        if self._fd >= 0:
            os.close(self._fd)  # only now: it would release the locks of SQLite, too
            self._fd = -1

    def _transaction(self, action: Callable[[], None]) -> None:
        try:
            self._database.execute("BEGIN IMMEDIATE")
            action()
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            raise database_error(self.path, error) from error

    def _store(self) -> None:
        run = self._database.executemany
        run("INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?)", self._messages)
        run("INSERT OR REPLACE INTO statuses VALUES (?, ?, ?, ?, ?, ?)", self._statuses)
        run("INSERT OR IGNORE INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", self._gaps)
        # all anew, the newest stream last: without journal.path, each start has another stream
        cursors = [(each.stream, each.epoch, each.seq) for each in self._progress.cursors]
        self._database.execute("DELETE FROM cursors")
        run("INSERT INTO cursors VALUES (?, ?, ?)", cursors)
        axes = [(a.stream, a.epoch, a.start_ns, a.media_ns) for a in self._progress.origins]
        self._database.execute("DELETE FROM axes")
        run("INSERT INTO axes VALUES (?, ?, ?, ?)", axes)

    def _follow_path(self) -> None:
        """If the path no longer leads to the open file, or it was emptied, begin a new one."""
        if self._fd < 0:  # there was no space for a new file
            self._begin(self._progress.day)
        opened = os.fstat(self._fd)
        try:
            is_same = os.path.samestat(os.stat(self.path), opened)
        except (FileNotFoundError, NotADirectoryError):
            is_same = False
        except OSError as error:  # the disk fails: nothing is known about the file
            raise log_error(self.path, error) from error
        if is_same and opened.st_size > 0:
            return
        if opened.st_nlink == 0:
            self.deleted_rows += self._rows
            fate = f"was deleted with {self._rows} rows of this run"
        elif is_same:
            fate = "was emptied (rotate with SIGHUP or --rotate, not with copytruncate)"
        else:
            fate = "was moved"
            if not self._checkpoint():  # what is in the write-ahead log belongs to that file
                self._set_aside_wal()
        self._discard_database(remove_file=is_same)
        self._begin(self._progress.day)
        self._report(f"{self.path}: {fate} while it was written; it goes on in a new file")

    def _discard_database(self, *, remove_file: bool) -> None:
        # closing would write the write-ahead log into a file that was emptied
        unused = [companion(self.path, suffix) for suffix in ("-wal", "-shm")]
        for path in [self.path, *unused] if remove_file else unused:
            with suppress(OSError):
                path.unlink()
        self._release()


def _load(database: sqlite3.Connection) -> SavedProgress:
    with closing(database.cursor()) as cursor:
        cursors = [Cursor(*row) for row in cursor.execute("SELECT * FROM cursors ORDER BY rowid")]
        origins = [Origin(*row) for row in cursor.execute("SELECT * FROM axes ORDER BY rowid")]
        first = cursor.execute(
            "SELECT date(unix_ns / 1000000000, 'unixepoch') FROM messages ORDER BY rowid LIMIT 1"
        ).fetchone()
    return SavedProgress(cursors, origins, first[0] if first else None)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
