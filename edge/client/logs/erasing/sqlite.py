"""Erases a session from a log in SQLite and from the files that it was rotated to.

``secure_delete`` overwrites what is deleted, and ``VACUUM`` writes a new file without free pages.
The table ``gaps`` has what is missing, with the reason ``erased``. The plan lies next to the log
until all files are done, so that a killed erasure is completed by the next one.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import ExitStack, contextmanager
from pathlib import Path

from edge.client.logs import participant_edits
from edge.client.logs.erasing.line_items import JsonKind
from edge.client.logs.erasing.locks import acting_as_owner, in_use, open_locked
from edge.client.logs.erasing.names import log_files, where_in
from edge.client.logs.erasing.plan import STARTED, Epoch, Erased, Plan, PlanFile, run_plan
from edge.client.logs.erasing.remains import count_in_files
from edge.client.logs.erasing.runs import SAMPLES
from edge.client.logs.sessions import SessionEvent, Span, read_session_events, within
from edge.client.logs.sqlite_changes import open_log, transaction
from edge.client.logs.sqlite_database import companion
from edge.errors import LogFileError

_JSON = JsonKind()
_IS_STARTED = (
    f"(kind = 'event' AND instr(body, '\"{STARTED}\"')"
    f" AND json_extract(body, '$.event') = '{STARTED}')"
)


def erase(path: Path, word: str, report: Callable[[str], None]) -> Erased:
    """Erase the session with the name or id ``word`` from the log ``path``.

    Args:
        path: the log; files that it was rotated to are found by their names.
        word: name or id.
        report: takes lines on what is done.

    Raises:
        ConfigError: there is no such log, or no such session in it.
        LogFileError: the log cannot be changed, such as while a logger writes to it.
    """
    paths = [each for part in log_files(path) for each in part]
    with ExitStack() as stack:
        stack.enter_context(acting_as_owner(paths[-1]))
        for each in paths:
            lock = open_locked(each)
            if each == path:  # closed after the database: that releases the locks of SQLite, too
                stack.callback(os.close, lock)
            else:
                os.close(lock)
        if [each for part in log_files(path) for each in part] != paths:
            raise in_use(path)  # a logger has just rotated it
        return run_plan(
            PlanFile(path.with_name(f"{path.name}.erasing")),
            lambda: _SqliteFacts(paths),
            lambda plan: _erase(path, paths, plan),
            word=word,
            where=str(path),
            report=report,
        )


def _erase(log: Path, paths: Sequence[Path], plan: Plan) -> Erased:
    messages = inside = 0
    texts = [text.encode() for text in plan.texts()]
    for path in paths:
        with _opened(path) as connection:
            connection.execute("CREATE TEMP TABLE doomed (stream, epoch, seq)")
            inside += _mark(connection, plan)
            texts += [text.encode() for text in _samples(connection)]
            with transaction(connection):
                count, edits = _delete(connection, plan)
            messages += count
            texts += edits
            connection.execute("DROP TABLE doomed")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            _compact(connection, path)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    suffixes = ("", "-wal", "-journal", "-shm")
    files = [companion(path, suffix) for path in paths for suffix in suffixes]
    hits = count_in_files(files, texts)
    codes = tuple(sorted(plan.codes))
    return Erased(messages, messages - inside, codes, len(texts), hits, where_in(log, paths))


class _SqliteFacts:
    """What the files of a log show; see ``Facts``."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def session_events(self) -> Iterator[SessionEvent]:
        for path in self._paths:
            with _opened(path) as connection:
                yield from read_session_events(connection)

    def newest(self) -> dict[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        for path in self._paths:
            with _opened(path) as connection:
                for stream, epoch, seq in connection.execute(
                    "SELECT stream, epoch, max(seq) FROM messages GROUP BY stream, epoch"
                ):
                    found[stream] = max(found.get(stream, (0, 0)), (epoch, seq))
        return found

    def configured(self) -> dict[Epoch, Set[str]]:
        found: dict[Epoch, Set[str]] = {}
        for path in self._paths:
            with _opened(path) as connection:
                for (body,) in connection.execute(f"SELECT body FROM messages WHERE {_IS_STARTED}"):
                    if (item := _JSON.item(body)) is not None:
                        found[item.stream, item.epoch] = item.codes
        return found

    def codes_of(self, sessions: Sequence[Sequence[Span]]) -> list[set[str]]:
        found: list[set[str]] = [set() for _ in sessions]
        for path in self._paths:
            with _opened(path) as connection:
                for codes, spans in zip(found, sessions, strict=True):
                    codes.update(_codes(connection, spans))
        return found

    def epochs_of(self, spans: Sequence[Span], codes: Set[str]) -> dict[str, set[Epoch]]:
        found: dict[str, set[Epoch]] = {code: set() for code in codes}
        where, values = within(spans)
        for path in self._paths if codes else ():
            with _opened(path) as connection:
                for code, epochs in found.items():
                    epochs.update(
                        connection.execute(
                            f"SELECT DISTINCT stream, epoch FROM messages WHERE {where}"
                            " OR (instr(body, ?) AND names(body, ?))",
                            [*values, f'"{code}"', code],
                        )
                    )
        return found


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with open_log(path) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        connection.create_function("names", 2, _names, deterministic=True)
        yield connection


def _names(body: str, code: str) -> bool:
    """Return whether a message names a participant."""
    item = _JSON.item(body.encode())
    return item is not None and code in item.codes


def _compact(connection: sqlite3.Connection, path: Path) -> None:
    try:
        connection.execute("VACUUM")
    except sqlite3.OperationalError as error:
        raise LogFileError(
            f"--log {path}: the messages are erased, but the file could not be written anew:"
            f" {error}; make room, or stop the logger, and erase the session again"
        ) from error


def _codes(connection: sqlite3.Connection, spans: Sequence[Span]) -> set[str]:
    """Return the codes that faces have in a session."""
    where, values = within(spans)
    rows = connection.execute(
        "SELECT DISTINCT json_extract(f.value, '$.participant') FROM messages m,"
        f" json_each(m.body, '$.faces') f WHERE m.kind = 'frame' AND {where}",
        values,
    )
    return {code for (code,) in rows if code is not None}


def _mark(connection: sqlite3.Connection, plan: Plan) -> int:
    """Note what is to be deleted; return how many messages are within the session."""
    where, values = within(plan.spans)
    count = connection.execute(
        "INSERT INTO doomed SELECT stream, epoch, seq FROM messages"
        f" WHERE {where} AND NOT {_IS_STARTED}",
        values,
    ).rowcount
    for code in sorted(plan.codes):
        connection.execute(
            "INSERT INTO doomed SELECT stream, epoch, seq FROM messages"
            f" WHERE instr(body, ?) AND names(body, ?) AND NOT {where} AND NOT {_IS_STARTED}"
            " AND (stream, epoch, seq) NOT IN (SELECT stream, epoch, seq FROM doomed)",
            [f'"{code}"', code, *values],
        )
    return count


def _samples(connection: sqlite3.Connection) -> list[str]:
    """Return texts that only the messages to be deleted contain."""
    (count,) = connection.execute("SELECT count(*) FROM doomed").fetchone()
    step = max(1, -(-count // SAMPLES))
    rows = connection.execute(
        "SELECT stream, epoch, seq FROM doomed WHERE rowid % ? = 0 OR rowid = 1 LIMIT ?",
        [step, SAMPLES],
    )
    return [f'"stream":"{stream}","epoch":{epoch},"seq":{seq},' for stream, epoch, seq in rows]


def _delete(connection: sqlite3.Connection, plan: Plan) -> tuple[int, list[bytes]]:
    """Delete it; return the number of messages, and the bytes of edits of participants."""
    # numbers in a row have the same difference from their rank; the times are those of the first
    connection.execute(
        "INSERT INTO gaps (stream, epoch, first_missing, last_missing, reason, device, unix_ns,"
        " monotonic_ns, time_s) SELECT r.stream, r.epoch, r.first, r.last, 'erased', m.device,"
        " m.unix_ns, coalesce(json_extract(m.body, '$.time.monotonic_ns'),"
        " json_extract(m.body, '$.time.published_ns')), m.time_s FROM (SELECT stream, epoch,"
        " min(seq) AS first, max(seq) AS last FROM (SELECT *, seq - row_number() OVER"
        " (PARTITION BY stream, epoch ORDER BY seq) AS run FROM doomed)"
        " GROUP BY stream, epoch, run) r JOIN messages m"
        " ON (m.stream, m.epoch, m.seq) = (r.stream, r.epoch, r.first)"
    )
    count = connection.execute(
        "DELETE FROM messages WHERE (stream, epoch, seq) IN (SELECT stream, epoch, seq FROM doomed)"
    ).rowcount
    connection.execute("DELETE FROM statuses WHERE instr(body, ?)", [f'"{plan.session}"'])
    return count, participant_edits.forget(connection, sorted(plan.codes))
