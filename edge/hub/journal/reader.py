"""Reads the journal for consumers: the file first, then memory, with every gap between."""

import threading
from typing import Final

from edge.hub.journal.batch import Batch, MissingRange, Position
from edge.hub.journal.database import StoreDamaged
from edge.hub.journal.entries import Entry, Group
from edge.hub.journal.memory import Memory
from edge.hub.journal.store import Store
from edge.hub.journal.writer import Writer

_RETRY_S: Final = 0.5  # so that readers do not ask in a tight loop while the storage is away


class Reader:
    """Reads from any thread but the main one; calls may wait for storage.

    Args:
        memory: messages that are not stored yet.
        writer: knows the file; None if there is none.
    """

    def __init__(self, memory: Memory, writer: Writer | None) -> None:
        self._memory = memory
        self._writer = writer
        self._epoch = memory.newest.epoch
        self._unreadable: set[tuple[int, int]] = set()
        self._never = threading.Event()

    def read(self, after: Position, *, max_messages: int, max_bytes: int) -> Batch:
        """Return the messages after a position: see ``Journal.read``."""
        newest = self._memory.newest
        if after >= newest:
            return Batch(None, b"", 0, after, caught_up=True)
        store = self._writer.readable if self._writer is not None else None
        memory_oldest = self._memory.oldest
        in_memory = memory_oldest is not None and memory_oldest <= Position(
            after.epoch, after.seq + 1
        )
        if store is None and self._writer is not None and not in_memory:
            self._never.wait(_RETRY_S)
            return Batch(None, b"", 0, after, caught_up=False)
        try:
            return self._read(store, after, max_messages, max_bytes)
        except StoreDamaged as error:
            assert store is not None
            assert self._writer is not None
            self._writer.report_damage(store, str(error))
        except OSError:
            pass  # the writing thread meets it, too, and reports it
        self._never.wait(_RETRY_S)
        return Batch(None, b"", 0, after, caught_up=False)

    def oldest(self) -> Position | None:
        """Return the position of the oldest message; None without one, or if it is not known."""
        known = self.known_oldest()
        return known[0] if known else None

    def known_oldest(self) -> tuple[Position, int] | None:
        """Return position and wall time of the oldest message, without waiting for storage."""
        if self._writer is not None and self._writer.retention.oldest is not None:
            return self._writer.retention.oldest
        entries = self._memory.first(1)
        return (entries[0].position, entries[0].unix_ns) if entries else None

    def _read(
        self, store: Store | None, after: Position, max_messages: int, max_bytes: int
    ) -> Batch:
        cursor = after
        if cursor.epoch <= 0:  # the oldest epoch of which messages are stored
            oldest = store.oldest() if store is not None else None
            in_memory = self._memory.oldest
            begins = [each.epoch for each in (oldest, in_memory) if each is not None]
            cursor = Position(min(begins, default=self._epoch), -1)
        while True:
            found = self._next(store, cursor, max_messages)
            if found is not None and found[0].epoch == cursor.epoch:
                return self._batch(store, cursor, found, max_messages, max_bytes)
            gap = self._rest(store, cursor)
            if cursor.epoch >= self._epoch:
                if gap is None or gap.last_missing is None:
                    return Batch(gap, b"", 0, cursor, self._is_newest(cursor))
                cursor = Position(cursor.epoch, gap.last_missing)
                return Batch(gap, b"", 0, cursor, self._is_newest(cursor))
            cursor = Position(cursor.epoch + 1, -1)  # each number was a start
            if gap is not None:
                return Batch(gap, b"", 0, cursor, caught_up=False)

    def _next(
        self, store: Store | None, cursor: Position, count: int
    ) -> "tuple[Position, list[Entry] | Group] | None":
        """Return where the next stored message is, and the entries or the group that hold it."""
        # memory first: what leaves it afterwards is in the file
        entries = self._memory.after(cursor, count)
        group = store.group_after(cursor) if store is not None else None
        if group is not None:
            first = group.first_seq
            if group.epoch == cursor.epoch:
                first = max(first, cursor.seq + 1)
            if not entries or Position(group.epoch, first) < entries[0].position:
                return Position(group.epoch, first), group
        return (entries[0].position, entries) if entries else None

    def _batch(
        self,
        store: Store | None,
        cursor: Position,
        found: "tuple[Position, list[Entry] | Group]",
        max_messages: int,
        max_bytes: int,
    ) -> Batch:
        """Return the messages from ``found`` on, within the limits."""
        epoch, gap = cursor.epoch, None
        if found[0].seq > cursor.seq + 1:
            if cursor.seq < 0 and (first := self._first_message(store, epoch)) is not None:
                return Batch(None, first, 1, Position(epoch, 0), caught_up=False)
            gap = self._gap(store, epoch, cursor.seq + 1, found[0].seq - 1)
        parts: list[bytes] = []
        count = size = 0
        following: tuple[Position, list[Entry] | Group] | None = found
        cursor = Position(epoch, found[0].seq - 1)
        while following is not None and following[0] == Position(epoch, cursor.seq + 1):
            try:
                lines = self._lines(store, following[1], cursor)
            except ValueError:
                if not count:
                    return self._skip(gap, following[1], cursor)
                break
            taken, lines = _cut(lines, max_messages - count, max_bytes - size, must=not count)
            if not taken:
                break
            parts.append(lines)
            count += taken
            size += len(lines) + 1
            cursor = Position(epoch, cursor.seq + taken)
            if count >= max_messages or size >= max_bytes:
                break
            following = self._next(store, cursor, max_messages - count)
        return Batch(gap, b"\n".join(parts), count, cursor, self._is_newest(cursor))

    def _lines(self, store: Store | None, held: "list[Entry] | Group", after: Position) -> bytes:
        """Return the messages of entries or of a group that follow ``after``, joined."""
        if isinstance(held, list):
            return b"\n".join(entry.body for entry in held)
        assert store is not None
        lines = held.lines(store.dictionary)
        skip = after.seq + 1 - held.first_seq
        return lines.split(b"\n", skip)[skip] if skip > 0 else lines

    def _skip(
        self, gap: MissingRange | None, held: "list[Entry] | Group", after: Position
    ) -> Batch:
        """Return a gap for a group that cannot be decompressed, joined to the gap before it."""
        assert isinstance(held, Group)
        first = gap.first_missing if gap is not None else after.seq + 1
        missing = MissingRange(held.epoch, first, held.last_seq, "damaged")
        if (held.epoch, held.first_seq) not in self._unreadable and self._writer is not None:
            self._unreadable.add((held.epoch, held.first_seq))
            self._writer.report_gap(missing)
        return Batch(missing, b"", 0, held.last_position, self._is_newest(held.last_position))

    def _first_message(self, store: Store | None, epoch: int) -> bytes | None:
        first = self._memory.first_of_epoch
        if first is not None and first.epoch == epoch:
            return first.body
        row = store.epoch(epoch) if store is not None else None
        return row.first if row is not None else None

    def _rest(self, store: Store | None, cursor: Position) -> MissingRange | None:
        """Return what is missing from a position to the end of its epoch."""
        epoch, seq = cursor.epoch, cursor.seq + 1
        if epoch == self._epoch:
            last = self._memory.newest.seq
            return self._gap(store, epoch, seq, last) if seq <= last else None
        row = store.epoch(epoch) if store is not None else None
        recovered = self._writer.recovered.get(epoch) if self._writer is not None else None
        if row is None and recovered is None:
            noted = self._recorded(store, epoch, seq)
            return MissingRange(epoch, seq, None, noted.reason if noted else "unknown")
        last = max(row.last_seq if row is not None else -1, -1 if recovered is None else recovered)
        # messages after the last known one, of unknown number, that were or may have been lost
        lost_end = self._recorded(store, epoch, max(seq, last + 1))
        if lost_end is None and recovered is None and not (row is not None and row.ended):
            lost_end = MissingRange(epoch, last + 1, None, "unknown")  # such as in an older copy
        if seq <= last:
            known = self._gap(store, epoch, seq, last)
            return known if lost_end is None else MissingRange(epoch, seq, None, known.reason)
        return None if lost_end is None else MissingRange(epoch, seq, None, lost_end.reason)

    def _gap(self, store: Store | None, epoch: int, first: int, last: int) -> MissingRange:
        recorded = self._recorded(store, epoch, first)
        return MissingRange(epoch, first, last, recorded.reason if recorded else "trimmed")

    def _recorded(self, store: Store | None, epoch: int, seq: int) -> MissingRange | None:
        if store is None or self._writer is None:
            return self._memory.erased_range(epoch, seq)
        return self._writer.recorded_gap(store, epoch, seq)

    def _is_newest(self, position: Position) -> bool:
        return position >= self._memory.newest


def _cut(lines: bytes, max_messages: int, max_bytes: int, *, must: bool) -> tuple[int, bytes]:
    """Return how many of the messages fit, and those; with ``must``, at least one."""
    total = lines.count(b"\n") + 1
    if total <= max_messages and len(lines) <= max_bytes:
        return total, lines
    count = size = 0
    kept: list[bytes] = []
    for line in lines.split(b"\n", max_messages)[: min(total, max_messages)]:
        size += len(line) + 1
        if size > max_bytes + 1 and (kept or not must):
            break
        kept.append(line)
        count += 1
    return count, b"\n".join(kept)
