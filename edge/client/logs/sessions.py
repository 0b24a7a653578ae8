"""Where the sessions of a log lie, from their events.

A session begins with its event ``session_began`` and ends with ``session_ended``, both included. In
a log that rotated, one of them may be in another file. A session that goes on in a new stream
(``session_resumed``), as after a damaged journal, has a span in each.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

_START: Final = (0, 0)
NO_END: Final = (2**62, 2**62)
"""End of a span that reaches to the newest message."""

EVENTS: Final = ("session_began", "session_resumed", "session_ended")


@dataclass(frozen=True, slots=True)
class Span:
    """Messages of one stream from ``first`` to ``last``, both (epoch, seq) and included."""

    stream: str
    first: tuple[int, int] = _START
    last: tuple[int, int] = NO_END

    def holds(self, stream: str, epoch: int, seq: int) -> bool:
        """Return whether a message lies in it."""
        return stream == self.stream and self.first <= (epoch, seq) <= self.last


@dataclass(slots=True)
class Session:
    """A session as a log shows it.

    Attributes:
        session: its id.
        name: its name.
        note: its note; empty if there is none, or its begin is in another file.
        spans: where it lies, one span for each stream.
        has_begin: whether its begin is in the log.
        has_end: whether its end is in the log.
    """

    session: str
    name: str
    note: str = ""
    spans: list[Span] = field(default_factory=list)
    has_begin: bool = False
    has_end: bool = False


class SessionEvent(NamedTuple):
    """An event of a session, one of ``EVENTS``; ``stream, epoch, seq`` identify it."""

    stream: str
    epoch: int
    seq: int
    event: str
    session: str
    name: str
    note: str | None


def read_sessions(connection: sqlite3.Connection) -> list[Session]:
    """Return the sessions of a SQLite log, as ``sessions_of``.

    Raises:
        sqlite3.Error: the log cannot be read.
    """
    return sessions_of(read_session_events(connection))


def read_session_events(connection: sqlite3.Connection) -> list[SessionEvent]:
    """Return the events of sessions in a SQLite log.

    Raises:
        sqlite3.Error: the log cannot be read.
    """
    rows = connection.execute(
        "SELECT stream, epoch, seq, json_extract(body, '$.event') AS event,"
        " json_extract(body, '$.detail.session'), json_extract(body, '$.detail.name'),"
        " json_extract(body, '$.detail.note')"
        " FROM messages WHERE kind = 'event' AND instr(body, '\"session_')"
        " AND event IN (?, ?, ?)",
        EVENTS,
    )
    return [SessionEvent(*row) for row in rows]


def sessions_of(events: Iterable[SessionEvent]) -> list[Session]:
    """Return the sessions that ``events``, in any order, show.

    One session runs at a time. One whose begin is not in the log reaches from the first message of
    its stream on, or from the last event of another session before it; one without an end to the
    newest message, or to the next event of another session.
    """
    found: dict[str, Session] = {}
    spans: dict[str, dict[str, Span]] = {}
    newest: dict[str, SessionEvent] = {}
    for each in sorted(events, key=lambda each: each[:3]):
        stream, at, before = each.stream, (each.epoch, each.seq), newest.get(each.stream)
        session = found.setdefault(each.session, Session(each.session, each.name))
        by_stream = spans.setdefault(each.session, {})
        if before is not None and before.session != each.session:
            before_at = (before.epoch, before.seq)
            if stream not in by_stream:
                by_stream[stream] = Span(stream, first=_next(before_at))
            of_other = spans[before.session]
            if of_other[stream].last == NO_END:
                of_other[stream] = replace(of_other[stream], last=_previous(at))
        span = by_stream.setdefault(stream, Span(stream))
        if each.event == "session_began":
            session.note, session.has_begin = each.note or "", True
            by_stream[stream] = replace(span, first=at)
        elif each.event == "session_ended":
            session.has_end = True
            by_stream[stream] = replace(span, last=at)
        newest[stream] = each
    for name, by_stream in spans.items():
        found[name].spans = list(by_stream.values())
    return list(found.values())


def _next(at: tuple[int, int]) -> tuple[int, int]:
    return at[0], at[1] + 1


def _previous(at: tuple[int, int]) -> tuple[int, int]:
    return at[0], at[1] - 1


def within(spans: Sequence[Span], seq: str = "seq") -> tuple[str, tuple[str | int, ...]]:
    """Return the SQL condition that a row lies in one of ``spans``, and its parameters.

    Args:
        spans: of any number of streams.
        seq: name of the column that is compared, next to ``stream`` and ``epoch``.
    """
    one = f"(stream = ? AND (epoch, {seq}) >= (?, ?) AND (epoch, {seq}) <= (?, ?))"
    values = [value for span in spans for value in (span.stream, *span.first, *span.last)]
    return "(" + (" OR ".join([one] * len(spans)) or "0") + ")", tuple(values)
