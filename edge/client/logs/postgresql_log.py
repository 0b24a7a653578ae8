"""A log in a PostgreSQL database, for many daemons and one existing server.

Each commit is one transaction with messages, gaps and cursors, so a log never holds a message
without the cursor behind it, or a cursor without its messages. Messages arrive with COPY in a
temporary table and go on with ``INSERT ... ON CONFLICT DO NOTHING``: a repeat is stored once. The
tables and views are those of ``postgresql.sql``.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import psycopg

from edge.client.gaps import Cursor
from edge.client.logs.postgresql_server import PostgresServer
from edge.client.subscriber import Received
from edge.clock import monotonic_ns
from edge.errors import LogUnavailable
from edge.protocol.messages import EventMessage, Message, StatusMessage

RETRY_FIRST_S: Final = 0.25
RETRY_MAX_S: Final = 10.0

_Connection = psycopg.Connection[tuple[Any, ...]]
_Result = TypeVar("_Result")

_INT_MAX: Final = 2**63 - 1
_INDEXED_MAX: Final = 200  # characters; the limit of an index row is 2704 bytes
_TIME: Final = "timestamptz 'epoch' + %s * interval '1 microsecond'"
_INSERT_MESSAGES: Final = (
    "INSERT INTO affect.messages (stream, epoch, seq, device, kind, event, time, body)"
    " SELECT stream, epoch, seq, device, kind, event,"
    f" {_TIME % 'unix_us'}, body FROM incoming ON CONFLICT DO NOTHING"
)
_INSERT_GAP: Final = (
    "INSERT INTO affect.gaps (stream, epoch, first_missing, last_missing, reason, device, time)"
    f" VALUES (%s, %s, %s, %s, %s, %s, {_TIME}) ON CONFLICT DO NOTHING"
)
# another logger of the same device may be ahead: the messages up to its cursor are here, too
_MOVE_CURSOR: Final = (
    "INSERT INTO affect.devices AS known (stream, device, epoch, seq, time, status)"
    f" VALUES (%s, %s, %s, %s, {_TIME}, %s) ON CONFLICT (stream) DO UPDATE SET"
    " device = excluded.device, time = GREATEST(known.time, excluded.time),"
    " status = COALESCE(excluded.status, known.status),"
    " epoch = GREATEST(known.epoch, excluded.epoch),"
    " seq = CASE WHEN known.epoch > excluded.epoch THEN known.seq"
    " WHEN known.epoch < excluded.epoch THEN excluded.seq"
    " ELSE GREATEST(known.seq, excluded.seq) END"
)


class PostgresLog:
    """Stores messages in a database: the ``LogFormat`` of ``postgresql://`` addresses.

    Where the server is away, ``commit`` raises ``LogUnavailable`` and keeps the messages; it tries
    to connect again at growing intervals, so it may be called often. Connecting takes 5 seconds
    at most.

    Args:
        url: ``postgresql://USER@HOST:PORT/DATABASE``.
        report: takes one line for the first message that the tables cannot hold.

    Attributes:
        refused: messages that the tables cannot hold, such as those with a number beyond 64 bits.
            No daemon of this project sends them. They are counted, and not stored.

    Raises:
        ConfigError: the address is wrong.
    """

    cut_bytes = 0
    deleted_rows = 0
    size = 0
    day = None

    def __init__(self, url: str, report: Callable[[str], None] = lambda _line: None) -> None:
        self._server = PostgresServer(url)
        self._report = report
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._rows: list[tuple[Any, ...]] = []
        self._gaps: list[tuple[Any, ...]] = []
        self._devices: dict[str, list[Any]] = {}
        self._failure: LogUnavailable | None = None
        self._retry_ns = 0
        self._retry_s = RETRY_FIRST_S
        self.refused = 0

    def cursors(self) -> list[Cursor]:
        """Return the last stored message of each stream.

        Raises:
            ConfigError: the server refuses this user, or its schema is of another version.
            LogUnavailable: the server cannot be reached now; call it again.
        """
        return [Cursor(*row) for row in self._try(_read_cursors)]

    def write(self, received: Received) -> int:
        """Add a message, with its gap if it has one; return how many rows it takes."""
        message = received.message
        if not _fits(message):
            if not self.refused:
                self._report(
                    f"{self._server.shown}: a message has numbers beyond 64 bits; left out"
                )
            self.refused += 1
            return 0
        unix_us = message.time.unix_ns // 1000
        stream, device = _text(message.stream), _text(message.device)
        for gap in received.gaps:
            first, last = gap.first_missing, gap.last_missing
            self._gaps.append((stream, gap.epoch, first, last, gap.reason, device, unix_us))
            reached = first - 1 if last is None else last
            self._note_device(stream, device, unix_us, cursor=(gap.epoch, reached))
        body = received.body.decode()
        if isinstance(message, StatusMessage):
            self._note_device(stream, device, unix_us, status=body)
            return 0
        event = _text(message.event) if isinstance(message, EventMessage) else None
        self._rows.append(
            (stream, message.epoch, message.seq, device, message.kind, event, unix_us, body)
        )
        self._note_device(stream, device, unix_us, cursor=(message.epoch, message.seq))
        return 1

    def _note_device(
        self,
        stream: str,
        device: str,
        unix_us: int,
        *,
        cursor: tuple[int, int] = (0, -1),
        status: str | None = None,
    ) -> None:
        known = self._devices.setdefault(stream, [device, cursor, unix_us, status])
        newest = [device, max(known[1], cursor), max(known[2], unix_us), status or known[3]]
        self._devices[stream] = newest

    def commit(self) -> None:
        """Store what was added; on return the server has it in durable storage.

        Raises:
            ConfigError: the server refuses this user, or a right is missing.
            LogUnavailable: the server is away; the messages are kept.
        """
        if not (self._rows or self._gaps or self._devices):
            return
        self._try(self._store)
        self._rows.clear()
        self._gaps.clear()
        self._devices.clear()

    def _try(self, action: Callable[[_Connection], _Result]) -> _Result:
        """Return what ``action`` returns for an open connection.

        Raises:
            ConfigError: the server refuses it for good.
            LogUnavailable: the server is away, or was at the last try, shortly before.
        """
        if self._failure is not None and monotonic_ns() < self._retry_ns:
            raise self._failure
        try:
            if self._connection is None or self._connection.closed:
                self._connection = self._server.connect()
            try:
                result = action(self._connection)
            except psycopg.Error as error:
                self.close()
                raise self._server.translated(error) from error
        except LogUnavailable as error:
            self._failure = error
            self._retry_ns = monotonic_ns() + int(self._retry_s * 1e9)
            self._retry_s = min(2 * self._retry_s, RETRY_MAX_S)
            raise
        self._failure, self._retry_s = None, RETRY_FIRST_S
        return result

    def _store(self, connection: _Connection) -> None:
        devices = [
            (stream, device, *cursor, unix_us, status)
            # in one order, so that two loggers cannot wait for each other
            for stream, (device, cursor, unix_us, status) in sorted(self._devices.items())
        ]
        with connection.transaction(), connection.cursor() as cursor:
            self._copy(connection, self._rows)
            cursor.executemany(_INSERT_GAP, self._gaps)
            try:
                with connection.transaction():
                    cursor.executemany(_MOVE_CURSOR, devices)
            except psycopg.DataError:  # a status is no JSON for PostgreSQL, such as one with NaN
                cursor.executemany(_MOVE_CURSOR, [(*device[:-1], None) for device in devices])

    def _copy(self, connection: _Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert messages; find those that PostgreSQL refuses by halving, and leave them out."""
        try:
            with connection.transaction(), connection.cursor() as cursor:
                with cursor.copy("COPY incoming FROM STDIN") as copy:
                    for row in rows:
                        copy.write_row(row)
                cursor.execute(_INSERT_MESSAGES)
                cursor.execute("TRUNCATE incoming")
        except psycopg.DataError as error:
            if len(rows) == 1:
                self._refuse(str(error).partition("\n")[0])
                return
            half = len(rows) // 2
            self._copy(connection, rows[:half])
            self._copy(connection, rows[half:])

    def _refuse(self, reason: str) -> None:
        if not self.refused:
            self._report(f"{self._server.shown}: left out a message that no daemon sends: {reason}")
        self.refused += 1

    def rotate(self) -> None:
        """Do nothing: a database has no files to set aside."""

    def close(self) -> None:
        """Close the connection; what is not committed is not stored."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _read_cursors(connection: _Connection) -> list[tuple[Any, ...]]:
    with connection.transaction():
        return connection.execute("SELECT stream, epoch, seq FROM affect.devices").fetchall()


def _fits(message: Message) -> bool:
    numbers = [message.epoch, message.time.unix_ns]
    if not isinstance(message, StatusMessage):
        numbers.append(message.seq)
    names = [message.stream, message.event if isinstance(message, EventMessage) else ""]
    return all(0 <= number <= _INT_MAX for number in numbers) and all(
        len(name) <= _INDEXED_MAX for name in names
    )


def _text(value: str) -> str:
    """Return ``value`` as a text that PostgreSQL can hold: it refuses NUL."""
    return value.replace("\0", "\ufffd")
