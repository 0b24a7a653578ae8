"""Participants that are assigned in a log afterwards: rename, merge, undo; the messages stay."""

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cli import run_command_line
from edge.client.logs.participant_edits import Edit, ParticipantEdits
from tests.support import wire
from tests.support.sqlite_logs import write_log

CODES = st.sampled_from(["A", "B", "C", "D"])
TRACKS = st.tuples(st.just("s"), st.integers(1, 2), st.integers(1, 3))
EDITS = st.lists(
    st.one_of(
        st.builds(lambda track, code: Edit(code, track=track), TRACKS, CODES),
        st.builds(lambda was, code: Edit(code, was=was), CODES, CODES),
    ),
    max_size=12,
)


def one_by_one(edits, track, received):
    """Return the code of a face after each edit in turn."""
    code = received
    for edit in edits:
        if edit.track == track or (edit.was is not None and edit.was == code):
            code = edit.participant
    return code


@given(EDITS, TRACKS, st.one_of(CODES, st.none()))
def test_the_result_equals_the_edits_one_by_one(edits, track, received):
    result = ParticipantEdits.of(edits)
    assert result.participant(*track, received) == one_by_one(edits, track, received)


def face(track, code):
    return {**wire.face(track), "participant": code}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return a log with P07 on track 1, nobody on track 2, and P08 on track 1 of epoch 2."""
    path = tmp_path / "log.sqlite"
    write_log(
        path,
        [
            *(wire.frame(seq, face(1, "P07"), face(2, None)) for seq in range(3)),
            *(wire.frame(seq, face(1, "P08"), face(3, None), epoch=2) for seq in range(2)),
            wire.frame(2, epoch=2),
        ],
    )
    return path


def codes(path, view="faces"):
    with sqlite3.connect(path) as connection:
        rows = connection.execute(
            f"SELECT DISTINCT epoch, track, participant FROM {view} WHERE track >= 0 ORDER BY 1, 2"
        ).fetchall()
    connection.close()
    return rows


def bodies(path):
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT * FROM messages").fetchall()
    connection.close()
    return rows


RECEIVED = [(1, 1, "P07"), (1, 2, None), (2, 1, "P08"), (2, 3, None)]


def test_rename_merge_and_undo_change_the_view_and_no_message(log, capsys):
    before = bodies(log)

    def participant(*arguments):
        assert run_command_line(["participant", *arguments, "--log", str(log)]) == 0
        return capsys.readouterr().out

    participant("assign", "2", "P09")
    assert codes(log) == [RECEIVED[0], (1, 2, "P09"), *RECEIVED[2:]]
    assert "merged" not in participant("assign", "P09", "P10")
    assert codes(log)[1] == (1, 2, "P10")
    assert "merged" in participant("assign", "P10", "P07")
    assert codes(log)[1] == (1, 2, "P07")
    participant("assign", "1", "P02", "--epoch", "2")
    assert codes(log) == [(1, 1, "P07"), (1, 2, "P07"), (2, 1, "P02"), (2, 3, None)]
    listed = participant("list")
    assert "P07  6 faces, 2 tracks" in listed
    assert "assigned afterwards: track 1 of epoch 2 is P02" in listed
    with sqlite3.connect(log) as connection:
        edits = ParticipantEdits.load(connection)
    connection.close()
    assert [edits.participant("s", *row) for row in codes(log, "faces_received")] == [
        code for _, _, code in codes(log)
    ]
    for expected in ((2, 1, "P08"), (1, 2, "P10"), (1, 2, "P09"), (1, 2, None)):
        participant("undo")
        assert expected in codes(log)
    assert codes(log) == codes(log, "faces_received") == RECEIVED
    assert bodies(log) == before
    assert run_command_line(["participant", "undo", "--log", str(log)]) == 78
    assert "nothing to undo" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["assign", "9", "P01"], "no track 9 in"),
        (["assign", "1", "P01"], "is in 2 epochs of"),
        (["assign", "1", "P01", "--epoch", "7"], "no track 1 in"),
        (["assign", "P99", "P01"], "no participant P99 in"),
        (["assign", "P07", "P07"], "expected two codes"),
        (["assign", "2", "7"], "'7': expected a letter, then letters"),
        (["assign", "2 ", "P01"], "'2 ': expected a letter, then letters"),
    ],
)
def test_a_wrong_edit_is_refused_in_one_line(log, capsys, arguments, text):
    assert run_command_line(["participant", *arguments, "--log", str(log)]) == 78
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
    assert codes(log) == RECEIVED


@pytest.mark.parametrize("content", [None, b"", b"no database", b"SQLite format 3\0" + bytes(99)])
def test_a_file_that_is_no_log_is_refused_in_one_line(tmp_path, capsys, content):
    path = tmp_path / "other.sqlite"
    if content is not None:
        path.write_bytes(content)
    assert run_command_line(["participant", "assign", "1", "P01", "--log", str(path)]) == 78
    error = capsys.readouterr().err
    assert "expected a log (.sqlite) that affect-edge log wrote" in error
    assert error.count("\n") == 1
    assert (path.read_bytes() if path.exists() else None) == content


def test_a_log_in_use_is_not_changed(log, capsys, monkeypatch):
    monkeypatch.setattr("edge.client.logs.sqlite_changes.BUSY_S", 0.1)
    with sqlite3.connect(log, isolation_level=None) as logger:
        logger.execute("BEGIN IMMEDIATE")
        assert run_command_line(["participant", "assign", "2", "P01", "--log", str(log)]) == 1
        assert "stop the logger, which writes to it, and try again" in capsys.readouterr().err
        logger.execute("ROLLBACK")
    logger.close()
    assert codes(log) == RECEIVED
