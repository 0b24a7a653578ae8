"""Erases a session from a log in SQLite, and looks for remains in the bytes of its files.

Where it lies: ``edge.client.logs.sessions``. With the messages of the session go all other messages
with a code that no other session of the log and no configuration has.

``secure_delete`` overwrites what is deleted, and ``VACUUM`` writes a new file without free pages.
The table ``gaps`` has what is missing, with the reason ``erased``.
"""

import json
import mmap
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.client.logs import participant_edits
from edge.client.logs.sessions import Session, read_sessions, within
from edge.client.logs.sqlite_changes import open_log, transaction
from edge.client.logs.sqlite_database import companion
from edge.errors import ConfigError, LogFileError

SAMPLES: Final = 64
"""Erased messages whose own numbers are looked for, evenly distributed."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased, and what the files still hold.

    Attributes:
        messages: number of erased messages, those outside of the session included.
        outside: of these, outside of the session.
        codes: codes that only this session had.
        looked_for: number of texts that were looked for.
        hits: how often one of them was found; 0 is the proof.
    """

    messages: int
    outside: int
    codes: tuple[str, ...]
    looked_for: int
    hits: int


def erase(path: Path, word: str) -> Erased:
    """Erase the session with the name or id ``word`` from the log ``path``.

    Raises:
        ConfigError: there is no such log, or no such session in it.
        LogFileError: the log cannot be changed, such as while a logger writes to it.
    """
    with open_log(path) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        sessions = read_sessions(connection)
        session = _find(sessions, path, word)
        codes = _own_codes(connection, session, sessions)
        connection.execute("CREATE TEMP TABLE doomed (stream, epoch, seq)")
        inside = _mark(connection, session, codes)
        texts = [text for text in (session.name, session.note, *codes) if text]
        needles = [json.dumps(text, ensure_ascii=False) for text in texts]
        needles += _samples(connection)
        with transaction(connection):
            messages = _delete(connection, session, codes)
        connection.execute("DROP TABLE doomed")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        _compact(connection, path)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    hits = sum(_count(path, needle.encode()) for needle in needles)
    return Erased(messages, messages - inside, codes, len(needles), hits)


def _compact(connection: sqlite3.Connection, path: Path) -> None:
    try:
        connection.execute("VACUUM")
    except sqlite3.OperationalError as error:
        raise LogFileError(
            f"--log {path}: the messages are erased, but the file could not be written anew:"
            f" {error}; make room, or stop the logger, and run: sqlite3 {path} VACUUM"
        ) from error


def _find(sessions: list[Session], path: Path, word: str) -> Session:
    matching = [each for each in sessions if word in (each.session, each.name)]
    if not matching:
        known = ", ".join(each.name for each in sessions) or "none"
        raise ConfigError(f"--session {word}: not in {path}; sessions: {known}")
    if len(matching) > 1:
        known = ", ".join(each.session for each in matching)
        raise ConfigError(
            f"--session {word}: {len(matching)} sessions of {path}; name one: {known}"
        )
    return matching[0]


def _codes(connection: sqlite3.Connection, session: Session) -> set[str]:
    """Return the codes that faces have in a session."""
    where, values = within(session.spans)
    rows = connection.execute(
        "SELECT DISTINCT json_extract(f.value, '$.participant') FROM messages m,"
        f" json_each(m.body, '$.faces') f WHERE m.kind = 'frame' AND {where}",
        values,
    )
    return {code for (code,) in rows if code is not None}


def _own_codes(
    connection: sqlite3.Connection, session: Session, sessions: list[Session]
) -> tuple[str, ...]:
    own = _codes(connection, session)
    for other in sessions:
        if own and other.session != session.session:
            own -= _codes(connection, other)
    for (body,) in connection.execute(
        "SELECT body FROM messages WHERE kind = 'event' AND instr(body, '\"epoch_started\"')"
    ):
        own -= {code for code in own if f'"{code}"' in body}  # of the configuration
    return tuple(sorted(own))


def _mark(connection: sqlite3.Connection, session: Session, codes: tuple[str, ...]) -> int:
    """Note what is to be deleted; return how many messages are within the session."""
    where, values = within(session.spans)
    count = connection.execute(
        f"INSERT INTO doomed SELECT stream, epoch, seq FROM messages WHERE {where}", values
    ).rowcount
    for code in codes:
        connection.execute(
            "INSERT INTO doomed SELECT stream, epoch, seq FROM messages WHERE instr(body, ?)"
            f" AND NOT {where}"
            " AND (stream, epoch, seq) NOT IN (SELECT stream, epoch, seq FROM doomed)",
            [f'"{code}"', *values],
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


def _delete(connection: sqlite3.Connection, session: Session, codes: tuple[str, ...]) -> int:
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
    connection.execute("DELETE FROM statuses WHERE instr(body, ?)", [f'"{session.session}"'])
    participant_edits.forget(connection, codes)
    return count


def _count(path: Path, needle: bytes) -> int:
    """Return how often ``needle`` is in the bytes of the database and of its companions."""
    hits = 0
    for suffix in ("", "-wal", "-journal", "-shm"):
        part = companion(path, suffix)
        if not part.is_file() or not part.stat().st_size:
            continue
        with (
            part.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            at = content.find(needle)
            while at >= 0:
                hits += 1
                at = content.find(needle, at + 1)
    return hits
