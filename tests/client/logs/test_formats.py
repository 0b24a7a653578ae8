"""JSONL and CSV logs as files: columns, escaping, locks, and repair after a cut."""

import fcntl
import json
import os
import sqlite3
import stat

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.client import Cursor, Gap
from edge.client.logs import opened_log
from edge.client.subscriber import Received
from edge.client.tidy import COLUMNS, EVENT_COLUMNS, frame_rows
from edge.errors import ConfigError
from edge.protocol import messages
from tests.support.logs import csv_rows, json_lines, received
from tests.support.wire import face, frame


def test_column_names_are_unique():
    assert len(set(COLUMNS)) == len(COLUMNS)
    assert len(set(EVENT_COLUMNS)) == len(EVENT_COLUMNS)
    assert COLUMNS[:12] == (
        "device", "stream", "epoch", "seq", "unix_ns", "sensor_ns", "frame_index", "track",
        "participant", "time_s", "file", "page",
    )  # fmt: skip


@given(st.integers(0, 3), st.booleans())
def test_every_row_has_every_column(count, classified):
    rows = frame_rows(
        frame(0, *(face(track, classified=classified) for track in range(count))), 1.5
    )
    assert len(rows) == max(1, count)
    assert {len(row) for row in rows} == {len(COLUMNS)}


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_line_breaks_inside_a_message_do_not_break_its_line(tmp_path, suffix):
    out = tmp_path / f"log{suffix}"
    nasty = frame(0, face() | {"participant": 'P\n"07\r\x0b\u2028,'}, device="a\nb")
    with opened_log(out) as log:
        log.cursors()
        log.write(received(nasty))
        pretty = json.dumps(json.loads(messages.encode(frame(1)).partition(b" ")[2]), indent=1)
        log.write(Received(frame(1), b"topic " + pretty.encode(), None, late=False))
    raw = out.read_bytes()
    assert raw.count(b"\n") == 2 + (suffix == ".csv")
    with opened_log(out) as log:
        assert max(log.cursors()) == Cursor("s", 1, 1)


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl", "log.sqlite", "log.parquet"])
def test_every_gap_before_a_message_is_recorded(tmp_path, name):
    out, gaps = tmp_path / name, (Gap("s", 1, 7, None, "power_cut"), Gap("s", 2, 0, 4, "trimmed"))
    message = frame(5, epoch=2)
    with opened_log(out) as log:
        log.cursors()
        log.write(
            Received(message, messages.encode(message), gaps[0], late=False, more_gaps=gaps[1:])
        )
    match out.suffix:
        case ".sqlite":
            with sqlite3.connect(out) as database:
                found = database.execute("SELECT epoch, first_missing FROM gaps").fetchall()
        case ".jsonl":
            found = [(g["epoch"], g["first_missing"]) for g in json_lines(out) if "reason" in g]
        case ".csv":
            rows = csv_rows(tmp_path / "log.events.csv")
            found = [(int(row["epoch"]), int(row["first_missing"])) for row in rows]
        case _:
            table = f"'{out}/events/**/*.parquet'"
            found = duckdb.sql(f"SELECT epoch, first_missing FROM {table}").fetchall()
    assert sorted(found) == [(1, 7), (2, 0)]


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_a_file_that_is_open_for_a_log_cannot_be_opened_again(tmp_path, name):
    out = tmp_path / name
    with (
        opened_log(out),
        pytest.raises(ConfigError, match="another process writes to it"),
        opened_log(out),
    ):
        pass
    with opened_log(out):
        pass
    with (tmp_path / "log.events.csv").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if name == "log.csv":
            with pytest.raises(ConfigError, match="another process"), opened_log(out):
                pass
    with opened_log(out):  # the failure has released the first file's lock
        pass


def test_only_the_owner_can_read_a_new_log(tmp_path):
    old = os.umask(0)
    try:
        with opened_log(tmp_path / "log.csv"):
            pass
    finally:
        os.umask(old)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(st.integers(0, 3), max_size=5), st.data(), st.sampled_from(["jsonl", "csv"]))
def test_a_log_cut_at_any_byte_is_repaired_to_whole_messages(tmp_path, faces, data, kind):
    """It keeps exactly the messages that lie completely before the cut."""
    out = tmp_path / f"log.{kind}"
    out.unlink(missing_ok=True)
    out.with_suffix(".events.csv").unlink(missing_ok=True)
    progress = out.with_name(f"{out.name}.cursors")
    progress.unlink(missing_ok=True)
    ends = []
    with opened_log(out) as log:
        log.cursors()
        ends.append(out.stat().st_size)
        for seq, count in enumerate(faces):
            log.write(received(frame(seq, *(face(track) for track in range(count)))))
            log.commit()
            ends.append(out.stat().st_size)
    progress.unlink(missing_ok=True)  # a log that was copied without it
    whole = out.read_bytes()
    # a cut at the end of a line looks complete, but may lie between two faces of one frame
    line_ends = [0] + [at + 1 for at, byte in enumerate(whole) if byte == ord("\n")]
    at = data.draw(st.integers(0, len(whole)) | st.sampled_from(line_ends))
    out.write_bytes(whole[:at])
    with opened_log(out) as log:
        cursors = log.cursors()
        header, kept = ends[0], [end for end in ends if end <= at]
        expected = kept[-1] if kept else 0
        assert log.cut_bytes == at - expected
        assert out.read_bytes() == whole[: max(expected, header)]
        assert sorted(set(cursors)) == [Cursor("s", 1, seq) for seq in range(len(kept) - 1)]


def test_unreadable_lines_in_the_middle_are_kept_and_ignored(tmp_path):
    for name, garbage in (("log.jsonl", b"\0\0\0\xff\n"), ("log.csv", b'"\0\xff,"\n')):
        out = tmp_path / name
        with opened_log(out) as log:
            log.cursors()
            log.write(received(frame(3)))
        with out.open("ab") as file:
            file.write(garbage)
        (tmp_path / f"{name}.cursors").unlink()
        with opened_log(out) as log:
            assert log.cursors() == [Cursor("s", 1, 3)]
            assert log.cut_bytes == 0
        assert out.read_bytes().endswith(garbage)
