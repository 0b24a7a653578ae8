"""A session is erased from a log, to the last byte, and nothing else is."""

import sqlite3
from pathlib import Path

import pytest

from edge.cli import run_command_line
from edge.client.logs import participant_edits
from edge.client.logs.erasing import erase_session
from edge.client.logs.erasing.remains import count_in_files
from tests.support.erasable import event, frame, record
from tests.support.sqlite_logs import write_log


def messages():
    """Return the record without statuses and without a gap."""
    return [each for each in record() if each.kind != "status"][:-1]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.sqlite"
    write_log(path, messages())
    with sqlite3.connect(path) as connection:
        for minute, session in enumerate(("0a1b2c3d4e5f", "ffffffffffff")):
            body = f'{{"session":{{"session":"{session}"}}}}'
            connection.execute(
                "INSERT INTO statuses VALUES ('s', 1, ?, 'edge', 0, ?)", [minute, body]
            )
    connection.close()
    return path


def rows(path: Path, statement: str) -> list[tuple]:
    with sqlite3.connect(path) as connection:
        found = connection.execute(statement).fetchall()
    connection.close()
    return found


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


@pytest.mark.parametrize("word", ["morning", "0a1b2c3d4e5f"])
def test_a_session_is_erased_with_its_codes_and_nothing_else(log, capsys, word):
    run_command_line(["participant", "assign", "P07", "P17", "--log", str(log)])
    assert b'"morning"' in everything(log.parent)
    assert run_command_line(["erase", "--session", word, "--log", str(log)]) == 0
    output = capsys.readouterr().out
    assert "and the codes P07: 301 messages, 3 of them outside of the session" in output
    assert "0 hits of 66 texts" in output
    left = rows(log, "SELECT epoch, seq FROM messages ORDER BY 1, 2")
    assert left == [(1, 0), (2, 0), *((2, seq) for seq in range(103, 201))]
    gaps = "SELECT epoch, first_missing, last_missing, reason FROM gaps ORDER BY 1, 2"
    assert rows(log, gaps) == [(1, 1, 199, "erased"), (2, 1, 102, "erased")]
    assert rows(log, "SELECT minute FROM statuses") == [(1,)]
    assert rows(log, "PRAGMA freelist_count") == [(0,)]
    bytes_left = everything(log.parent)
    for text in ("morning", "P07", "P17", "mask", "0a1b2c3d4e5f", '"epoch":1,"seq":57,'):
        assert text.encode() not in bytes_left, text
    assert b"evening" in bytes_left


def test_the_proof_finds_what_is_left(log):
    assert count_in_files([log], [b'"morning"']) > 0
    assert count_in_files([log.with_name("none")], [b"x"]) == 0


def test_a_session_that_is_not_in_the_log_is_refused(log, capsys):
    before = everything(log.parent)
    assert run_command_line(["erase", "--session", "noon", "--log", str(log)]) == 78
    assert "--session noon: not in" in (error := capsys.readouterr().err)
    assert "sessions: morning, evening" in error
    assert rows(log, "SELECT count(*) FROM messages") == [(len(messages()),)]
    assert before[:16] == everything(log.parent)[:16]


@pytest.mark.parametrize("part", ["begin", "end"])
def test_a_part_of_a_session_is_erased_in_each_file_of_a_rotated_log(tmp_path, part):
    path = tmp_path / "part.sqlite"
    whole = messages()
    cut = next(index for index, each in enumerate(whole) if each.epoch == 2) + 50
    write_log(path, whole[:cut] if part == "begin" else whole[cut:])
    erase_session(str(path), "morning", print)
    left = rows(path, "SELECT epoch, seq FROM messages ORDER BY 1, 2")
    # the end has no epoch_started: P07 may be configured, and is kept outside of the session
    of_end = [(2, seq) for seq in range(101, 201)]
    assert left == ([(1, 0), (2, 0)] if part == "begin" else of_end)


@pytest.mark.parametrize(("before", "after"), [("a", "b"), ("b", "a")])
def test_a_session_that_went_on_in_a_new_stream_is_erased_in_both(tmp_path, before, after):
    """As after a damaged journal: there the epochs begin anew."""
    path = tmp_path / "log.sqlite"
    sent = [each.model_copy(update={"stream": before}) for each in messages()[:200]]
    session = {"session": "0a1b2c3d4e5f", "name": "morning"}
    ended = {"frames": 1, "restarts": 1, "seats": {}, "participants": ["P07", "P08"]}
    sent += [
        each.model_copy(update={"stream": after})
        for each in (
            event(0, "epoch_started"),
            event(1, "session_resumed", **session, restarts=1),
            frame(2, "P07"),
            event(3, "session_ended", **session, **ended),
            frame(4),
        )
    ]
    write_log(path, sent)
    assert erase_session(str(path), "morning", print).hits == 0
    left = rows(path, "SELECT stream, seq FROM messages ORDER BY stream, seq")
    assert left == sorted([(before, 0), (after, 0), (after, 4)])


def test_codes_of_the_configuration_stay(tmp_path):
    path = tmp_path / "log.sqlite"
    write_log(path, [event(0, "epoch_started", seats={"left": "P07"}), *messages()[1:]])
    assert erase_session(str(path), "morning", print).codes == ()
    left = rows(path, "SELECT epoch, seq FROM messages ORDER BY 1, 2 LIMIT 4")
    assert left == [(1, 0), (1, 1), (2, 0), (2, 101)]


def test_a_log_that_a_logger_holds_is_left_as_it_is(log, capsys, monkeypatch):
    monkeypatch.setattr("edge.client.logs.sqlite_changes.BUSY_S", 0.1)
    with sqlite3.connect(log, isolation_level=None) as logger:
        logger.execute("BEGIN IMMEDIATE")
        assert run_command_line(["erase", "--session", "morning", "--log", str(log)]) == 1
        assert "stop the logger" in capsys.readouterr().err
        logger.execute("ROLLBACK")
    logger.close()
    assert rows(log, "SELECT count(*) FROM messages") == [(len(messages()),)]


def test_codes_that_were_assigned_afterwards_go_with_their_tracks(tmp_path):
    """Track 1 is in the session alone, track 1 of epoch 3 is not."""
    path = tmp_path / "log.sqlite"
    session = {"session": "0a1b2c3d4e5f", "name": "morning"}
    ended = {"frames": 1, "restarts": 0, "seats": {}, "participants": []}
    write_log(
        path,
        [
            event(0, "epoch_started"),
            event(1, "session_began", **session, note=""),
            frame(2, None, None),
            event(3, "session_ended", **session, **ended),
            event(0, "epoch_started", epoch=300),
            frame(1, None, epoch=300),
        ],
    )
    for words in (
        ["1", "PX61", "--epoch", "1"],
        ["2", "PX62", "--epoch", "1"],
        ["1", "PX63", "--epoch", "300"],
        ["PX61", "PX64"],
        ["PX63", "PX65"],
        ["PX64", "PX61"],
    ):
        command = ["participant", "assign", *words, "--log", str(path)]
        assert run_command_line(command) == 0
    assert run_command_line(["participant", "undo", "--log", str(path)]) == 0
    before = everything(tmp_path)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM messages WHERE epoch = 1 AND seq > 0")
        looked_for = participant_edits.forget(connection, [])
        connection.rollback()
    connection.close()
    assert len(looked_for) == 6
    found = [text for text in looked_for if text in before]
    assert len(found) == 5, "all but the result of an edit that was undone"
    erased = erase_session(str(path), "morning", print)
    assert erased.hits == 0
    assert erased.looked_for == 1 + 3 + 6
    left = everything(tmp_path)
    for code in (b"PX61", b"PX62", b"PX64"):
        assert code not in left, code
    edits = "SELECT epoch, track, was, participant FROM participant_edit ORDER BY id"
    assert rows(path, edits) == [(300, 1, None, "PX63"), (None, None, "PX63", "PX65")]
    assert rows(path, "SELECT participant FROM faces") == [("PX65",)]
