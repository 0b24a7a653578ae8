"""Reads a SQLite log, also while it is written: messages in the order of reception, and gaps."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from edge.client.gaps import Gap
from edge.client.logs.participant_edits import ParticipantEdits
from edge.client.logs.sessions import Span, read_sessions, within
from edge.client.logs.sqlite_schema import check_identity
from edge.client.tidy import PlacedGap
from edge.errors import ConfigError, LogFileError
from edge.files.regular import open_regular
from edge.protocol.messages import EventMessage, FrameMessage

_BATCH: Final = 2000
_HEAD: Final = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class LoggedMessage:
    """A message of a log.

    Attributes:
        kind: ``frame`` or ``event``.
        body: the JSON as received.
        time_s: seconds on the time axis of its epoch.
        device: of the message.
        unix_ns: wall time of the message.
        stream: of its identity, as are the next two.
        epoch: number of the daemon's start.
        seq: number within the epoch.
    """

    kind: str
    body: str
    time_s: float
    device: str
    unix_ns: int
    stream: str
    epoch: int
    seq: int

    def decoded(self) -> FrameMessage | EventMessage:
        """Return the message.

        Raises:
            LogFileError: the row is damaged.
        """
        model = FrameMessage if self.kind == "frame" else EventMessage
        try:
            return model.model_validate_json(self.body)
        except ValueError as error:
            raise LogFileError(
                f"message {self.seq} of stream {self.stream}, epoch {self.epoch}: is damaged"
            ) from error


class SqliteReader:
    """A log, opened read-only. A context manager; not thread-safe.

    Args:
        path: of the log.

    Raises:
        ConfigError: it is not there, or is no log of this version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = _open(path)
        (self._last,) = self._query("SELECT coalesce(max(rowid), 0) FROM messages")[0]

    def __enter__(self) -> "SqliteReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def spans_of(self, session: str) -> list[Span]:
        """Return where a session lies (``edge.client.logs.sessions``).

        Args:
            session: its name or id. A name that was used several times gives all their spans.

        Raises:
            ConfigError: the log has no such session.
            LogFileError: the log cannot be read.
        """
        try:
            known = read_sessions(self._database)
        except sqlite3.Error as error:
            raise LogFileError(f"log {self.path}: {error}") from error
        spans = [
            span for each in known if session in (each.session, each.name) for span in each.spans
        ]
        if not spans:
            names = ", ".join(sorted({each.name for each in known})) or "none"
            raise ConfigError(f"--session {session!r}: expected a session of this log: {names}")
        return spans

    def count(self, spans: list[Span] | None = None) -> int:
        """Return how many messages there are, in ``spans`` if given."""
        where, values = _where(spans)
        return int(self._query(f"SELECT count(*) FROM messages WHERE {where}", values)[0][0])

    def messages(self, spans: list[Span] | None = None) -> Iterator[LoggedMessage]:
        """Return the messages in the order of their reception, in ``spans`` if given.

        Messages that are received meanwhile are not among them. Memory: some thousand messages.

        Raises:
            LogFileError: the log cannot be read.
        """
        where, values = _where(spans)
        after = 0
        while True:
            # in batches, so that the writer's log does not grow for as long as this is read
            rows = self._query(
                "SELECT rowid, kind, body, time_s, device, unix_ns, stream, epoch, seq"
                " FROM messages"
                f" WHERE rowid > ? AND rowid <= ? AND {where} ORDER BY rowid LIMIT {_BATCH}",
                (after, self._last, *values),
            )
            for row in rows:
                yield LoggedMessage(*row[1:])
            if len(rows) < _BATCH:
                return
            after = rows[-1][0]

    def events(self) -> Iterator[LoggedMessage]:
        """Return the events alone, in the order of their reception.

        Raises:
            LogFileError: the log cannot be read.
        """
        for row in self._query(
            "SELECT kind, body, time_s, device, unix_ns, stream, epoch, seq FROM messages"
            " WHERE kind = 'event' AND rowid <= ? ORDER BY rowid",
            (self._last,),
        ):
            yield LoggedMessage(*row)

    def gaps(self, spans: list[Span] | None = None) -> list[PlacedGap]:
        """Return the gaps by stream, epoch and number, erased messages included.

        Args:
            spans: only gaps that begin there; None: all.

        Raises:
            LogFileError: the log cannot be read.
        """
        where, values = _where(spans, seq="first_missing")
        rows = self._query(
            "SELECT stream, epoch, first_missing, last_missing, reason, device, unix_ns,"
            f" monotonic_ns, time_s FROM gaps WHERE {where} ORDER BY stream, epoch, first_missing",
            values,
        )
        return [PlacedGap(Gap(*row[:5]), *row[5:]) for row in rows]

    def edits(self) -> ParticipantEdits:
        """Return the participants that were assigned in the log afterwards."""
        try:
            return ParticipantEdits.load(self._database)
        except sqlite3.Error as error:
            raise LogFileError(f"log {self.path}: {error}") from error

    def _query(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise LogFileError(f"log {self.path}: {error}") from error


def _where(spans: list[Span] | None, seq: str = "seq") -> tuple[str, tuple[Any, ...]]:
    return ("1", ()) if spans is None else within(spans, seq)


def _open(path: Path) -> sqlite3.Connection:
    try:
        with open(path, "rb", opener=open_regular) as file:
            head = file.read(len(_HEAD))
    except IsADirectoryError as error:
        raise ConfigError(
            f"log {path}: is a folder; expected a SQLite log, NAME.sqlite; a Parquet log is tables"
            " already: docs/logging.md, Export"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"log {path}: cannot be read: {error.strerror}; expected a SQLite log, NAME.sqlite"
        ) from error
    if head != _HEAD:
        raise ConfigError(
            f"log {path}: expected a SQLite log, as affect-edge log --out NAME.sqlite writes it"
        )
    try:
        database = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=5.0)
        try:
            check_identity(database, f"log {path}")
        except (ConfigError, sqlite3.Error):
            database.close()
            raise
    except sqlite3.Error as error:
        raise ConfigError(f"log {path}: cannot be read: {error}") from error
    return database
