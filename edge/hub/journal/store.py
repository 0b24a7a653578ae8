"""The SQLite file of the journal: groups of messages, epochs, gaps, consumers.

Write-ahead log with ``synchronous=FULL``: a commit that has returned survives a power cut. The key
of a group is ``epoch << 40 | first_seq``, so that groups lie in order without an index of their
own, which would cost another page at each commit. Pages that trimming frees are reused; the file
does not shrink.
"""

import contextlib
import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge import clock
from edge.hub.journal.batch import MissingRange, Position
from edge.hub.journal.entries import DICTIONARY, Entry, Group, into_groups

NAME: Final = "journal.sqlite"
VERSION: Final = 1
_APPLICATION_ID: Final = 0x61666665
_SEQ_BITS: Final = 40
_PAGE: Final = 4096
AUTOCHECKPOINT = 1000  # pages of the log that are written back into the file at once
_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE groups (
  id INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL, unix_ns INTEGER NOT NULL,
  run_s INTEGER NOT NULL, size INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE epochs (
  epoch INTEGER PRIMARY KEY, first BLOB, unix_ns INTEGER, boot_id TEXT,
  last_seq INTEGER NOT NULL, ended INTEGER NOT NULL);
CREATE TABLE gaps (
  epoch INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER, reason TEXT NOT NULL);
CREATE TABLE consumers (
  name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
  seen_run_s INTEGER NOT NULL) WITHOUT ROWID;
"""


class StoreDamaged(Exception):
    """The file is not a journal of this stream, or is damaged; the text says how."""


@dataclass(frozen=True, slots=True)
class EpochRow:
    """What is known of an epoch.

    Attributes:
        epoch: its number.
        first: its first message, kept for ever; None if that was never stored.
        unix_ns: wall time of the first message; 0 without one.
        boot_id: of the machine's boot in which it ran; empty if unknown.
        last_seq: highest number that was ever stored; -1 if none.
        ended: whether its last message was stored, after which there is none.
    """

    epoch: int
    first: bytes | None
    unix_ns: int
    boot_id: str
    last_seq: int
    ended: bool


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Raise ``StoreDamaged`` for what SQLite reports as damage, ``OSError`` for other failures."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGE or not isinstance(error, sqlite3.OperationalError):
            raise StoreDamaged(str(error)) from error
        if code == sqlite3.SQLITE_ERROR:  # such as a table that is not there
            raise StoreDamaged(str(error)) from error
        raise OSError(f"journal: {error}") from error


def set_aside(path: Path) -> Path:
    """Rename a damaged file and its companions; return the new name, which is free.

    Raises:
        OSError: it cannot be renamed.
    """
    number = 1
    while (fresh := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm", ""):
        companion = path.with_name(path.name + suffix)
        with contextlib.suppress(FileNotFoundError):
            companion.rename(fresh.with_name(fresh.name + suffix))
    return fresh


class Store:
    """An open journal file. One thread writes; ``groups_after`` and others read from any thread.

    Raises:
        StoreDamaged: from any method: the file is damaged.
        OSError: from any method: it cannot be written or read now.
    """

    def __init__(self, path: Path, stream: str, *, check_s: float) -> None:
        """Open the file, or create it.

        Args:
            path: of the file.
            stream: that its messages belong to.
            check_s: stop checking the pages after so long; what is damaged beyond is found in use.
        """
        self.path = path
        self._read_lock = threading.Lock()
        self.is_checked = False
        with contextlib.suppress(FileNotFoundError):
            state = path.lstat()
            if not stat.S_ISREG(state.st_mode):
                raise StoreDamaged("not a regular file")
            if state.st_uid != os.geteuid():
                raise StoreDamaged(f"belongs to user {state.st_uid}; expected {os.geteuid()}")
            _check_header(path)
        with translate_errors():
            self._writer = self._connect()
            try:
                self._prepare(stream, check_s)
                self._reader = self._connect()
            except BaseException:
                self._writer.close()
                raise

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=5, isolation_level=None, check_same_thread=False
        )
        try:
            # the size of a page counts for a new file only
            connection.execute(f"PRAGMA page_size={_PAGE}")
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

    def _prepare(self, stream: str, check_s: float) -> None:
        if not self._value("SELECT count(*) FROM sqlite_schema"):
            # one transaction: an interrupted start leaves an empty file, which is as good as none
            self._writer.executescript(
                f"BEGIN; PRAGMA user_version={VERSION};"
                f"{_SCHEMA}; INSERT INTO meta VALUES ('stream', '{stream}'); COMMIT"
            )
            self._writer.execute("INSERT INTO meta VALUES ('dictionary', ?)", (DICTIONARY,))
            _sync_folder(self.path.parent)
        if (version := self._value("PRAGMA user_version")) != VERSION:
            raise StoreDamaged(f"schema version {version}; this program knows {VERSION}")
        if (found := self._value("SELECT value FROM meta WHERE key='stream'")) != stream:
            raise StoreDamaged(f"holds stream {found}; expected {stream}")
        self.dictionary: bytes = self._value("SELECT value FROM meta WHERE key='dictionary'")
        if self.dictionary is None:  # the start was interrupted right here
            self.dictionary = DICTIONARY
            self._writer.execute("INSERT INTO meta VALUES ('dictionary', ?)", (DICTIONARY,))
        self._quick_check(check_s)

    def _quick_check(self, check_s: float) -> None:
        start_ns = clock.monotonic_ns()
        self._writer.set_progress_handler(
            lambda: clock.elapsed_ms(start_ns) > check_s * 1000, 10_000
        )
        try:
            found = self._value("PRAGMA quick_check(1)")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            return
        finally:
            self._writer.set_progress_handler(None, 0)
        if found != "ok":
            raise StoreDamaged(found)
        self.is_checked = True

    def _value(self, statement: str, *values: object) -> Any:
        row = self._writer.execute(statement, values).fetchone()
        return row[0] if row else None

    def close(self) -> None:
        """Close; the last connection writes the log back into the file."""
        with self._read_lock, contextlib.suppress(sqlite3.Error):
            self._reader.close()
        with contextlib.suppress(sqlite3.Error):
            self._writer.close()

    # -- what the writing thread does --------------------------------------------------------------

    def commit(
        self,
        entries: Sequence[Entry],
        *,
        run_s: int,
        boot_id: str = "",
        gaps: Iterable[MissingRange] = (),
        consumers: Mapping[str, tuple[Position, int]] | None = None,
        complete: int | None = None,
    ) -> None:
        """Store messages, after which they survive a power cut.

        Messages that are stored already are left out. ``run_s``: the journal's clock, see
        ``Journal``. ``consumers``: if given, replaces those that are stored: name -> position, and
        ``run_s`` at which it was last seen. ``complete``: an epoch that has no more messages.
        """
        with self._transaction() as execute:
            row = execute("SELECT id, last_seq FROM groups ORDER BY id DESC LIMIT 1").fetchone()
            if row is not None:  # a commit that reported a failure may have succeeded
                newest = (row[0] >> _SEQ_BITS, row[1])
                entries = [each for each in entries if (each.epoch, each.seq) > newest]
            self._writer.executemany(
                "INSERT INTO groups VALUES (?,?,?,?,?,?)",
                [
                    (_key(each.epoch, each.first_seq), each.last_seq, each.unix_ns, run_s,
                     each.size, each.data)
                    for each in into_groups(entries, self.dictionary)
                ],
            )  # fmt: skip
            for epoch in sorted({entry.epoch for entry in entries}):
                execute("INSERT OR IGNORE INTO epochs VALUES (?,NULL,0,?,-1,0)", (epoch, boot_id))
            for entry in entries:
                if entry.seq == 0:
                    self._keep_first(entry)
                if entry.is_last:
                    execute("UPDATE epochs SET ended=1 WHERE epoch=?", (entry.epoch,))
            self._writer.executemany(
                "INSERT INTO gaps VALUES (?,?,?,?)",
                [(gap.epoch, gap.first_missing, gap.last_missing, gap.reason) for gap in gaps],
            )
            if complete is not None:
                execute(
                    "INSERT INTO epochs VALUES (?,NULL,0,?,-1,1)"
                    " ON CONFLICT (epoch) DO UPDATE SET ended=1",
                    (complete, boot_id),
                )
            if consumers is not None:
                execute("DELETE FROM consumers")
                self._writer.executemany(
                    "INSERT INTO consumers VALUES (?,?,?,?)",
                    [(name, at.epoch, at.seq, seen) for name, (at, seen) in consumers.items()],
                )

    def restore_first(self, entry: Entry, boot_id: str) -> None:
        """Store the first message of an epoch again, after another file was set aside."""
        with self._transaction() as execute:
            execute("INSERT OR IGNORE INTO epochs VALUES (?,NULL,0,?,-1,0)", (entry.epoch, boot_id))
            self._keep_first(entry)

    def _keep_first(self, entry: Entry) -> None:
        self._writer.execute(
            "UPDATE epochs SET first=?, unix_ns=? WHERE epoch=?",
            (entry.body, entry.unix_ns, entry.epoch),
        )

    def trim(
        self, *, count: int, older_than_run_s: int | None, upto: Position | None
    ) -> list[Group]:
        """Delete up to ``count`` of the oldest groups; return them, without their data.

        The newest group stays. ``older_than_run_s``: only groups stored before this; None: whatever
        their age. ``upto``: only groups whose messages all lie up to this; None: any.
        """
        with self._transaction() as execute:
            rows = execute(
                "SELECT id, last_seq, unix_ns, size, run_s FROM groups"
                " WHERE id < (SELECT max(id) FROM groups) ORDER BY id LIMIT ?",
                (count,),
            ).fetchall()
            groups = []
            for key, last_seq, unix_ns, size, run_s in rows:
                group = _group_of(key, last_seq, unix_ns, size, b"")
                if older_than_run_s is not None and run_s >= older_than_run_s:
                    break
                if upto is not None and group.last_position > upto:
                    break
                groups.append(group)
                execute("DELETE FROM groups WHERE id=?", (key,))
            # the highest number of each epoch, which its groups show no more
            for epoch, last_seq in {each.epoch: each.last_seq for each in groups}.items():
                execute(
                    "UPDATE epochs SET last_seq=max(last_seq, ?) WHERE epoch=?", (last_seq, epoch)
                )
        return groups

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        with translate_errors():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer.execute
                self._writer.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._writer.execute("ROLLBACK")
                raise

    # -- what any thread does ----------------------------------------------------------------------

    def _read(self, statement: str, *values: object) -> list[Any]:
        with self._read_lock, translate_errors():
            return self._reader.execute(statement, values).fetchall()

    def group_after(self, after: Position) -> Group | None:
        """Return the group with the next message after a position, in this epoch or a later one."""
        key = _key(after.epoch, max(0, after.seq))
        columns = "id, last_seq, unix_ns, size, data"
        # the group that begins at or before the position may reach beyond it
        for row in self._read(
            f"SELECT {columns} FROM groups WHERE id <= ? ORDER BY id DESC LIMIT 1", key
        ):
            group = _group_of(*row)
            if (group.epoch, group.last_seq) > (after.epoch, after.seq):
                return group
        for row in self._read(
            f"SELECT {columns} FROM groups WHERE id > ? ORDER BY id LIMIT 1", key
        ):
            return _group_of(*row)
        return None

    def oldest(self) -> Group | None:
        """Return the oldest group, without its data."""
        return self._end("ASC")

    def newest(self) -> Group | None:
        """Return the newest group, without its data."""
        return self._end("DESC")

    def _end(self, order: str) -> Group | None:
        rows = self._read(
            f"SELECT id, last_seq, unix_ns, size FROM groups ORDER BY id {order} LIMIT 1"
        )
        if not rows:
            return None
        key, last_seq, unix_ns, size = rows[0]
        return _group_of(key, last_seq, unix_ns, size, b"")

    def epoch(self, number: int) -> EpochRow | None:
        """Return what is known of an epoch."""
        rows = self._read("SELECT * FROM epochs WHERE epoch=?", number)
        if not rows:
            return None
        epoch, first, unix_ns, boot_id, last_seq, ended = rows[0]
        stored = self._read(
            "SELECT last_seq FROM groups WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT 1",
            _key(epoch, 0),
            _key(epoch + 1, 0),
        )
        last_seq = max(last_seq, stored[0][0] if stored else -1)
        return EpochRow(epoch, first, unix_ns or 0, boot_id or "", last_seq, bool(ended))

    def next_epoch(self, after: int) -> int | None:
        """Return the number of the next known epoch."""
        found: int | None = self._read("SELECT min(epoch) FROM epochs WHERE epoch > ?", after)[0][0]
        return found

    def gap(self, epoch: int, seq: int) -> MissingRange | None:
        """Return the recorded gap that holds a message; None if none was recorded."""
        rows = self._read(
            "SELECT * FROM gaps WHERE epoch=? AND first <= ? AND (last IS NULL OR last >= ?)"
            " ORDER BY first DESC LIMIT 1",
            *(epoch, seq, seq),
        )
        return MissingRange(*rows[0]) if rows else None

    def consumers(self) -> dict[str, tuple[Position, int]]:
        """Return the stored consumers: name -> position, and ``run_s`` when last seen."""
        rows = self._read("SELECT * FROM consumers")
        return {name: (Position(epoch, seq), seen) for name, epoch, seq, seen in rows}

    def run_s(self) -> int:
        """Return the journal's clock at the newest group, seconds; 0 without one."""
        rows = self._read("SELECT run_s FROM groups ORDER BY id DESC LIMIT 1")
        return int(rows[0][0]) if rows else 0

    def used_bytes(self) -> int:
        """Return the size of the pages in use; the file may be larger."""
        pages, free = (
            self._read(f"PRAGMA {name}")[0][0] for name in ("page_count", "freelist_count")
        )
        return int((pages - free) * _PAGE)


def _key(epoch: int, seq: int) -> int:
    return epoch << _SEQ_BITS | seq


def _group_of(key: int, last_seq: int, unix_ns: int, size: int, data: bytes) -> Group:
    epoch, first_seq = key >> _SEQ_BITS, key & (1 << _SEQ_BITS) - 1
    return Group(epoch, first_seq, last_seq, unix_ns, size, data)


def _check_header(path: Path) -> None:
    """Refuse what is no file of this program before SQLite opens it, which may change it."""
    with path.open("rb") as file:
        head = file.read(100)
    if head and head[:16] != b"SQLite format 3\0":
        raise StoreDamaged("not a SQLite database")
    if head and int.from_bytes(head[68:72], "big") != _APPLICATION_ID:
        raise StoreDamaged("a database of another program")


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
