"""Erases a session from a log in PostgreSQL.

One transaction deletes the rows and records the gaps; loggers may go on meanwhile. ``VACUUM`` then
frees the space of the deleted rows: it does not overwrite it, and the server's write-ahead log and
backups keep what they have. What SQL can prove is looked for: no row of the session, no text of it
in any row, no deleted row that an older transaction still sees.

The plan is in the table ``affect.erasing`` until that is done, so that an erasure that was
interrupted is completed by the next one.
"""

import select
from collections.abc import Callable, Iterator, Sequence, Set
from itertools import count
from typing import Any, Final

import psycopg

from edge.client.logs.erasing.line_items import JsonKind
from edge.client.logs.erasing.plan import (
    ERASED,
    STARTED,
    Epoch,
    Erased,
    Item,
    Plan,
    decode_plan,
    encode_plan,
    run_plan,
)
from edge.client.logs.postgresql_server import PostgresServer
from edge.client.logs.sessions import EVENTS, SessionEvent, Span, within
from edge.clock import elapsed_ms, monotonic_ns
from edge.errors import ConfigError, LogFileError

_Connection = psycopg.Connection[tuple[Any, ...]]

VACUUM_MS = 20_000.0
"""How long to wait for older transactions, and for the server's statistics."""

_POLL_S: Final = 0.2
_JSON: Final = JsonKind()
_NUMBERS: Final = count()


def erase(url: str, word: str, report: Callable[[str], None]) -> Erased:
    """Erase the session with the name or id ``word`` from the log in the database ``url``.

    Args:
        url: ``postgresql://USER@HOST:PORT/DATABASE``; the user owns the tables.
        word: name or id.
        report: takes lines on what is done.

    Raises:
        ConfigError: the server refuses this user, there is no log, or no such session in it.
        LogFileError: the database cannot be changed now.
    """
    server = PostgresServer(url)
    connection = server.connect(create=False)
    try:
        _require_owner(connection, server.shown)
        log = _Log(connection, server.shown, report)
        return run_plan(log, lambda: log, log.erase, word=word, where=server.shown, report=report)
    except psycopg.Error as error:
        raise server.translated(error) from error
    finally:
        connection.close()


def _require_owner(connection: _Connection, shown: str) -> None:
    rows = connection.execute(
        "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid IN"
        " ('affect.messages'::regclass, 'affect.devices'::regclass)"
        " AND NOT pg_has_role(relowner, 'USAGE')"
    ).fetchall()
    connection.commit()
    if rows:
        raise ConfigError(
            f"{shown}: only the owner of the tables can erase and VACUUM; connect as {rows[0][0]}"
        )


class _Log:
    """The log of a database: its facts, the store of its plan, and the erasure."""

    def __init__(self, connection: _Connection, shown: str, report: Callable[[str], None]) -> None:
        self._connection = connection
        self._shown = shown
        self._report = report
        connection.autocommit = True

    def load(self) -> Plan | None:
        if not self._rows("SELECT 1 WHERE to_regclass('affect.erasing') IS NOT NULL"):
            return None
        rows = self._rows("SELECT plan FROM affect.erasing")
        try:
            return decode_plan(rows[0][0]) if rows else None
        except (ValueError, LookupError, TypeError) as error:
            raise ConfigError(
                f"{self._shown}: the plan of an interrupted erasure cannot be read ({error}); to"
                " begin anew: DROP TABLE affect.erasing"
            ) from error

    def store(self, plan: Plan) -> None:
        with self._connection.transaction():
            self._rows("CREATE TABLE IF NOT EXISTS affect.erasing (plan text NOT NULL)")
            self._rows("DELETE FROM affect.erasing")
            self._rows("INSERT INTO affect.erasing VALUES (%s)", encode_plan(plan))

    def delete(self) -> None:
        self._rows("DROP TABLE IF EXISTS affect.erasing")

    def session_events(self) -> list[SessionEvent]:
        found = []
        for item in self._items("event = ANY(%s)", list(EVENTS)):
            session, name = item.detail.get("session"), item.detail.get("name")
            if isinstance(session, str) and isinstance(name, str):
                at = item.stream, item.epoch, item.seq
                found.append(SessionEvent(*at, item.event, session, name, item.detail.get("note")))
        return found

    def newest(self) -> dict[str, tuple[int, int]]:
        rows = self._rows(
            "SELECT DISTINCT ON (stream) stream, epoch, seq FROM affect.messages"
            " ORDER BY stream, epoch DESC, seq DESC"
        )
        return {stream: (epoch, seq) for stream, epoch, seq in rows}

    def configured(self) -> dict[Epoch, Set[str]]:
        items = self._items("event = %s", STARTED)
        return {(item.stream, item.epoch): item.codes for item in items}

    def codes_of(self, sessions: Sequence[Sequence[Span]]) -> list[set[str]]:
        found = []
        for spans in sessions:
            where, values = _within(spans)
            rows = self._rows(
                "SELECT DISTINCT (regexp_matches(body::text, %s, 'g'))[1] FROM affect.messages"
                f" WHERE kind = 'frame' AND {where}",
                '"participant": ?"([^"]+)"',
                *values,
            )
            found.append({code for (code,) in rows})
        return found

    def epochs_of(self, spans: Sequence[Span], codes: Set[str]) -> dict[str, set[Epoch]]:
        if not codes:
            return {}
        where, values = _within(spans)
        of_session = self._rows(
            f"SELECT DISTINCT stream, epoch FROM affect.messages WHERE {where}", *values
        )
        found = {code: {(stream, epoch) for stream, epoch in of_session} for code in codes}
        for item in self._naming(spans, codes):
            for code in codes & item.codes:
                found[code].add((item.stream, item.epoch))
        return found

    def erase(self, plan: Plan) -> Erased:
        """Erase what ``plan`` says; where that was done before, only look for remains."""
        with self._connection.transaction():
            messages, outside = self._delete(plan)
            # in one order, so that a logger and this do not wait for each other
            self._rows("SELECT 1 FROM affect.devices ORDER BY stream FOR UPDATE")
            self._rows(
                "UPDATE affect.devices SET status = NULL WHERE position(%s in status::text) > 0",
                f'"{plan.session}"',
            )
        self._report(f"{messages} messages are deleted; VACUUM frees their space")
        self._vacuum()
        texts = plan.texts()
        hits = self._count(plan, texts)
        codes = tuple(sorted(plan.codes))
        return Erased(messages, outside, codes, len(texts), hits, f"the rows of {self._shown}")

    def _delete(self, plan: Plan) -> tuple[int, int]:
        """Delete the messages and record the gaps; return how many, and how many outside."""
        where, values = _goes(plan.spans)
        self._rows(
            "CREATE TEMPORARY TABLE doomed ON COMMIT DROP AS SELECT stream, epoch, seq, device,"
            f" time FROM affect.messages WHERE {where}",
            *values,
        )
        ((inside,),) = self._rows("SELECT count(*) FROM doomed")
        for item in self._naming(plan.spans, plan.codes):
            self._rows(
                "INSERT INTO doomed SELECT stream, epoch, seq, device, time FROM affect.messages"
                " WHERE (stream, epoch, seq) = (%s, %s, %s)",
                *item.identity,
            )
        # numbers in a row have the same difference from their rank; the time is that of the first
        self._rows(
            "INSERT INTO affect.gaps (stream, epoch, first_missing, last_missing, reason, device,"
            " time) SELECT stream, epoch, min(seq), max(seq), %s, min(device), min(time) FROM"
            " (SELECT *, seq - row_number() OVER (PARTITION BY stream, epoch ORDER BY seq) AS run"
            " FROM doomed) numbered GROUP BY stream, epoch, run ON CONFLICT DO NOTHING",
            ERASED,
        )
        ((count,),) = self._rows("SELECT count(*) FROM doomed")
        self._rows(
            "DELETE FROM affect.messages m USING doomed d"
            " WHERE (m.stream, m.epoch, m.seq) = (d.stream, d.epoch, d.seq)"
        )
        return count, count - inside

    def _naming(self, spans: Sequence[Span], codes: Set[str]) -> list[Item]:
        """Return the messages outside of ``spans`` that name one of ``codes``."""
        if not codes:
            return []
        where, values = _within(spans)
        quoted = [f'"{code}"' for code in codes]
        any_code = " OR ".join(["position(%s in body::text) > 0"] * len(quoted))
        items = self._items(f"NOT {where} AND ({any_code})", *values, *quoted)
        return [
            item for item in items if item.event != STARTED and not codes.isdisjoint(item.codes)
        ]

    def _vacuum(self) -> None:
        """Have the server free the space of all deleted rows.

        Raises:
            LogFileError: an older transaction still sees some of them.
        """
        started_ns = monotonic_ns()
        while True:
            ((before,),) = self._rows("SELECT clock_timestamp()")
            self._rows("VACUUM affect.messages")
            # the statistics may lag behind, and count rows that this VACUUM has freed
            ((is_known, dead),) = self._rows(
                "SELECT coalesce(last_vacuum >= %s, false), n_dead_tup FROM pg_stat_all_tables"
                " WHERE relid = 'affect.messages'::regclass",
                before,
            )
            if is_known and not dead:
                break
            if elapsed_ms(started_ns) >= VACUUM_MS:
                raise LogFileError(
                    f"{self._shown}: the session is deleted, but VACUUM cannot free {dead} rows: an"
                    " older transaction may still see them (pg_stat_activity: backend_xmin,"
                    " xact_start); end it, and erase the session again"
                )
            select.select([], [], [], _POLL_S)
        self._rows("VACUUM affect.devices")

    def _count(self, plan: Plan, texts: Sequence[str]) -> int:
        """Return how many rows are in the session, name a code, or hold one of ``texts``."""
        where, values = _goes(plan.spans)
        ((hits,),) = self._rows(f"SELECT count(*) FROM affect.messages WHERE {where}", *values)
        for table, column in (("messages", "body"), ("devices", "status")):
            for text in texts:
                ((found,),) = self._rows(
                    f"SELECT count(*) FROM affect.{table} WHERE position(%s in {column}::text) > 0",
                    text,
                )
                hits += found
        return int(hits) + len(self._naming(plan.spans, plan.codes))

    def _items(self, where: str, *values: object) -> Iterator[Item]:
        """Return messages, some thousand at a time."""
        with (
            self._connection.transaction(),
            self._connection.cursor(f"items_{next(_NUMBERS)}") as cursor,
        ):
            cursor.itersize = 1000
            cursor.execute(f"SELECT body::text FROM affect.messages WHERE {where}".encode(), values)
            for (body,) in cursor:
                if (item := _JSON.item(body.encode())) is not None:
                    yield item

    def _rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []


def _within(spans: Sequence[Span]) -> tuple[str, tuple[str | int, ...]]:
    where, values = within(spans)
    return where.replace("?", "%s"), values


def _goes(spans: Sequence[Span]) -> tuple[str, tuple[str | int, ...]]:
    """Return the condition of messages that go: those in ``spans`` without configurations."""
    where, values = _within(spans)
    return f"{where} AND event IS DISTINCT FROM '{STARTED}'", values
