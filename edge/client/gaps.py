"""Which numbered messages were missed: pure bookkeeping over ``stream, epoch, seq``.

The daemon numbers frames and events together, from 0 in each epoch, without holes. So every hole
that a subscriber sees is a message it missed. What counts as missed, and what cannot be known:

- The first message heard of a stream is where listening began; nothing before it is missing.
- Within an epoch, every number between the last one heard and this one is missing.
- When a stream that was heard before comes back with a higher epoch, the numbers of that epoch
  below the first one heard are missing too: we were listening when it began. How much the earlier
  epoch still sent after the last message heard, only a heartbeat can tell.
- A heartbeat (status) tells the last number sent, so a lost last message is found as well.
- A number not above the last one heard is *late*: a repeat, or a straggler that was already
  reported missing. It never moves the cursor.
"""

from collections.abc import Iterable
from dataclasses import dataclass

_STREAMS_MAX = 256  # a daemon without a journal folder is a new stream at each start


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """The last message known of a stream; everything up to it is settled: heard or reported.

    Attributes:
        stream: identity of the daemon's journal.
        epoch: how often the daemon had been started.
        seq: number of the message within the epoch; -1 before its first.
    """

    stream: str
    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages sent and not heard: ``first_missing`` to ``last_missing``, both included."""

    stream: str
    epoch: int
    first_missing: int
    last_missing: int

    @property
    def missing(self) -> int:
        """How many messages are missing; at least 1."""
        return self.last_missing - self.first_missing + 1


class GapDetector:
    """Finds the holes in what arrives, for any number of streams. Not thread-safe.

    Args:
        cursors: where an earlier run stopped; of each stream the furthest one counts. A stream
            known from here counts as heard before. The 256 streams heard last are remembered.
    """

    def __init__(self, cursors: Iterable[Cursor] = ()) -> None:
        self._last: dict[str, tuple[int, int]] = {}
        for cursor in cursors:
            self._advance(cursor.stream, max(self._before(cursor), (cursor.epoch, cursor.seq)))

    @property
    def cursors(self) -> tuple[Cursor, ...]:
        """The cursor of each stream, the one heard last at the end."""
        return tuple(Cursor(stream, *last) for stream, last in self._last.items())

    def message(self, stream: str, epoch: int, seq: int) -> tuple[Gap | None, bool]:
        """Book a numbered message; return the gap right before it, and whether it is late."""
        here = Cursor(stream, epoch, seq)
        if (epoch, seq) <= self._before(here):
            return None, True
        return self._settle(here, through=seq - 1), False

    def heartbeat(self, stream: str, epoch: int, last_seq: int) -> Gap | None:
        """Book what a status says was sent last (-1: nothing yet); return what of it was missed."""
        here = Cursor(stream, epoch, last_seq)
        if (epoch, last_seq) <= self._before(here):
            return None
        return self._settle(here, through=last_seq)

    def _before(self, here: Cursor) -> tuple[int, int]:
        return self._last.get(here.stream, (-1, -1))

    def _settle(self, here: Cursor, *, through: int) -> Gap | None:
        """Move on to ``here``; return what is missing of its epoch up to ``through``."""
        known = here.stream in self._last
        epoch, seq = self._before(here)
        first = seq + 1 if here.epoch == epoch else 0
        self._advance(here.stream, (here.epoch, here.seq))
        if known and first <= through:
            return Gap(here.stream, here.epoch, first, through)
        return None

    def _advance(self, stream: str, last: tuple[int, int]) -> None:
        self._last.pop(stream, None)  # so that the order of the dict is the order of hearing
        self._last[stream] = last
        if len(self._last) > _STREAMS_MAX:
            del self._last[next(iter(self._last))]
