"""A consumer as a researcher would write it: stores every message in SQLite, and may be killed.

Arguments: endpoint, service, database, number of messages after which it kills itself (0: never),
and where: ``insert``, ``commit`` or ``acknowledge`` (right before that). It ends when it has caught
up and the database holds as many messages as the last argument says.
"""

import os
import signal
import sqlite3
import sys

from edge.client import CursorTable, Subscriber


def main() -> None:
    """Run until killed or done."""
    endpoint, service, path, count, place, total = sys.argv[1:]
    left = int(count)

    def die(here: str) -> None:
        if int(count) and left <= 0 and here == place:
            os.kill(os.getpid(), signal.SIGKILL)

    database = sqlite3.connect(path)
    database.execute("CREATE TABLE IF NOT EXISTS message (stream, epoch, seq, body)")  # no key
    table = CursorTable(database)
    database.commit()
    with Subscriber(
        [endpoint], services=[service], cursors=table.load(), name="consumer"
    ) as subscriber:
        stored = database.execute("SELECT count(*) FROM message").fetchone()[0]
        while stored < int(total) or not subscriber.caught_up:
            rows = []
            while len(rows) < 50 and (received := subscriber.receive(0.05)) is not None:
                message = received.message
                if message.kind != "status":
                    rows.append((message.stream, message.epoch, message.seq, received.body))
            left -= len(rows)
            with database:
                die("insert")
                database.executemany("INSERT INTO message VALUES (?, ?, ?, ?)", rows)
                table.save(subscriber.cursors)
                die("commit")
            die("acknowledge")
            subscriber.acknowledge()
            stored += len(rows)


if __name__ == "__main__":
    main()
