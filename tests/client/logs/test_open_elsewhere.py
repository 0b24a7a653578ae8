"""SQLite logs that another program has open: rotation waits, and nothing is lost."""

import sqlite3
import subprocess
import sys

import pytest

from edge.client.logs import opened_log
from tests.support.logged import logged
from tests.support.logs import received
from tests.support.wire import event, frame

READER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
print(database.execute("SELECT count(*) FROM messages").fetchone()[0], flush=True)
sys.stdin.read()
database.close()
"""


class Reader:
    """A program that has read the log and keeps it open, until ``end``."""

    def __init__(self, path):
        self._process = subprocess.Popen(
            [sys.executable, "-c", READER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._process.stdout.readline()

    def end(self):
        self._process.communicate()
        assert self._process.returncode == 0


def add(log, *numbers):
    for seq in numbers:
        log.write(received(frame(seq)))
    log.commit()


def stored(path):
    with sqlite3.connect(f"file:{path}?immutable=1", uri=True) as database:
        return [seq for (seq,) in database.execute("SELECT seq FROM messages ORDER BY seq")]


def test_rotation_waits_for_a_program_that_has_the_log_open(tmp_path):
    """A reader that closes deletes the write-ahead log by name: it would be that of the new log."""
    out, reports = tmp_path / "log.sqlite", []
    rotated = tmp_path / "log.2023-11-14.sqlite"
    with opened_log(out, reports.append) as log:
        log.cursors()
        for first in (0, 2):  # the second set-aside write-ahead log replaced the first
            add(log, first)
            reader = Reader(out)
            log.rotate()
            assert log.day is None  # no further rotation is asked for
            add(log, first + 1)
            assert not rotated.exists()
            reader.end()
            log.commit()
            assert stored(rotated) == [first, first + 1]
            rotated = tmp_path / "log.2023-11-14.2.sqlite"
        add(log, 4)
    assert logged(str(out)) == {("s", seq): 1 for seq in range(5)}
    assert [line.partition(": ")[2] for line in reports] == 2 * [
        "another program has the log open; it is rotated when that ends",
        "no other program has the log open; it is rotated",
    ]
    assert not list(tmp_path.glob("*.kept*"))


@pytest.mark.parametrize("count", [1, 3])
def test_kept_write_ahead_logs_have_names_of_their_own(tmp_path, count):
    out = tmp_path / "log.sqlite"
    for _ in range(count):
        out.with_name("log.sqlite-wal").write_bytes(b"of a file that is gone")
        with opened_log(out) as log:
            log.cursors()
        out.unlink()
    assert len(list(tmp_path.glob("*.kept*"))) == count


def test_a_parquet_log_waits_for_a_reader_of_its_spool(tmp_path):
    out = tmp_path / "log.parquet"
    with opened_log(out) as log:
        log.cursors()
        add(log, 0, 1)
        reader = Reader(out / ".spool" / "messages.sqlite")
        log.rotate()
        add(log, 2)
        assert not list(out.rglob("*.parquet"))
        reader.end()
        log.commit()
        assert len(list(out.rglob("*.parquet"))) == 1
        log.write(received(event(3)))
    assert logged(str(out)) == {("s", seq): 1 for seq in range(4)}
