"""Puts the live and the fetched messages of one stream in order; does no I/O.

A position is (epoch, seq) of a message. Live messages that do not follow the last one passed on
are held until fetched ones fill the hole, or until the daemon reports what is missing. A status is
held until everything up to its ``last_seq`` was passed on: a reader that has it has all before it.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from edge.client.gaps import Gap
from edge.client.pages import Page
from edge.protocol.messages import EventMessage, FrameMessage, Message, StatusMessage

NOT_FETCHED: Final = "not_fetched"
"""Reason of a gap: the daemon's service did not answer in time. It may still store the messages."""

Position = tuple[int, int]


class Ordered(NamedTuple):  # made for every message
    """A message to pass on.

    Attributes:
        part: as published.
        message: decoded; None: not decoded yet.
        gaps: messages missing right before it, as far as the daemon said so.
        backfilled: it was fetched.
        is_served: its stream is put in order here; else its gaps are those of its numbers alone.
        hole_reason: why numbers right before it may be missing that ``gaps`` do not explain.
        skip_to: pass over everything up to this position after the message.
    """

    part: bytes
    message: Message | None = None
    gaps: tuple[Gap, ...] = ()
    backfilled: bool = False
    is_served: bool = True
    hole_reason: str | None = None
    skip_to: Position | None = None


class StreamOrder:
    """The messages of one stream, in order and each once.

    Args:
        position: of the last message that was passed on; None: the next fetched one is the first.
        held_max: how many live messages may be held; the oldest are dropped, and fetched later.

    Attributes:
        position: of the last message passed on.
        is_behind: a message is known, or likely, that must be fetched.
        is_drained: everything stored has been passed on once, and no hole was found since.
        newest: position of the newest message that the daemon reported.
        only_first: pass on the first fetched message, then only what comes after the newest.
        held_since_ns: monotonic time since which messages are held without progress; None: none.
        heard_ns: monotonic time of the last live message of any kind.
    """

    def __init__(self, position: Position | None, held_max: int) -> None:
        self.position = position
        self.is_behind = True
        self.is_drained = False
        self.newest: Position | None = None
        self.only_first = False
        self.held_since_ns: int | None = None
        self.heard_ns = 0
        self._held_max = held_max
        self._held: dict[Position, tuple[FrameMessage | EventMessage, bytes]] = {}
        self._status: tuple[StatusMessage, bytes] | None = None  # the newest, not yet passed on
        self._gaps: list[Gap] = []  # not yet passed on with a message

    @property
    def held(self) -> int:
        """How many live messages are held."""
        return len(self._held)

    def live(self, message: FrameMessage | EventMessage, part: bytes, now_ns: int) -> list[Ordered]:
        """Add a published message; return what can be passed on."""
        key = (message.epoch, message.seq)
        self.newest = max(self.newest or key, key)
        if self.position is not None and key <= self.position:
            return []  # fetched before it arrived
        if self.position is not None and key == _after(self.position):
            self.position, self.only_first = key, False
            return [self._with_gaps(part, message), *self._follow()]
        if len(self._held) >= self._held_max:
            del self._held[next(iter(self._held))]
        self._held[key] = (message, part)
        if self.held_since_ns is None:
            self.held_since_ns = now_ns
        self.is_behind, self.is_drained = True, False
        return []

    def status(self, message: StatusMessage, part: bytes) -> list[Ordered]:
        """Add a status; return what can be passed on. A lost last message shows only in it."""
        last = (message.epoch, message.last_seq)
        self.newest = max(self.newest or last, last)
        self._status = (message, part)
        if message.last_seq >= 0 and (self.position is None or self.position < last):
            self.is_behind, self.is_drained = True, False
        return list(self._follow())

    def page(self, page: Page, now_ns: int) -> list[Ordered]:
        """Add what was fetched, once, repeated or late; return what can be passed on."""
        before = self.position
        if page.gap is not None:
            self._add_gap(page.gap)
        ordered = []
        for stored in page.messages:
            key = (stored.epoch, stored.seq)
            if self.position is not None and key <= self.position:
                continue
            self.position = key
            if self.only_first:
                self.only_first = False
                self.position = max(key, page.newest)
                self._gaps.clear()
                ordered.append(Ordered(stored.part, backfilled=True, skip_to=self.position))
                break
            ordered.append(self._with_gaps(stored.part))
        self._advance_to_end(page)
        ordered += self._follow()
        if self.position != before:
            self.held_since_ns = now_ns if self._held else None
        self.newest = max(self.newest or page.newest, page.newest)
        # not by its newest message: a cursor ahead of that is refused only if it is asked for
        is_at_end = page.caught_up and self.position is not None and self.position >= page.next
        self.is_behind = bool(self._held) or not is_at_end
        self.is_drained = self.is_drained or not self.is_behind
        return ordered

    def restart_holding(self, now_ns: int) -> None:
        """Count anew from ``now_ns`` for how long messages have been held."""
        if self.held_since_ns is not None:
            self.held_since_ns = now_ns

    def release(self) -> list[Ordered]:
        """Stop waiting for what is missing before the held messages; return them."""
        ordered: list[Ordered] = []
        for key, (message, part) in sorted(self._held.items(), key=lambda item: item[0]):
            reason = NOT_FETCHED if not ordered else None
            ordered.append(self._with_gaps(part, message, reason))
            self.position = key
        self._held.clear()
        return [*ordered, *self._follow()]

    def _advance_to_end(self, page: Page) -> None:
        """Move to the end of what the page covers, which may be past its last message."""
        if self.only_first:
            return
        covers = page.gap is not None or page.messages or page.unreadable
        if self.position is None:
            if covers or page.caught_up:
                self.position = page.next
        elif covers:
            self.position = max(self.position, page.next)

    def _follow(self) -> Iterable[Ordered]:
        """Pass on what is held and follows the position; forget the messages before it."""
        if self._held and self.position is not None:
            for key in [key for key in self._held if key <= self.position]:
                del self._held[key]
            while (key := _after(self.position)) in self._held:
                held, part = self._held.pop(key)
                self.position = key
                yield self._with_gaps(part, held)
        if not self._held:
            self.held_since_ns = None
        if self._status is not None:
            message, part = self._status
            last = (message.epoch, message.last_seq)
            if message.last_seq < 0 or (self.position is not None and self.position >= last):
                self._status = None
                yield Ordered(part, message)

    def _add_gap(self, gap: Gap) -> None:
        position = (-1, -1) if self.position is None else self.position
        first = (gap.epoch, gap.first_missing)
        if first <= position:
            if gap.last_missing is None or (gap.epoch, gap.last_missing) <= position:
                return  # of a repeated reply
            first = _after(position)
        last = gap.last_missing
        clipped = Gap(gap.stream, gap.epoch, first[1], last, gap.reason)
        if clipped not in self._gaps:
            self._gaps.append(clipped)
        self.position = (gap.epoch, first[1] - 1 if last is None else last)

    def _with_gaps(
        self,
        part: bytes,
        message: FrameMessage | EventMessage | None = None,
        hole_reason: str | None = None,
    ) -> Ordered:
        gaps = tuple(self._gaps)
        self._gaps.clear()
        return Ordered(part, message, gaps, message is None, hole_reason=hole_reason)


def _after(position: Position) -> Position:
    return position[0], position[1] + 1
