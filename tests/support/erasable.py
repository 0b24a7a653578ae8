"""A record with two sessions to erase from, its log in any format, and what the log then holds."""

import csv
import io
import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet

from edge.client import Gap
from edge.client.logs import is_database, opened_log
from edge.protocol.messages import EventMessage, FrameMessage, StatusMessage
from tests.support import wire
from tests.support.logs import received

NOTE = 'mask "2", für später'
SESSION, OTHER = "0a1b2c3d4e5f", "ffffffffffff"
ROTATE = "rotate"
Message = FrameMessage | EventMessage | StatusMessage


def event(
    seq: int, kind: str, *, epoch: int = 1, stream: str = "s", **detail: object
) -> EventMessage:
    """Return an event."""
    return wire.event(seq, kind, dict(detail), epoch=epoch, stream=stream)


def frame(seq: int, *codes: str | None, epoch: int = 1, stream: str = "s") -> FrameMessage:
    """Return a frame with a face for each code."""
    faces = [{**wire.face(track), "participant": code} for track, code in enumerate(codes, 1)]
    return wire.frame(seq, *faces, epoch=epoch, stream=stream)


def status(last_seq: int, session: str | None, name: str = "", *, epoch: int = 1) -> StatusMessage:
    """Return a status, with the running session if there is one."""
    found = wire.status(last_seq, epoch=epoch)
    info = {"session": session, "name": name} if session else None
    return StatusMessage.model_validate(
        found.model_dump(mode="json", by_alias=True) | {"session": info}
    )


def record() -> list[Message]:
    """Return two sessions, of which the first goes over a restart; P07 is in the first alone."""
    first = {"session": SESSION, "name": "morning"}
    second = {"session": OTHER, "name": "evening"}
    ended = {"frames": 1, "restarts": 0, "seats": {}}
    return [
        event(0, "epoch_started"),
        event(1, "participant_assigned", track=1, participant="P07"),
        event(2, "session_began", **first, note=NOTE),
        *(frame(seq, "P07", "P08") for seq in range(3, 200)),
        status(199, SESSION, "morning"),
        event(0, "epoch_started", epoch=2),
        event(1, "session_resumed", epoch=2, **first, restarts=1),
        *(frame(seq, "P07", epoch=2) for seq in range(2, 100)),
        event(100, "session_ended", epoch=2, **first, participants=["P07", "P08"], **ended),
        frame(101, "P07", epoch=2),
        event(102, "participant_released", epoch=2, participant="P07"),
        event(103, "session_began", epoch=2, **second, note=""),
        *(frame(seq, "P08", epoch=2) for seq in range(104, 200)),
        event(200, "session_ended", epoch=2, **second, participants=["P08"], **ended),
        status(200, None, epoch=2),
        frame(205, epoch=2),  # after a gap
    ]


LEFT = [("s", 1, 0), ("s", 2, 0), *(("s", 2, seq) for seq in [*range(103, 201), 205])]
"""The messages that ``record`` has without its first session."""

GAPS = [("s", 1, 1, 199, "erased"), ("s", 2, 1, 102, "erased"), ("s", 2, 201, 204, "trimmed")]
"""The gaps that a log of ``record`` has afterwards."""


def write_record(out: str, messages: Iterable[Message | str], *, rotate_at: int = 150) -> None:
    """Log messages, with the gaps between them, and rotate once, and where ``ROTATE`` stands."""
    last: dict[tuple[str, int], int] = {}
    with opened_log(out) as log:
        log.cursors()
        for index, each in enumerate(messages):
            if index == rotate_at or isinstance(each, str):
                log.commit()
                log.rotate()
            if isinstance(each, str):
                continue
            gap = None
            if not isinstance(each, StatusMessage):
                before = last.get((each.stream, each.epoch), each.seq - 1)
                if before + 1 < each.seq:
                    gap = Gap(each.stream, each.epoch, before + 1, each.seq - 1, "trimmed")
                last[each.stream, each.epoch] = each.seq
            log.write(received(each, gap))


def contents(out: str) -> dict[str, list[Any]]:
    """Return the rows of a log in order, by file or table; lines as bytes."""
    if is_database(out):
        with psycopg.connect(out) as connection:
            return {
                table: connection.execute(
                    f"SELECT {columns} FROM affect.{table} ORDER BY 1, 2, 3".encode()
                ).fetchall()
                for table, columns in (
                    ("messages", "stream, epoch, seq, device, kind, event, time, body::text"),
                    ("gaps", "stream, epoch, first_missing, last_missing, reason, device, time"),
                    ("devices", "stream, epoch, seq, status::text"),
                )
            }
    path = Path(out)
    found: dict[str, list[Any]] = {}
    for file in sorted(each for each in path.parent.rglob("*") if each.is_file()):
        name = str(file.relative_to(path.parent))
        match file.suffix:
            case ".csv" | ".jsonl":
                found[name] = file.read_bytes().splitlines(keepends=True)
            case ".parquet":
                found[name] = pyarrow.parquet.ParquetFile(file).read().to_pylist()
            case ".sqlite":
                database = sqlite3.connect(file)
                for table in ("messages", "statuses", "gaps", "cursors"):
                    rows = database.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall()
                    found[f"{name} {table}"] = rows
                database.close()
            case _:
                found[name] = []
    return found


def messages_in(out: str) -> list[tuple[str, int, int]]:
    """Return the identities of the messages in a log, in order."""
    found: set[tuple[str, int, int]] = set()
    for name, rows in contents(out).items():
        if name == "messages" or name.endswith(" messages"):
            found |= {row[:3] for row in rows}
        elif name.endswith((".csv", ".jsonl", ".parquet")):
            found |= {
                (each["stream"], int(each["epoch"]), int(each["seq"]))
                for each in _records(name, rows)
                if each.get("event") != "gap" and each.get("kind") in (None, "frame", "event")
            }
    return sorted(found)


def gaps_in(out: str) -> list[tuple[Any, ...]]:
    """Return the gaps in a log: stream, epoch, first and last missing number, reason."""
    found: list[tuple[Any, ...]] = []
    for name, rows in contents(out).items():
        if name == "gaps" or name.endswith(" gaps"):
            found += [tuple(row[:5]) for row in rows]
        elif name.endswith((".csv", ".jsonl", ".parquet")):
            for each in _records(name, rows):
                if "gap" in (each.get("event"), each.get("kind")):
                    reason = json.loads(each["detail"])["reason"] if "detail" in each else None
                    first, last = int(each["first_missing"]), int(each["last_missing"])
                    at = each["stream"], int(each["epoch"]), first, last
                    found.append((*at, reason or each["reason"]))
    return sorted(found)


def _records(name: str, rows: list[Any]) -> list[dict[str, Any]]:
    if name.endswith(".jsonl"):
        return [json.loads(line) for line in rows]
    if name.endswith(".csv"):
        return list(csv.DictReader(io.StringIO(b"".join(rows).decode(), newline="")))
    return rows
