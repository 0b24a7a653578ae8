"""Finds missing messages from ``stream, epoch, seq``; does no I/O.

The daemon numbers frames and events together, from 0 in each epoch, without holes. So every hole
in the received numbers is a missing message:

- Before the first message received of a stream, nothing is missing, unless a heartbeat says that
  the epoch began while the receiver was waiting: then all earlier ones of the epoch are missing.
- Within an epoch, every number between the last one received and this one is missing.
- If a known stream continues with a higher epoch, that epoch's numbers below the first one received
  are missing too. How many messages the earlier epoch sent after the last one received is not known
  without a heartbeat.
- A heartbeat (status) carries the last number sent, so even a lost last message is found.
- A number not above the last known one is *late*: a repeat, or a straggler that was already
  reported missing. It never moves the cursor.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

GAP_SCHEMA: Final = "affect.log.v1"
"""Of a gap in JSON: in a log, and for MQTT."""

STREAMS_MAX = 256
"""Streams that are remembered: without ``journal.path``, a daemon has a new one at each start."""


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """The last known message of a stream; all before it were received or reported missing.

    Attributes:
        stream: UUID of the stream.
        epoch: number of the daemon's start within the stream.
        seq: number of the message within the epoch; -1 before its first.
    """

    stream: str
    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages sent but not received: ``first_missing`` to ``last_missing``, both included.

    Attributes:
        stream: UUID of the stream.
        epoch: of the messages.
        first_missing: number of the first one.
        last_missing: number of the last one; None if it is not known, as after a power cut.
        reason: why they are missing, one word of the daemon such as ``trimmed``, or
            ``not_fetched`` where its service did not answer; None: only their absence was noticed.
    """

    stream: str
    epoch: int
    first_missing: int
    last_missing: int | None
    reason: str | None = None

    @property
    def missing(self) -> int:
        """How many messages are known to be missing; 0 if ``last_missing`` is not known."""
        return 0 if self.last_missing is None else self.last_missing - self.first_missing + 1

    def record(self, device: str) -> dict[str, Any]:
        """Return the gap of ``device`` as an object of JSON."""
        return {
            "schema": GAP_SCHEMA,
            "kind": "gap",
            "device": device,
            "stream": self.stream,
            "epoch": self.epoch,
            "first_missing": self.first_missing,
            "last_missing": self.last_missing,
            "reason": self.reason,
        }

    def describe(self) -> str:
        """Return the gap in words: ``3 messages missing, 4 to 6 of epoch 1 (trimmed)``."""
        reason = f" ({self.reason})" if self.reason else ""
        if self.last_missing is None:
            first = self.first_missing
            return f"messages may be missing from {first} on, of epoch {self.epoch}{reason}"
        return (
            f"{self.missing} messages missing, {self.first_missing} to {self.last_missing}"
            f" of epoch {self.epoch}{reason}"
        )


class GapDetector:
    """Finds gaps in the received messages of any number of streams. Not thread-safe.

    It remembers the 256 streams received last.

    Args:
        cursors: where an earlier run stopped; of each stream the highest one counts.
    """

    def __init__(self, cursors: Iterable[Cursor] = ()) -> None:
        self._last: dict[str, tuple[int, int]] = {}
        # stream -> epoch and number of its first message, until a heartbeat says what was before
        self._first: dict[str, tuple[int, int]] = {}
        for cursor in cursors:
            self._set(cursor.stream, max(self._last_of(cursor), (cursor.epoch, cursor.seq)))

    @property
    def cursors(self) -> tuple[Cursor, ...]:
        """The cursor of each stream; the stream received last is at the end."""
        return tuple(Cursor(stream, *last) for stream, last in self._last.items())

    def message(self, stream: str, epoch: int, seq: int) -> tuple[Gap | None, bool]:
        """Add a numbered message; return the gap right before it, and whether it is late."""
        if self._last.get(stream) == (epoch, seq - 1):  # nearly always
            self._set(stream, (epoch, seq))
            return None, False
        cursor = Cursor(stream, epoch, seq)
        if (epoch, seq) <= self._last_of(cursor):
            return None, True
        if stream not in self._last and seq > 0:
            self._first[stream] = (epoch, seq)
        return self._advance(cursor, sent_seq=seq - 1), False

    def heartbeat(
        self, stream: str, epoch: int, last_seq: int, *, began_while_waiting: bool = False
    ) -> Gap | None:
        """Add what a status says; return the gap up to it, or the one before the first message.

        Args:
            stream: of the status.
            epoch: of the status.
            last_seq: the last number sent; -1 for none.
            began_while_waiting: the epoch began after the receiver had begun to wait for messages.
        """
        cursor = Cursor(stream, epoch, last_seq)
        if began_while_waiting and stream not in self._last:
            self._set(stream, (epoch, -1))
        if (epoch, last_seq) > self._last_of(cursor):
            gap = self._advance(cursor, sent_seq=last_seq)
            if gap is not None:
                return gap  # the one before the first message is returned at the next heartbeat
        first_epoch, first_seq = self._first.pop(stream, (epoch, 0))
        if began_while_waiting and first_epoch == epoch and first_seq > 0:
            return Gap(stream, epoch, 0, first_seq - 1)
        return None

    def cursor_of(self, stream: str) -> tuple[int, int] | None:
        """Return epoch and number of the last known message of ``stream``; None: none is known."""
        return self._last.get(stream)

    def skip_to(self, cursor: Cursor) -> None:
        """Report nothing up to ``cursor`` as missing: the receiver does not want it."""
        self._first.pop(cursor.stream, None)
        self._set(cursor.stream, max(self._last_of(cursor), (cursor.epoch, cursor.seq)))

    def _last_of(self, cursor: Cursor) -> tuple[int, int]:
        """Return the last known epoch and number of the cursor's stream."""
        return self._last.get(cursor.stream, (-1, -1))

    def _advance(self, cursor: Cursor, *, sent_seq: int) -> Gap | None:
        """Move the stream's cursor; return what is missing of its epoch up to ``sent_seq``."""
        is_known = cursor.stream in self._last
        epoch, seq = self._last_of(cursor)
        first = seq + 1 if cursor.epoch == epoch else 0
        self._set(cursor.stream, (cursor.epoch, cursor.seq))
        if is_known and first <= sent_seq:
            return Gap(cursor.stream, cursor.epoch, first, sent_seq)
        return None

    def _set(self, stream: str, last: tuple[int, int]) -> None:
        self._last.pop(stream, None)  # keeps the dict in the order of the last messages
        self._last[stream] = last
        if len(self._last) > STREAMS_MAX:
            oldest = next(iter(self._last))
            del self._last[oldest]
            self._first.pop(oldest, None)
