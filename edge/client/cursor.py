"""Keeps cursors in the SQLite database of a consumer, in the transaction of its data."""

import sqlite3
from collections.abc import Iterable

from edge.client.gaps import Cursor


class CursorTable:
    """The table ``affect_edge_cursor``, in a database of the caller. Thread rule: the connection's.

    Save the cursors in the same transaction as the messages up to them: then, whenever the process
    dies, each message is stored once.

    ::

        table = CursorTable(connection)
        with Subscriber(LIVE, services=SERVICES, cursors=table.load()) as subscriber:
            ...
            with connection:
                connection.execute("INSERT INTO ...")
                table.save(subscriber.cursors)
            subscriber.acknowledge()

    Args:
        connection: of the caller; the table is made if it does not exist.

    Raises:
        sqlite3.Error: the database cannot be written.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute(
            "CREATE TABLE IF NOT EXISTS affect_edge_cursor"
            " (stream TEXT PRIMARY KEY, epoch INTEGER NOT NULL, seq INTEGER NOT NULL)"
        )

    def load(self) -> list[Cursor]:
        """Return the cursors that were saved last."""
        rows = self._connection.execute(
            "SELECT stream, epoch, seq FROM affect_edge_cursor ORDER BY rowid"
        )
        return [Cursor(*row) for row in rows]

    def save(self, cursors: Iterable[Cursor]) -> None:
        """Save ``cursors``, without a commit; those of other streams stay."""
        self._connection.executemany(
            # replaced rows move to the end: the streams received last are loaded last
            "INSERT OR REPLACE INTO affect_edge_cursor VALUES (?, ?, ?)",
            ((each.stream, each.epoch, each.seq) for each in cursors),
        )
