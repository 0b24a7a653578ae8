"""The SQLite file of the journal: groups of messages, epochs, gaps, consumers.

Write-ahead log with ``synchronous=FULL``: a commit that has returned survives a power cut. The key
of a group is ``epoch << 40 | first_seq``, so that groups lie in order without an index of their
own, which would cost another page at each commit. Pages that trimming frees are reused; the file
does not shrink.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, Final

from edge.hub.journal.batch import MissingRange, Position
from edge.hub.journal.consumers import Consumer
from edge.hub.journal.database import (
    PAGE,
    StoreDamaged,
    connect,
    prepare,
    quick_check,
    require_own_file,
    translate_errors,
)
from edge.hub.journal.entries import Entry, Group, into_groups

NAME: Final = "journal.sqlite"
_SEQ_BITS: Final = 40


@dataclass(frozen=True, slots=True)
class EpochRow:
    """What is known of an epoch.

    Attributes:
        epoch: its number.
        first: its first message, kept for ever; None if that was never stored.
        unix_ns: wall time of the first message; 0 without one.
        boot_id: of the machine's boot in which it ran; empty if unknown.
        last_seq: highest number that was ever stored; -1 if none.
        ended: whether its last message was stored, after which there is none; of a killed epoch,
            the last one of its tail.
    """

    epoch: int
    first: bytes | None
    unix_ns: int
    boot_id: str
    last_seq: int
    ended: bool


class Store:
    """An open journal file. One thread writes; any thread reads.

    Attributes:
        dictionary: of the compressed groups.
        is_checked: whether all pages were checked when the file was opened.

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
        require_own_file(path)
        with translate_errors():
            self._writer = connect(path)
            try:
                self.dictionary = prepare(self._writer, path, stream)
                self.is_checked = quick_check(self._writer, check_s)
                self._reader = connect(path)
            except BaseException:
                self._writer.close()
                raise

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
        consumers: Mapping[str, Consumer] | None = None,
        complete: Iterable[int] = (),
    ) -> None:
        """Store messages, after which they survive a power cut.

        Messages that are stored already are left out. ``run_s``: the journal's clock, see
        ``Journal``. ``consumers``: if given, by name, replaces those that are stored.
        ``complete``: epochs that have no more messages.
        """
        with self._transaction() as execute:
            row = execute("SELECT id, last_seq FROM groups ORDER BY id DESC LIMIT 1").fetchone()
            if row is not None:
                _require(row, int, int)
                # what is stored already: a commit that reported a failure may have succeeded
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
            for epoch in complete:
                execute(
                    "INSERT INTO epochs VALUES (?,NULL,0,?,-1,1)"
                    " ON CONFLICT (epoch) DO UPDATE SET ended=1",
                    (epoch, boot_id),
                )
            if consumers is not None:
                execute("DELETE FROM consumers")
                self._writer.executemany(
                    "INSERT INTO consumers VALUES (?,?,?,?)",
                    [
                        (name, each.position.epoch, each.position.seq, each.seen_run_s)
                        for name, each in consumers.items()
                    ],
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
        self,
        *,
        count: int,
        older_than_run_s: int | None = None,
        upto: Position | None = None,
        max_bytes: int | None = None,
    ) -> list[Group]:
        """Delete up to ``count`` of the oldest groups; return them, without their data.

        The newest group stays. ``older_than_run_s``: only groups stored before this; None: whatever
        their age. ``upto``: only groups whose messages all lie up to this; None: any.
        ``max_bytes``: no more groups once their data are this large; None: whatever their size.
        """
        with self._transaction() as execute:
            rows = execute(
                "SELECT id, last_seq, unix_ns, size, run_s, length(data) FROM groups"
                " WHERE id < (SELECT max(id) FROM groups) ORDER BY id LIMIT ?",
                (count,),
            ).fetchall()
            groups, freed = [], 0
            for key, last_seq, unix_ns, size, run_s, data_bytes in rows:
                group = _group_of(key, last_seq, unix_ns, size, b"")
                if older_than_run_s is not None and run_s >= older_than_run_s:
                    break
                if upto is not None and group.last_position > upto:
                    break
                if max_bytes is not None and freed >= max_bytes:
                    break
                freed += data_bytes
                groups.append(group)
                execute("DELETE FROM groups WHERE id=?", (key,))
            # the highest number of each epoch, which its groups show no more
            for epoch, last_seq in {each.epoch: each.last_seq for each in groups}.items():
                execute(
                    "UPDATE epochs SET last_seq=max(last_seq, ?) WHERE epoch=?", (last_seq, epoch)
                )
        return groups

    def replace(
        self, group: Group, pieces: Iterable[Group], first: Position, last: Position
    ) -> None:
        """Replace a group by others, and note the messages from ``first`` to ``last`` as erased."""
        from_seq = first.seq if first.epoch == group.epoch else 0
        to_seq = last.seq if last.epoch == group.epoch else group.last_seq
        key = _key(group.epoch, group.first_seq)
        with self._transaction() as execute:
            run_s = execute("SELECT run_s FROM groups WHERE id=?", (key,)).fetchone()[0]
            execute("DELETE FROM groups WHERE id=?", (key,))
            self._writer.executemany(
                "INSERT INTO groups VALUES (?,?,?,?,?,?)",
                [
                    (_key(each.epoch, each.first_seq), each.last_seq, each.unix_ns, run_s,
                     each.size, each.data)
                    for each in pieces
                ],
            )  # fmt: skip
            gap = (group.epoch, max(from_seq, group.first_seq), min(to_seq, group.last_seq))
            execute("INSERT INTO gaps VALUES (?,?,?,'erased')", gap)
            execute(
                "UPDATE epochs SET last_seq=max(last_seq, ?) WHERE epoch=?",
                (group.last_seq, group.epoch),
            )

    def overwrite_free_pages(self, chunk: int) -> None:
        """Fill the pages that are free with zeros, and empty the log."""
        with translate_errors():
            self._writer.execute("CREATE TABLE IF NOT EXISTS filler (data BLOB)")
            while self._writer.execute("PRAGMA freelist_count").fetchone()[0] > 0:
                self._writer.execute("INSERT INTO filler VALUES (zeroblob(?))", (chunk,))
            self._writer.execute("DROP TABLE filler")  # its pages hold zeros already
            with self._read_lock:  # a reader would keep the log from being emptied
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def files(self) -> list[Path]:
        """Return the file and its companions."""
        return [self.path.with_name(self.path.name + suffix) for suffix in ("", "-wal", "-shm")]

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
        _require(rows[0], int, (bytes, NoneType), int, str, int, int)
        epoch, first, unix_ns, boot_id, last_seq, ended = rows[0]
        stored = self._read(
            "SELECT last_seq FROM groups WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT 1",
            _key(epoch, 0),
            _key(epoch + 1, 0),
        )
        for row in stored:
            _require(row, int)
            last_seq = max(last_seq, row[0])
        return EpochRow(epoch, first, unix_ns, boot_id, last_seq, bool(ended))

    def gap(self, epoch: int, seq: int) -> MissingRange | None:
        """Return the recorded gap that holds a message; None if none was recorded."""
        rows = self._read(
            "SELECT * FROM gaps WHERE epoch=? AND first <= ? AND (last IS NULL OR last >= ?)"
            " ORDER BY first DESC LIMIT 1",
            *(epoch, seq, seq),
        )
        for row in rows:
            _require(row, int, int, (int, NoneType), str)
        return MissingRange(*rows[0]) if rows else None

    def consumers(self) -> dict[str, Consumer]:
        """Return the stored consumers by name."""
        rows = self._read("SELECT * FROM consumers")
        for row in rows:
            _require(row, str, int, int, int)
        return {name: Consumer(Position(epoch, seq), seen) for name, epoch, seq, seen in rows}

    def run_s(self) -> int:
        """Return the journal's clock at the newest group, seconds; 0 without one."""
        rows = self._read("SELECT run_s FROM groups ORDER BY id DESC LIMIT 1")
        for row in rows:
            _require(row, int)
        return int(rows[0][0]) if rows else 0

    def used_bytes(self) -> int:
        """Return the size of the pages in use; the file may be larger."""
        pages, free = (
            self._read(f"PRAGMA {name}")[0][0] for name in ("page_count", "freelist_count")
        )
        return int((pages - free) * PAGE)


def _require(row: Sequence[object], *types: type | tuple[type, ...]) -> None:
    """Refuse values of other types, which a flipped bit makes of a number."""
    for value, expected in zip(row, types, strict=True):
        if not isinstance(value, expected):
            raise StoreDamaged(f"a value of type {type(value).__name__}")


def _key(epoch: int, seq: int) -> int:
    return epoch << _SEQ_BITS | min(seq, (1 << _SEQ_BITS) - 1)


def _group_of(key: int, last_seq: int, unix_ns: int, size: int, data: bytes) -> Group:
    epoch, first_seq = key >> _SEQ_BITS, key & (1 << _SEQ_BITS) - 1
    _require((last_seq, unix_ns, size, data), int, int, int, bytes)
    if last_seq < first_seq or size < 0:
        raise StoreDamaged(f"a group from {first_seq} to {last_seq}, of {size} bytes")
    return Group(epoch, first_seq, last_seq, unix_ns, size, data)
