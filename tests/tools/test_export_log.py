"""Exported tables, as pandas and DuckDB read them without options."""

import json
import sqlite3
import subprocess
import sys

import duckdb
import pandas
import pytest

from edge.cli import run_command_line
from edge.client import Gap
from edge.client.logs import opened_log, participant_edits
from edge.client.logs.erasing.sqlite import erase
from edge.client.logs.participant_edits import Edit
from edge.client.logs.sqlite_changes import open_log
from edge.client.tidy import BOOLEANS, COLUMNS, EVENT_COLUMNS, INTEGERS, TEXTS
from edge.errors import ConfigError, LogFileError
from edge.tools import export_log
from edge.tools.export_log import run_export
from tests.support.logs import csv_rows, received
from tests.support.rights import AS_PLAIN_USER
from tests.support.wire import event, face, frame, status

FIRST = (
    "device", "stream", "epoch", "seq", "unix_ns", "sensor_ns", "frame_index", "track",
    "participant",
)  # fmt: skip


def write(out, *messages):
    with opened_log(out) as log:
        log.cursors()
        for message in messages:
            log.write(message if hasattr(message, "part") else received(message))
    return out


SENT = [
    event(0),
    frame(1, face() | {"participant": "P07"}, face(5, classified=False, reasons=("dark",))),
    frame(2),
    received(frame(6, face()), Gap("s", 1, 3, 5, "trimmed")),
    event(7, "mark", {"text": 'pressure "2.8", ü'}),
    status(7),
    received(status(9), Gap("s", 1, 8, 9)),
]


@pytest.fixture
def log(tmp_path):
    return write(tmp_path / "log.sqlite", *SENT)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_one_row_a_face_a_frame(log, suffix):
    to = log.with_name(f"out.{suffix}")
    summary = run_export(log, to)
    assert summary.files == (to, log.with_name(f"out.events.{suffix}"))
    assert (summary.messages, summary.rows, summary.events) == (5, 4, 4)
    found = duckdb.sql(
        f"SELECT seq, track, participant, faces, quality_usable, label, valence FROM '{to}'"
    ).fetchall()
    assert found == [
        (1, 4, "P07", 2, True, "happy", 0.61),
        (1, 5, None, 2, False, None, None),
        (2, -1, None, 0, False, None, None),
        (6, 4, None, 1, True, "happy", 0.61),
    ]
    events = duckdb.sql(
        f"SELECT seq, event, detail, first_missing, last_missing FROM '{summary.files[1]}'"
    ).fetchall()
    assert [(row[0], row[1], *row[3:]) for row in events] == [
        (0, "epoch_started", -1, -1),
        (3, "gap", 3, 5),
        (7, "mark", -1, -1),
        (8, "gap", 8, 9),
    ]
    assert json.loads(events[1][2]) == {"reason": "trimmed"}
    assert json.loads(events[2][2]) == {"text": 'pressure "2.8", ü'}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_pandas_and_duckdb_find_the_types(log, suffix):
    run_export(log, to := log.with_name(f"out.{suffix}"))
    for path, columns in ((to, COLUMNS), (log.with_name(f"out.events.{suffix}"), EVENT_COLUMNS)):
        table = pandas.read_csv(path) if suffix == "csv" else pandas.read_parquet(path)
        assert tuple(table.columns) == columns
        described = duckdb.sql(f"DESCRIBE SELECT * FROM '{path}'").fetchall()
        assert tuple(row[0] for row in described) == columns
        kinds = {row[0]: row[1] for row in described}
        for column in columns:
            if column in INTEGERS:
                assert (table[column].dtype.kind, kinds[column]) == ("i", "BIGINT"), column
            elif column in BOOLEANS:
                assert (table[column].dtype.kind, kinds[column]) == ("b", "BOOLEAN"), column
            elif column not in TEXTS and not table[column].isna().all():
                assert (table[column].dtype.kind, kinds[column]) == ("f", "DOUBLE"), column
    assert COLUMNS[: len(FIRST)] == FIRST


def test_jsonl_has_the_messages_as_received_in_order(log):
    to = log.with_name("out.jsonl")
    run_export(log, to)
    bodies = [received(each).body if not hasattr(each, "body") else each.body for each in SENT]
    numbered = [body for body in bodies if json.loads(body)["kind"] != "status"]
    assert to.read_bytes() == b"".join(body + b"\n" for body in numbered)


SESSION = {"session": "5e55", "name": "pilot-1"}


def test_a_session_is_exported_by_its_name_or_id(tmp_path):
    log = write(
        tmp_path / "log.sqlite",
        frame(0),
        event(1, "session_began", SESSION),
        frame(2, face()),
        frame(3, stream="other"),
        event(0, "epoch_started", epoch=2),
        event(1, "session_ended", SESSION, epoch=2),
        frame(2, epoch=2),
        event(3, "session_began", {"session": "9", "name": "pilot-2"}, epoch=2),
        frame(4, epoch=2),
    )
    to = tmp_path / "out.jsonl"

    def exported(session):
        run_export(log, to, session=session)
        lines = map(json.loads, to.read_text().splitlines())
        return [(line["stream"], line["epoch"], line["seq"]) for line in lines]

    pilot_1 = [("s", 1, 1), ("s", 1, 2), ("s", 2, 0), ("s", 2, 1)]
    assert exported("pilot-1") == exported("5e55") == pilot_1
    assert exported("pilot-2") == [("s", 2, 3), ("s", 2, 4)]
    with pytest.raises(ConfigError, match="expected a session of this log: pilot-1, pilot-2"):
        run_export(log, to, session="pilot")


@pytest.mark.parametrize(
    ("sent", "exported"),
    [
        ([frame(0), event(1, "session_ended", SESSION), frame(2)], [0, 1]),
        ([event(0), event(1, "session_resumed", SESSION), frame(2)], [0, 1, 2]),
    ],
)
def test_a_session_that_began_in_an_earlier_file_of_a_rotated_log(tmp_path, sent, exported):
    log, to = write(tmp_path / "log.sqlite", *sent), tmp_path / "out.jsonl"
    run_export(log, to, session="pilot-1")
    assert [json.loads(line)["seq"] for line in to.read_text().splitlines()] == exported


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_participants_that_were_assigned_afterwards_are_exported(log, suffix):
    with open_log(log) as database:
        participant_edits.add(database, Edit("P08", track=("s", 1, 5)))
        participant_edits.add(database, Edit("P09", was="P07"))
    run_export(log, to := log.with_name(f"out.{suffix}"))
    found = duckdb.sql(f"SELECT seq, track, participant FROM '{to}'").fetchall()
    assert found == [(1, 4, "P09"), (1, 5, "P08"), (2, -1, None), (6, 4, None)]


def test_erased_messages_are_a_gap(tmp_path):
    log = write(
        tmp_path / "log.sqlite",
        event(0),
        event(1, "session_began", SESSION | {"note": ""}),
        frame(2, face()),
        event(3, "session_ended", SESSION | {"note": ""}),
        frame(4),
    )
    assert erase(log, "pilot-1", print).hits == 0
    run_export(log, tmp_path / "out.csv")
    events = csv_rows(tmp_path / "out.events.csv")
    assert [(row["event"], row["first_missing"], row["last_missing"]) for row in events] == [
        ("epoch_started", "-1", "-1"), ("gap", "1", "3"),
    ]  # fmt: skip
    assert json.loads(events[1]["detail"]) == {"reason": "erased"}
    assert [row["seq"] for row in csv_rows(tmp_path / "out.csv")] == ["4"]


def test_a_log_can_be_exported_while_it_is_written(log):
    with opened_log(log) as opened:
        opened.cursors()
        opened.write(received(frame(10)))
        opened.commit()
        to = log.with_name("out.csv")
        assert run_export(log, to).messages == 6


def test_progress_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(export_log, "_REPORT_MS", 0.0)
    log = write(tmp_path / "log.sqlite", *(frame(seq) for seq in range(2500)))
    lines = []
    run_export(log, tmp_path / "out.csv", report=lines.append)
    assert [line.partition(" messages (")[0] for line in lines] == ["1000 of 2500", "2000 of 2500"]


@pytest.mark.parametrize(
    ("file", "to", "expected"),
    [
        (("log.sqlite", None), "out.xlsx", "expected a name that ends in .parquet, .csv or .jsonl"),
        (("log.sqlite", None), "nowhere/out.csv", "expected a folder that exists"),
        (("missing.sqlite", None), "out.csv", "No such file or directory"),
        (("log.csv", b"a,b\n1,2\n"), "out.csv", "expected a SQLite log"),
        (("cut.sqlite", b"SQLite format 3\0" + b"x" * 99), "out.csv", "log"),
        (("empty.sqlite", b""), "out.csv", "expected a SQLite log"),
    ],
)
def test_wrong_input_is_refused_in_one_line(log, capsys, file, to, expected):
    name, content = file
    path = log.with_name(name)
    if content is not None:
        path.write_bytes(content)
    before = sorted(log.parent.iterdir())
    assert run_command_line(["export-log", str(path), "--to", str(log.parent / to)]) == 78
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line
    assert sorted(log.parent.iterdir()) == before


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_two_exports_into_one_file_do_not_mix(tmp_path, monkeypatch, suffix):
    """Both wrote into one new file, and the second to end found none."""
    monkeypatch.setattr(export_log, "_REPORT_MS", 0.0)
    log = write(tmp_path / "log.sqlite", *(frame(seq) for seq in range(1500)))
    alone, shared = tmp_path / f"alone.{suffix}", tmp_path / f"shared.{suffix}"
    run_export(log, alone)
    run_export(log, shared, report=lambda _line: run_export(log, shared) and None)
    assert shared.read_bytes() == alone.read_bytes()


def test_a_folder_that_cannot_be_written_is_refused(log):
    """It was a log that "was committed", of a logger that does not run."""
    (folder := log.parent / "folder").mkdir(mode=0o500)
    command = [*AS_PLAIN_USER, sys.executable, "-m", "edge", "export-log", str(log)]
    done = subprocess.run(
        [*command, "--to", folder / "out.csv"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 78
    (line,) = done.stderr.splitlines()
    assert f"this user may not write in {folder}" in line


def test_another_programs_database_is_refused(tmp_path):
    path = tmp_path / "other.sqlite"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE messages (a)")
    database.close()
    with pytest.raises(ConfigError, match="of another program"):
        run_export(path, tmp_path / "out.csv")


def test_a_damaged_message_ends_the_export_and_leaves_no_file(log):
    database = sqlite3.connect(log)
    database.execute("UPDATE messages SET body = '{' WHERE seq = 2")
    database.commit()
    database.close()
    with pytest.raises(LogFileError, match="message 2 of stream s, epoch 1: is damaged"):
        run_export(log, log.with_name("out.csv"))
    assert not list(log.parent.glob("*out*"))


def test_the_command_says_what_it_made(log, capsys):
    to = log.with_name("out.csv")
    assert run_command_line(["export-log", str(log), "--to", str(to)]) == 0
    assert capsys.readouterr().err == (
        f"affect-edge: 5 messages: 4 rows and 4 of events in {to} and"
        f" {log.with_name('out.events.csv')}\n"
    )
