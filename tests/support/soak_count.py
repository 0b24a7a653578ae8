"""Counts what is in a log of hours, in the engine of the log: not in memory."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import duckdb

from tests.support.postgres import Database

Ends = dict[tuple[str, int], int]
"""(stream, epoch) -> number of its last message."""

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """What is in a log.

    Attributes:
        stored: messages.
        missing: messages that were published and are not in it.
        twice: messages too many.
        gaps: stored gaps in words.
    """

    stored: int
    missing: int
    twice: int
    gaps: list[str]

    def figures(self) -> dict[str, Any]:
        """Return the fields, for a report."""
        return {
            "stored": self.stored,
            "missing": self.missing,
            "twice": self.twice,
            "gaps": self.gaps,
        }


def count_sqlite(path: str, ends: Ends, newest: Ends) -> Counted:
    """Count a SQLite log; see ``_count``."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        return _count(
            lambda query: database.execute(query).fetchall(), "messages", "gaps", ends, newest
        )


def count_database(database: Database, ends: Ends, newest: Ends) -> Counted:
    """Count a log in PostgreSQL; see ``_count``."""
    return _count(database.rows, "affect.messages", "affect.gaps", ends, newest)


def count_parquet(folder: str, ends: Ends, newest: Ends) -> Counted:
    """Count a Parquet log of frames with one face each; see ``_count``."""
    faces, events = f"'{folder}/faces/**/*.parquet'", f"'{folder}/events/**/*.parquet'"
    columns = "SELECT stream, epoch, seq FROM"
    messages = f"({columns} {faces} UNION ALL {columns} {events} WHERE event != 'gap')"
    gaps = f"(SELECT * FROM {events} WHERE event = 'gap')"
    return _count(lambda query: duckdb.sql(query).fetchall(), messages, gaps, ends, newest)


def _count(
    run: Callable[[str], Iterable[Row]], messages: str, gaps: str, ends: Ends, newest: Ends
) -> Counted:
    """Count the messages of a log.

    Args:
        run: returns the rows of a query.
        messages: a table with the columns stream, epoch and seq.
        gaps: a table of the gaps.
        ends: last message of each epoch, as far as it is known.
        newest: the same of the epochs that go on: what came later is left out.
    """
    later = " OR ".join(
        f"(stream = '{stream}' AND epoch = {epoch} AND seq > {seq})"
        for (stream, epoch), seq in newest.items()
    )
    rows = run(
        "SELECT stream, epoch, count(*), count(DISTINCT seq), max(seq)"
        f" FROM {messages} AS m WHERE NOT ({later}) GROUP BY stream, epoch"
    )
    known = dict(ends)
    found: dict[tuple[str, int], tuple[int, int]] = {}
    for stream, epoch, count, distinct, last in rows:
        found[stream, epoch] = (count, distinct)
        known[stream, epoch] = max(last, known.get((stream, epoch), -1))
    for stream, epoch in newest:  # an epoch that no one saw had at least its first message
        for before in range(1, epoch):
            known.setdefault((stream, before), 0)
    return Counted(
        stored=sum(count for count, _ in found.values()),
        missing=sum(last + 1 - found.get(each, (0, 0))[1] for each, last in known.items()),
        twice=sum(count - distinct for count, distinct in found.values()),
        gaps=[str(row) for row in run(f"SELECT * FROM {gaps} AS g")],
    )
