"""A journal in memory, strict about how it is called; it has every epoch's first message."""

import bisect
import threading

from edge.hub.journal.batch import Batch, MissingRange, Position
from edge.protocol.requests import FETCH_MAX


class FakeJournal:
    """Stores messages in lists. Fails if it is read in the main thread, or beyond its end.

    Attributes:
        acknowledged: position by name of the consumer.
        reads: positions after which it was read.
    """

    def __init__(self, stream: str = "8c4f9e04-6a0f-4f4f-9d52-0d3a1e6b2a11") -> None:
        self.stream = stream
        self.epoch = 1
        self.acknowledged: dict[str, Position] = {}
        self.reads: list[Position] = []
        self._newest = Position(1, -1)
        self._positions: list[Position] = []
        self._lines: list[bytes] = []
        self._firsts: dict[int, bytes] = {}  # of each epoch; never removed
        self._lock = threading.Lock()

    @property
    def oldest(self) -> Position | None:
        with self._lock:
            return self._positions[0] if self._positions else None

    @property
    def newest(self) -> Position:
        return self._newest

    def append(self, count: int = 1, *, size: int = 0) -> Position:
        """Store ``count`` messages of ``size`` bytes or more."""
        with self._lock:
            for _ in range(count):
                seq = self._newest.seq + 1 if self._newest.epoch == self.epoch else 0
                self._newest = Position(self.epoch, seq)
                line = b'{"epoch":%d,"seq":%d,"text":"' % (self.epoch, seq)
                self._positions.append(self._newest)
                self._lines.append(line + b"x" * (size - len(line) - 2) + b'"}')
                if seq == 0:
                    self._firsts[self.epoch] = self._lines[-1]
            return self._newest

    def begin_epoch(self) -> None:
        """Begin the next epoch, as a daemon does that starts again."""
        self.epoch += 1

    def trim(self, count: int) -> None:
        """Remove the ``count`` oldest messages."""
        with self._lock:
            del self._positions[:count], self._lines[:count]

    def read(self, after: Position, *, max_messages: int, max_bytes: int) -> Batch:
        assert threading.current_thread() is not threading.main_thread()
        assert 0 < max_messages <= FETCH_MAX
        assert max_bytes > 0
        with self._lock:
            self.reads.append(after)
            assert after <= max(self._newest, Position(self.epoch, -1))
            first = bisect.bisect_right(self._positions, after)
            if first == len(self._positions):
                return Batch(gap=None, lines=b"", count=0, next=after, caught_up=True)
            epoch, seq = self._positions[first].epoch, self._positions[first].seq
            expected = after.seq + 1 if epoch == after.epoch else 0
            if expected == 0 < seq:
                return Batch(None, self._firsts[epoch], 1, Position(epoch, 0), caught_up=False)
            gap = MissingRange(epoch, expected, seq - 1, "trimmed") if seq > expected else None
            last, size = first, 0
            while last < min(len(self._lines), first + max_messages):
                size += len(self._lines[last]) + 1
                is_over = last > first and size > max_bytes
                if is_over or self._positions[last].epoch != epoch:
                    break
                last += 1
            return Batch(
                gap=gap,
                lines=b"\n".join(self._lines[first:last]),
                count=last - first,
                next=self._positions[last - 1],
                caught_up=last == len(self._lines),
            )

    def acknowledge(self, name: str, position: Position) -> None:
        assert position <= max(self._newest, Position(self.epoch, -1))
        self.acknowledged[name] = max(position, self.acknowledged.get(name, position))
