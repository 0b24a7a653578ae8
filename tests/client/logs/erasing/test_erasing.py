"""A session is erased from a log of each format, rotated files included, and nothing else is."""

import errno
import os
import re
import resource
import sqlite3
from pathlib import Path

import pytest

from edge.cli import run_command_line
from edge.client.logs import opened_log
from edge.client.logs.erasing import erase_session
from edge.client.logs.parquet_log import ParquetLog
from edge.errors import LogFileError
from tests.support.erasable import (
    GAPS,
    LEFT,
    SESSION,
    contents,
    event,
    frame,
    gaps_in,
    messages_in,
    record,
    write_record,
)
from tests.support.logs import received

FILES = ["log.sqlite", "log.csv", "log.jsonl", "log.parquet"]
ALL = [*FILES, "postgresql"]
EVERYTHING = sorted(
    {(each.stream, each.epoch, each.seq) for each in record() if each.kind != "status"}
)


@pytest.fixture
def out(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the address of a log of each format, with the record in it."""
    if request.param == "postgresql":
        address = request.getfixturevalue("database").url
    else:
        address = str(tmp_path / request.param)
    write_record(address, record())
    return str(address)


def everything(out: str) -> bytes:
    return b"".join(each.read_bytes() for each in Path(out).parent.rglob("*") if each.is_file())


@pytest.mark.parametrize("out", ALL, indirect=True)
@pytest.mark.parametrize("word", ["morning", SESSION])
def test_a_session_is_erased_with_its_codes_and_nothing_else(out, word, capsys):
    before = contents(out)
    assert run_command_line(["erase", "--session", word, "--log", out]) == 0
    output = capsys.readouterr().out
    assert "and the codes P07: 301 messages, 3 of them outside of the session" in output
    assert re.search(r"^0 hits of \d+ texts", output, re.MULTILINE)
    assert messages_in(out) == LEFT
    found = gaps_in(out)
    assert {
        (epoch, seq) for _, epoch, first, last, _ in found for seq in range(first, last + 1)
    } == {(epoch, seq) for _, epoch, first, last, _ in GAPS for seq in range(first, last + 1)}
    assert [gap[4] for gap in found].count("trimmed") == 1
    for name, rows in contents(out).items():
        if name in before:
            new = [row for row in rows if row not in before[name]]
            assert all("erased" in repr(row) for row in new) or name == "devices", name
    if "/" in out and not out.startswith("postgresql"):
        left = everything(out)
        for text in ("morning", "P07", "mask", '"epoch":1,"seq":57,', SESSION):
            assert text.encode() not in left, text


@pytest.mark.parametrize("out", ALL, indirect=True)
def test_the_logger_goes_on_where_it_stopped(out):
    with opened_log(out) as log:
        cursors = sorted(log.cursors())
    erase_session(out, "morning", print)
    with opened_log(out) as log:
        assert max(log.cursors()) == max(cursors)
        assert log.cut_bytes == 0
        log.write(received(frame(206, "P08", epoch=2)))
    assert messages_in(out) == [*LEFT, ("s", 2, 206)]


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl", "log.sqlite"])
def test_a_log_of_many_files_needs_few_open_ones(name, tmp_path):
    out = str(tmp_path / name)
    write_record(out, record())
    (rotated,) = (each for each in tmp_path.glob("log.*-*.*") if "events" not in each.name)
    for day in range(1, 29):
        (tmp_path / f"log.2020-01-{day:02}{rotated.suffix}").write_bytes(rotated.read_bytes())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 15, hard))
    try:
        assert erase_session(out, "morning", print).hits == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert messages_in(out) == LEFT


@pytest.mark.parametrize("out", FILES, indirect=True)
def test_a_log_without_its_progress_goes_on_behind_what_was_erased(out):
    """The gaps that were recorded say how far the log was."""
    for path in Path(out).parent.glob("*.cursors"):
        path.unlink()
    erase_session(out, "evening", print)
    with opened_log(out) as log:
        assert max((each.epoch, each.seq) for each in log.cursors()) == (2, 205)


@pytest.mark.parametrize("out", FILES, indirect=True)
def test_a_log_that_a_logger_holds_is_left_as_it_is(out, capsys):
    before = contents(out)
    with opened_log(out):
        assert run_command_line(["erase", "--session", "morning", "--log", out]) == 1
        error = capsys.readouterr().err
        assert "a logger writes to it; stop it, erase the session, and start it again" in error
    assert contents(out) == before


@pytest.mark.parametrize("out", ["log.csv", "log.jsonl", "log.parquet"], indirect=True)
def test_a_full_disk_leaves_all_rows_of_others_and_a_second_run_completes_it(
    out, capsys, monkeypatch
):
    """The first file is replaced; there is no space for the second one."""
    real, replaced = os.replace, 0

    def replace(source: Path, target: Path) -> None:
        nonlocal replaced
        if str(source).endswith(".erasing"):
            replaced += 1
            if replaced == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(source, target)

    with monkeypatch.context() as full:
        full.setattr(os, "replace", replace)
        assert run_command_line(["erase", "--session", "morning", "--log", out]) == 1
    error = capsys.readouterr().err
    assert "No space left on device; the session is erased in part: make room" in error
    assert set(LEFT) <= set(messages_in(out))
    assert not list(Path(out).parent.rglob(".*.erasing"))
    assert run_command_line(["erase", "--session", "morning", "--log", out]) == 0
    assert messages_in(out) == LEFT


def test_loggers_of_a_database_go_on_meanwhile(database):
    out = database.url
    write_record(out, record())
    with opened_log(out) as log:
        log.cursors()
        log.write(received(frame(206, "P08", epoch=2)))
        log.commit()
        log.write(received(frame(207, "P08", epoch=2)))
        erase_session(out, "morning", print)
    assert messages_in(out) == [*LEFT, ("s", 2, 206), ("s", 2, 207)]


@pytest.mark.parametrize("out", ALL, indirect=True)
def test_a_session_that_is_not_in_the_log_is_refused(out, capsys):
    before = contents(out)
    assert run_command_line(["erase", "--session", "noon", "--log", out]) == 78
    error = capsys.readouterr().err
    assert "--session noon: not in" in error
    assert "sessions: morning, evening" in error
    assert messages_in(out) == EVERYTHING
    if not out.endswith(".parquet"):
        assert contents(out) == before


@pytest.mark.parametrize(
    "name",
    ["none.csv", "none.jsonl", "none.sqlite", "none.parquet", "none/", "none.txt", "no/a.csv"],
)
def test_a_log_that_is_not_there_is_refused_in_one_line(tmp_path, capsys, name):
    (tmp_path / "none.txt").write_text("x")
    command = ["erase", "--session", "noon", "--log", f"{tmp_path}/{name}"]
    assert run_command_line(command) == 78
    error = capsys.readouterr().err.splitlines()[1:]
    assert len(error) == 1
    assert "expected" in error[0]
    assert "mkdir" not in error[0]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["none.txt"]


@pytest.mark.parametrize("name", ["log.csv", "log.sqlite", "log.jsonl"])
def test_the_log_that_was_given_is_named_in_the_proof(tmp_path, name):
    out = tmp_path / name
    write_record(str(out), record())
    where = erase_session(str(out), "evening", print).where
    assert where.startswith(f"the bytes of {out} and of ")
    for each in (out, out.with_suffix(".events.csv")):
        each.unlink(missing_ok=True)
    where = erase_session(str(out), "morning", print).where
    assert where == f"the bytes of the rotated files of {out}"


def test_the_second_table_of_a_csv_log_is_refused(tmp_path, capsys):
    out = tmp_path / "log.csv"
    write_record(str(out), record())
    command = ["erase", "--session", "morning", "--log", str(out.with_suffix(".events.csv"))]
    assert run_command_line(command) == 78
    assert "expected its first one, such as log.csv" in capsys.readouterr().err
    assert messages_in(str(out)) == EVERYTHING


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_a_file_with_other_contents_is_refused(tmp_path, capsys, name):
    (tmp_path / name).write_text("a,b\n1,2\n")
    assert run_command_line(["erase", "--session", "noon", "--log", str(tmp_path / name)]) == 78
    assert "expected a log of affect-edge" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "a,b\n1,2\n"


def test_an_empty_database_is_refused_and_stays_empty(database, capsys):
    assert run_command_line(["erase", "--session", "noon", "--log", database.url]) == 78
    assert "has no log" in capsys.readouterr().err
    assert database.rows("SELECT to_regclass('affect.messages')") == [(None,)]


def test_only_the_owner_of_a_database_can_erase(database, postgres, capsys):
    write_record(database.url, record())
    other = postgres.new_database().name
    database.execute(f"GRANT USAGE ON SCHEMA affect TO {other}")
    database.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA affect TO {other}")
    database.execute(f"GRANT TEMPORARY, CONNECT ON DATABASE {database.name} TO {other}")
    url = database.url.replace(f"//{database.name}@", f"//{other}@")
    assert run_command_line(["erase", "--session", "morning", "--log", url]) == 78
    error = capsys.readouterr().err
    assert f"only the owner of the tables can erase and VACUUM; connect as {database.name}" in error


def test_rows_that_an_older_transaction_sees_are_not_called_erased(database, monkeypatch, capsys):
    write_record(database.url, record())
    monkeypatch.setattr("edge.client.logs.erasing.postgresql.VACUUM_MS", 300.0)
    command = ["erase", "--session", "morning", "--log", database.url]
    with database.server.connect(database.name) as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM affect.messages")
        assert run_command_line(command) == 1
        assert "an older transaction may still see them" in capsys.readouterr().err
        reader.execute("ROLLBACK")
    monkeypatch.undo()
    for name, value in database.environment.items():
        monkeypatch.setenv(name, value)
    assert run_command_line(command) == 0
    assert "was interrupted; it is completed" in capsys.readouterr().err
    assert messages_in(database.url) == LEFT
    assert database.rows("SELECT to_regclass('affect.erasing')") == [(None,)]


@pytest.mark.parametrize("name", ALL)
def test_a_code_that_is_a_word_of_messages_erases_no_other_message(name, tmp_path, request):
    out = request.getfixturevalue("database").url if name == "postgresql" else str(tmp_path / name)
    session = {"session": SESSION, "name": "neutral"}
    write_record(
        out,
        [
            event(0, "epoch_started"),
            event(1, "session_began", **session, note=""),
            frame(2, "happy", "edge"),
            event(3, "session_ended", **session, participants=["happy", "edge"]),
            *(frame(seq, "P01") for seq in range(4, 40)),
            event(40, "mark", text="happy"),
        ],
        rotate_at=20,
    )
    erased = erase_session(out, "neutral", print)
    assert (erased.codes, erased.messages, erased.outside) == (("edge", "happy"), 4, 1)
    assert erased.hits == 0
    assert messages_in(out) == [("s", 1, 0), *(("s", 1, seq) for seq in range(4, 40))]


@pytest.mark.parametrize("name", ALL)
def test_a_session_without_an_end_is_erased_up_to_the_newest_message(name, tmp_path, request):
    out = request.getfixturevalue("database").url if name == "postgresql" else str(tmp_path / name)
    began = event(1, "session_began", session=SESSION, name="morning", note="")
    write_record(out, [event(0, "epoch_started"), began, *(frame(seq) for seq in range(2, 9))])
    lines: list[str] = []
    erased = erase_session(out, "morning", lines.append)
    assert (erased.messages, erased.hits) == (8, 0)
    assert any("has no end in this log" in line for line in lines)
    assert messages_in(out) == [("s", 1, 0)]


@pytest.mark.parametrize("name", ALL)
def test_a_session_without_begin_and_end_leaves_its_neighbours(name, tmp_path, request):
    out = request.getfixturevalue("database").url if name == "postgresql" else str(tmp_path / name)
    before, after = ({"session": each * 12, "name": each} for each in "ac")
    write_record(
        out,
        [
            event(0, "epoch_started"),
            event(1, "session_began", **before, note=""),
            frame(2, "P01"),
            event(3, "session_ended", **before, participants=["P01"]),
            frame(4, "P07"),
            event(0, "epoch_started", epoch=2),
            event(1, "session_resumed", epoch=2, session=SESSION, name="morning", restarts=1),
            frame(2, "P07", epoch=2),
            event(3, "session_began", epoch=2, **after, note=""),
            frame(4, "P02", epoch=2),
            event(5, "session_ended", epoch=2, **after, participants=["P02"]),
        ],
        rotate_at=6,
    )
    lines: list[str] = []
    erased = erase_session(out, "morning", lines.append)
    assert (erased.codes, erased.hits) == (("P07",), 0)
    left = [*(("s", 1, seq) for seq in range(4)), *(("s", 2, seq) for seq in (0, 3, 4, 5))]
    assert messages_in(out) == left
    for part in ("begin", "end"):
        assert any(f"morning has no {part} in this log" in line for line in lines)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("missing", [1, 2, 3])
def test_without_a_configuration_only_the_session_itself_goes(name, missing, tmp_path, request):
    """P07 may be of a configured seat: in the session's epochs, or where a message names it."""
    out = request.getfixturevalue("database").url if name == "postgresql" else str(tmp_path / name)
    session = {"session": SESSION, "name": "morning"}
    sent = [
        event(0, "epoch_started"),
        event(1, "session_began", **session, note=""),
        frame(2, "P07"),
        event(0, "epoch_started", epoch=2),
        event(1, "session_resumed", epoch=2, **session, restarts=1),
        event(2, "session_ended", epoch=2, **session, participants=["P07"]),
        event(0, "epoch_started", epoch=3),
        frame(1, "P07", epoch=3),
    ]
    sent = [each for each in sent if (each.epoch, each.seq) != (missing, 0)]
    write_record(out, sent, rotate_at=4)
    lines: list[str] = []
    erased = erase_session(out, "morning", lines.append)
    assert (erased.codes, erased.messages, erased.hits) == ((), 4, 0)
    assert any(f"P07: this log lacks epoch_started of epoch {missing}" in each for each in lines)
    left = [("s", each.epoch, each.seq) for each in sent if each.seq == 0 or each.epoch == 3]
    assert messages_in(out) == left


def test_newest_messages_of_a_parquet_log_that_a_program_reads_stop_it(tmp_path):
    out = tmp_path / "log.parquet"
    log = ParquetLog(out, print)
    log.cursors()
    for message in record():
        log.write(received(message))
    log.commit()
    spool = out / ".spool" / "messages.sqlite"
    with sqlite3.connect(spool) as reader:
        reader.execute("SELECT count(*) FROM messages").fetchall()
        log._spool.close()
        with pytest.raises(LogFileError, match="another program has it open"):
            erase_session(str(out), "morning", print)
    reader.close()
    assert erase_session(str(out), "morning", print).hits == 0
