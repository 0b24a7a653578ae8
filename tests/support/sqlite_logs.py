"""Logs in SQLite."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from edge.client.logs.sqlite_schema import APPLICATION_ID, VERSION, schema
from edge.protocol.messages import EventMessage, FrameMessage


def write_log(path: Path, messages: Iterable[FrameMessage | EventMessage]) -> None:
    """Write a log of ``messages``, in write-ahead mode as a logger does."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; {schema()}"
        )
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
