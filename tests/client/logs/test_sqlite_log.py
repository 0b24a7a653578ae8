"""SQLite logs: views, statuses, cursors, files that are moved, and other programs' databases."""

import sqlite3
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.client import Cursor, Gap
from edge.client.logs import opened_log
from edge.client.logs.sqlite_schema import VERSION
from edge.client.tidy import COLUMNS, EVENT_COLUMNS, event_row, frame_rows
from edge.errors import ConfigError, LogFileError, LogUnavailable
from edge.protocol.messages import FrameMessage, StatusMessage
from tests.support.logs import received
from tests.support.wire import MESH, event, face, frame, status


def write(out, *messages, reports=None):
    with opened_log(out, (reports if reports is not None else []).append) as log:
        cursors = log.cursors()
        for message in messages:
            log.write(message if hasattr(message, "part") else received(message))
            log.commit()
    return cursors


def rows(path, query):
    database = sqlite3.connect(path)
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()


def keys(path):
    return rows(path, "SELECT stream, epoch, seq FROM messages ORDER BY rowid")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "log.sqlite"


def test_messages_are_stored_as_received(out):
    sent = [received(event(0)), received(frame(1, face()))]
    write(out, *sent)
    assert rows(out, "SELECT kind, device, unix_ns, body FROM messages ORDER BY seq") == [
        ("event", "edge", 1_700_000_000_123_456_789, sent[0].body.decode()),
        ("frame", "edge", 1_700_000_000_123_456_789, sent[1].body.decode()),
    ]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_a_name_without_a_suffix_is_a_sqlite_log(tmp_path):
    write(tmp_path / "log", frame(1))
    assert keys(tmp_path / "log.sqlite") == [("s", 1, 1)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(0, 2**40), st.booleans(), st.none() | st.just("P07")), max_size=3
    ),
    st.none() | st.integers(1, 9),
)
def test_the_views_have_the_columns_and_values_of_the_tables(tmp_path, faces, page):
    out = tmp_path / "log.sqlite"
    for path in tmp_path.glob("log.sqlite*"):
        path.unlink()
    made = frame(
        3,
        *(
            face(track, classified=known, reasons=() if known else ("dark", "blurred"))
            | {"participant": code, "mesh": MESH if known else None}
            for track, known, code in faces
        ),
    )
    data = made.model_dump(mode="json", by_alias=True)
    data["frame"] |= {"page": page}
    message = FrameMessage.model_validate(data)
    mark = event(4, "mark", {"text": 'a "b",\nc ü', "n": 1.5})
    write(out, message, mark)
    database = sqlite3.connect(out)
    cursor = database.execute("SELECT * FROM faces")
    assert tuple(column[0] for column in cursor.description) == COLUMNS
    found = [[None if cell == "" else cell for cell in row] for row in cursor]
    expected = [[None if cell == "" else cell for cell in row] for row in frame_rows(message, 0.0)]
    assert found == expected
    cursor = database.execute("SELECT * FROM events")
    assert tuple(column[0] for column in cursor.description) == EVENT_COLUMNS
    (row,) = cursor.fetchall()
    assert list(row)[:4] == event_row(mark, 0.0)[:4]
    assert list(row)[7:] == event_row(mark, 0.0)[7:]
    (frame_row,) = database.execute("SELECT seq, faces, page FROM frames").fetchall()
    assert frame_row == (3, len(faces), page or -1)
    database.close()


def test_a_repeat_is_stored_once_and_cursors_and_gaps_are_kept(out):
    write(out, event(0), frame(1), received(frame(5), Gap("s", 1, 2, 4)), frame(5))
    write(out, frame(1, stream="t", device="other"))
    assert keys(out) == [("s", 1, 0), ("s", 1, 1), ("s", 1, 5), ("t", 1, 1)]
    assert rows(out, "SELECT stream, epoch, first_missing, last_missing, device FROM gaps") == [
        ("s", 1, 2, 4, "edge")
    ]
    with opened_log(out) as log:
        assert sorted(log.cursors()) == [Cursor("s", 1, 5), Cursor("t", 1, 1)]


def test_a_gap_at_the_end_moves_the_cursor_and_a_status_does_not(out):
    write(out, frame(1), received(status(9)), received(status(12), Gap("s", 1, 2, 12)))
    with opened_log(out) as log:
        assert log.cursors() == [Cursor("s", 1, 12)]


def test_the_newest_status_of_each_minute_is_kept(out):
    def at(seconds, last_seq):
        data = status(last_seq).model_dump(mode="json", by_alias=True)
        data["time"]["monotonic_ns"] = seconds * 10**9
        return StatusMessage.model_validate(data)

    write(out, at(1, 1), at(59, 2), at(61, 3), at(62, 4))
    query = "SELECT json_extract(body, '$.last_seq') FROM statuses ORDER BY minute"
    assert rows(out, query) == [(2,), (4,)]


def test_it_can_be_read_while_it_is_written(out):
    with opened_log(out) as log:
        log.cursors()
        log.write(received(frame(1)))
        assert keys(out) == []
        log.commit()
        assert keys(out) == [("s", 1, 1)]


def test_another_programs_lock_makes_the_commit_wait(out, monkeypatch):
    monkeypatch.setattr("edge.client.logs.sqlite_database.BUSY_S", 0.0)
    with opened_log(out) as log:
        log.cursors()
        other = sqlite3.connect(out, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        log.write(received(frame(1)))
        with pytest.raises(LogUnavailable, match="another program writes to it"):
            log.commit()
        other.execute("ROLLBACK")
        log.commit()
        assert keys(out) == [("s", 1, 1)]
        other.close()


def test_a_second_logger_is_refused(out):
    with (
        opened_log(out),
        pytest.raises(ConfigError, match="another process writes to it"),
        opened_log(out),
    ):
        pass


@pytest.mark.parametrize(
    "content", [b"dear diary\n", b"x" * 5000, b"SQLite format 3\0" + b"x" * 99]
)
def test_another_file_is_refused_and_left_unchanged(out, content):
    out.write_bytes(content)
    with pytest.raises(ConfigError) as error, opened_log(out):
        pass
    assert "\n" not in str(error.value)
    assert str(out) in str(error.value)
    assert out.read_bytes() == content


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("PRAGMA application_id = 5", "of another program"),
        (f"PRAGMA user_version = {VERSION + 1}", "the tables of another version"),
    ],
)
def test_another_database_is_refused(out, statement, expected):
    write(out, frame(1))
    database = sqlite3.connect(out)
    database.execute(statement)
    database.close()
    with pytest.raises(ConfigError, match=expected), opened_log(out):
        pass


# -- files that change under the logger ------------------------------------------------------------


def test_after_a_move_the_log_goes_on_in_a_new_file_with_the_cursors(out):
    reports = []
    with opened_log(out, reports.append) as log:
        log.cursors()
        log.write(received(frame(1)))
        log.commit()
        moved = out.rename(out.with_name("moved.sqlite"))
        log.write(received(frame(2)))
    assert (keys(moved), keys(out)) == ([("s", 1, 1)], [("s", 1, 2)])
    assert reports == [f"{out}: was moved while it was written; it goes on in a new file"]
    assert rows(moved, "PRAGMA integrity_check") == [("ok",)]
    with opened_log(out) as log:
        assert log.cursors() == [Cursor("s", 1, 2)]


def test_a_file_that_is_moved_while_somebody_reads_it_keeps_its_newest_messages(out, monkeypatch):
    """A reader's snapshot keeps the write-ahead log from being written into the file."""
    monkeypatch.setattr("edge.client.logs.sqlite_database.BUSY_S", 0.0)
    with opened_log(out) as log:
        log.cursors()
        log.write(received(frame(1)))
        log.commit()
        reader = sqlite3.connect(out, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM messages").fetchall()
        log.write(received(frame(2)))
        log.commit()
        moved = out.rename(out.with_name("moved.sqlite"))
        log.write(received(frame(3)))
        log.commit()
        reader.close()
    kept = out.with_name("log.sqlite-wal.kept")
    if kept.exists():
        kept.rename(out.with_name("moved.sqlite-wal"))
    assert keys(moved) == [("s", 1, 1), ("s", 1, 2)]
    assert keys(out) == [("s", 1, 3)]


def test_after_a_move_between_two_runs_the_cursors_are_kept(out):
    write(out, frame(1), frame(2))
    out.rename(out.with_name("moved.sqlite"))
    assert write(out, frame(3)) == [Cursor("s", 1, 2)]
    assert keys(out) == [("s", 1, 3)]


def test_a_deletion_is_counted(out):
    reports = []
    with opened_log(out, reports.append) as log:
        log.cursors()
        log.write(received(frame(1)))
        log.commit()
        out.unlink()
        log.commit()
        assert log.deleted_rows == 1
        log.write(received(frame(2)))
    assert keys(out) == [("s", 1, 2)]
    assert "was deleted with 1 rows of this run" in reports[0]


def test_after_copytruncate_the_log_goes_on(out):
    reports = []
    with opened_log(out, reports.append) as log:
        log.cursors()
        log.write(received(frame(1)))
        log.commit()
        with out.open("r+b") as file:
            file.truncate(0)
        log.write(received(frame(2)))
        log.commit()
        log.write(received(frame(3)))
    assert keys(out) == [("s", 1, 2), ("s", 1, 3)]
    assert rows(out, "PRAGMA integrity_check") == [("ok",)]
    assert "was emptied (rotate with SIGHUP or --rotate, not with copytruncate)" in reports[0]


def test_the_newest_messages_of_a_file_moved_after_a_kill_are_kept(out):
    """SQLite deletes a write-ahead log that it finds next to an empty file."""
    reports = []
    wal = out.with_name("log.sqlite-wal")
    wal.write_bytes(b"the newest messages")
    write(out, frame(1), reports=reports)
    assert out.with_name("log.sqlite-wal.kept").read_bytes() == b"the newest messages"
    assert "put it next to the moved file" in reports[0]


def test_a_folder_that_is_gone_ends_the_log(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()

    def write_and_remove():
        with opened_log(folder / "log.sqlite") as log:
            log.cursors()
            folder.rename(tmp_path / "elsewhere")
            log.write(received(frame(1)))

    with pytest.raises(LogFileError, match="No such file or directory"):
        write_and_remove()


@pytest.mark.parametrize("open_again", [True, False])
def test_a_damaged_database_is_set_aside_and_the_log_goes_on(out, open_again):
    """A page of the file was overwritten, as by a failing card."""
    reports = []
    write(out, *(frame(seq, face()) for seq in range(300)))
    content = bytearray(out.read_bytes())
    with opened_log(out, reports.append) as log:
        log.cursors()
        if not open_again:
            damage(out, content, first_page=1)
            log.write(received(frame(300)))
            log.commit()
    if open_again:
        damage(out, content, first_page=0)
        assert write(out, frame(300), reports=reports) == [Cursor("s", 1, 299)]
    damaged = out.with_name("log.damaged.sqlite")
    assert damaged.stat().st_size == len(content)
    assert "is damaged" in reports[0]
    assert "renamed to log.damaged.sqlite, a new log is started" in reports[0]
    assert keys(out) == [("s", 1, 300)]


def damage(out, content, first_page):
    """Overwrite all pages, of the first one only what lies behind the file header."""
    page = 8192
    with out.open("r+b") as file:
        for at in range(first_page * page, len(content), page):
            file.seek(at + (100 if at == 0 else 0))
            file.write(b"\xa5" * (page - 100))


def test_the_streams_that_are_remembered_are_limited(out):
    write(out, *(frame(0, stream=f"s{number:03}") for number in range(300)))
    with opened_log(out) as log:
        cursors = log.cursors()
    assert [cursor.stream for cursor in cursors] == [f"s{number:03}" for number in range(44, 300)]
    assert rows(out, "SELECT count(*) FROM cursors") == [(256,)]
