"""What is in a log and its rotated files, whatever the format."""

import sqlite3
from collections import Counter
from pathlib import Path

import duckdb

from tests.support.logs import csv_rows, json_lines

Identity = tuple[str, int, int]
"""Stream, epoch and number of a message."""


def logged(out: str) -> Counter[tuple[str, int]]:
    """Return how often each (stream, seq) is in the log; check its rows."""
    found: Counter[tuple[str, int]] = Counter()
    for (stream, _epoch, seq), count in logged_messages(out).items():
        found[stream, seq] += count
    return found


def logged_messages(out: str) -> Counter[Identity]:
    """Return how often each message is in the log.

    Check that no gap is in it, and that no frame lacks a row.
    """
    path = Path(out)
    files = sorted(path.parent.glob(f"{path.stem}*{path.suffix}"))
    match path.suffix:
        case ".sqlite":
            return _in_databases(files)
        case ".jsonl":
            lines = [
                line for file in files for line in json_lines(file) if line["kind"] != "status"
            ]
            assert not [line for line in lines if line["kind"] == "gap"]
            return Counter((line["stream"], line["epoch"], line["seq"]) for line in lines)
        case ".csv":
            return _in_tables(files)
        case _:
            return _in_folder(path)


def _in_databases(files: list[Path]) -> Counter[Identity]:
    found: Counter[Identity] = Counter()
    for file in files:
        database = sqlite3.connect(file)
        found.update(database.execute("SELECT stream, epoch, seq FROM messages").fetchall())
        assert database.execute("SELECT count(*) FROM gaps").fetchone() == (0,)
        database.close()
    return found


def _in_tables(files: list[Path]) -> Counter[Identity]:
    found: Counter[Identity] = Counter()
    rows: Counter[tuple[str, int, int, int]] = Counter()
    for file in files:
        is_events = file.name.endswith(".events.csv")
        for row in csv_rows(file):
            identity = (row["stream"], int(row["epoch"]), int(row["seq"]))
            if is_events:
                assert row["event"] != "gap"
                found[identity] += 1
            else:
                rows[*identity, int(row["faces"])] += 1
    _add_frames(found, rows)
    return found


def _in_folder(path: Path) -> Counter[Identity]:
    found: Counter[Identity] = Counter()
    faces, events = f"'{path}/faces/**/*.parquet'", f"'{path}/events/**/*.parquet'"
    columns = "stream, epoch, seq"
    rows = duckdb.sql(f"SELECT {columns}, faces, count(*) FROM {faces} GROUP BY ALL").fetchall()
    _add_frames(found, Counter({row[:4]: row[4] for row in rows}))
    found.update(duckdb.sql(f"SELECT {columns} FROM {events} WHERE event != 'gap'").fetchall())
    gaps = f"SELECT count(*) FROM {events} WHERE event = 'gap'"
    assert duckdb.sql(gaps).fetchall() == [(0,)]
    return found


def _add_frames(found: Counter[Identity], rows: Counter[tuple[str, int, int, int]]) -> None:
    for (*identity, faces), count in rows.items():
        assert count % max(1, faces) == 0, f"{identity}: {count} rows of {faces}"
        found[tuple(identity)] += count // max(1, faces)
