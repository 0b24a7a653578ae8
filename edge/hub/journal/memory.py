"""The messages of the journal that are in memory: those that are not yet in its file."""

import bisect
import threading
from collections.abc import Sequence
from typing import Final

from edge.hub.journal.batch import MissingRange, Position
from edge.hub.journal.entries import Entry

RING_BYTES: Final = 48 << 20
"""While storage fails: 120 s at 30 messages a second with ten faces, or 20 min with one."""

_OVERHEAD: Final = 200  # bytes of an entry next to its message


class Memory:
    """The newest messages, in order, with a limit in bytes: the oldest ones go first.

    Any thread may call any method; none waits for storage.

    Attributes:
        newest: position of the newest message; of no message before the first.
        bytes: size of the messages in memory.
        first_of_epoch: the first message of this epoch, kept after it was stored.
    """

    def __init__(self, epoch: int, *, limit: int = RING_BYTES) -> None:
        self._limit = limit
        self._entries: list[Entry] = []
        self._lock = threading.Lock()
        self._lost: list[MissingRange] = []  # one for each epoch
        self._erased: list[MissingRange] = []  # after the oldest message
        self.newest = Position(epoch, -1)
        self.bytes = 0
        self.first_of_epoch: Entry | None = None

    def append(self, entry: Entry) -> bool:
        """Add a message; return whether others were dropped."""
        with self._lock:
            self._entries.append(entry)
            if entry.seq == 0:
                self.first_of_epoch = entry
            self.newest = entry.position
            self.bytes += len(entry.body) + _OVERHEAD
            is_full = self.bytes > self._limit
            if is_full:
                self._drop_oldest()
            return is_full

    def prepend(self, entries: list[Entry]) -> None:
        """Add the messages of earlier epochs, which are older than all others."""
        with self._lock:
            self._entries[:0] = entries
            self.bytes += sum(len(entry.body) + _OVERHEAD for entry in entries)

    def _drop_oldest(self) -> None:
        count = size = 0
        while self.bytes - size > self._limit * 0.99:
            size += len(self._entries[count].body) + _OVERHEAD
            count += 1
        for entry in self._entries[:count]:
            first = entry.seq
            if self._lost and self._lost[-1].epoch == entry.epoch:
                first = self._lost.pop().first_missing
            self._lost.append(MissingRange(entry.epoch, first, entry.seq, "overflow"))
        last = self._entries[count - 1]
        del self._entries[:count]
        self.bytes -= size
        self._erased = [
            each
            for each in self._erased
            if (each.epoch, each.first_missing) > (last.epoch, last.seq)
        ]

    def take_lost(self) -> list[MissingRange]:
        """Return the messages that were dropped since the last call, a range for each epoch."""
        with self._lock:
            lost, self._lost = self._lost, []
            return lost

    def first(self, count: int) -> list[Entry]:
        """Return up to ``count`` of the oldest messages; they stay."""
        with self._lock:
            return self._entries[:count]

    def remove(self, upto: Position) -> None:
        """Remove messages that are stored, up to a position."""
        with self._lock:
            count = self._index_after(upto)
            self.bytes -= sum(len(entry.body) + _OVERHEAD for entry in self._entries[:count])
            del self._entries[:count]

    def erase(self, ranges: Sequence[tuple[Position, Position]]) -> int:
        """Delete the messages in the ranges; return how many there were."""
        with self._lock:
            kept = []
            for entry in self._entries:
                if any(first <= entry.position <= last for first, last in ranges):
                    self._note_erased(entry)
                else:
                    kept.append(entry)
            count = len(self._entries) - len(kept)
            self._entries = kept
            self.bytes = sum(len(entry.body) + _OVERHEAD for entry in kept)
            return count

    def _note_erased(self, entry: Entry) -> None:
        first = entry.seq
        if self._erased and self._erased[-1].holds(entry.epoch, entry.seq - 1):
            first = self._erased.pop().first_missing
        self._erased.append(MissingRange(entry.epoch, first, entry.seq, "erased"))

    def erased_range(self, epoch: int, seq: int) -> MissingRange | None:
        """Return the range of erased messages that holds one; None if it was not erased."""
        with self._lock:
            return next((each for each in self._erased if each.holds(epoch, seq)), None)

    def after(self, position: Position, count: int) -> list[Entry]:
        """Return up to ``count`` messages after a position, of one epoch and without a hole."""
        with self._lock:
            start = self._index_after(position)
            found = self._entries[start : start + count]
        for number, entry in enumerate(found):
            if (entry.epoch, entry.seq) != (found[0].epoch, found[0].seq + number):
                return found[:number]
        return found

    @property
    def oldest(self) -> Position | None:
        """The position of the oldest message in memory."""
        with self._lock:
            return self._entries[0].position if self._entries else None

    @property
    def count(self) -> int:
        """Number of messages in memory."""
        return len(self._entries)

    def _index_after(self, position: Position) -> int:
        return bisect.bisect_right(
            self._entries, (position.epoch, position.seq), key=lambda each: (each.epoch, each.seq)
        )
