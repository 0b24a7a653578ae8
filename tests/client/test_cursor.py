"""Cursors are kept in the database of the caller, in its transactions."""

import sqlite3

import pytest

from edge.client import Cursor, CursorTable, GapDetector


@pytest.fixture
def database(tmp_path):
    database = sqlite3.connect(tmp_path / "mine.sqlite")
    yield database
    database.close()


def test_cursors_are_replaced_and_the_newest_come_last(database):
    table = CursorTable(database)
    assert table.load() == []
    table.save([Cursor("a", 1, 5), Cursor("b", 1, 7)])
    table.save([Cursor("a", 2, -1)])
    assert CursorTable(database).load() == [Cursor("b", 1, 7), Cursor("a", 2, -1)]


def test_cursors_are_saved_with_the_data_or_not_at_all(database):
    table = CursorTable(database)
    with database:
        table.save([Cursor("a", 1, 5)])
    table.save([Cursor("a", 1, 6)])
    database.rollback()
    assert table.load() == [Cursor("a", 1, 5)]


def test_the_streams_received_last_are_those_that_are_kept(database):
    detector = GapDetector()
    for number in range(300):
        detector.message(f"stream-{number}", 1, 0)
    table = CursorTable(database)
    table.save([Cursor("stream-0", 1, 0)])
    table.save(detector.cursors)
    assert GapDetector(table.load()).cursors == detector.cursors
