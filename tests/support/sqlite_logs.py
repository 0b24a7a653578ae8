"""A log in SQLite, with the tables that ``edge.client.log_database`` expects."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from edge.protocol.messages import EventMessage, FrameMessage

_SCHEMA = """
CREATE TABLE messages (
    stream TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, kind TEXT NOT NULL,
    device TEXT NOT NULL, unix_ns INTEGER NOT NULL, time_s REAL NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (stream, epoch, seq)
);
CREATE TABLE statuses (
    stream TEXT NOT NULL, epoch INTEGER NOT NULL, minute INTEGER NOT NULL, device TEXT NOT NULL,
    unix_ns INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (stream, epoch, minute)
);
CREATE TABLE gaps (
    stream TEXT NOT NULL, epoch INTEGER NOT NULL, first_missing INTEGER NOT NULL,
    last_missing INTEGER NOT NULL, device TEXT NOT NULL, unix_ns INTEGER NOT NULL,
    monotonic_ns INTEGER NOT NULL, time_s REAL NOT NULL, PRIMARY KEY (stream, epoch, first_missing)
);
CREATE VIEW faces AS SELECT
    m.device AS device, m.stream AS stream, m.epoch AS epoch, m.seq AS seq,
    coalesce(json_extract(f.value, '$.track'), -1) AS track,
    json_extract(f.value, '$.participant') AS participant
FROM messages m LEFT JOIN json_each(m.body, '$.faces') f WHERE m.kind = 'frame';
"""


def write_log(path: Path, messages: Iterable[FrameMessage | EventMessage]) -> None:
    """Write a log of ``messages``, in write-ahead mode as a logger does."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(_SCHEMA)
        connection.executemany(
            "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    *(each.stream, each.epoch, each.seq, each.kind, each.device),
                    *(each.time.unix_ns, 0.0, each.model_dump_json(by_alias=True)),
                )
                for each in messages
            ],
        )
    connection.close()
