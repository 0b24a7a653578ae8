"""The progress file next to a log: cursors that outlast moved files and long silences."""

import json

import pytest

from edge.client import Cursor
from edge.client.logs import opened_log
from tests.support.logs import csv_rows, json_lines, received
from tests.support.wire import event, face, frame

NAMES = ["log.csv", "log.jsonl"]


def write(out, *messages, reports=None):
    with opened_log(out, (reports if reports is not None else []).append) as log:
        cursors = sorted(set(log.cursors()))
        cut_bytes = log.cut_bytes
        for message in messages:
            log.write(received(message))
            log.commit()
    return cursors, cut_bytes


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_that_was_silent_for_long_keeps_its_cursor(tmp_path, monkeypatch, name):
    """Only the last 8 MiB of a log were searched: a slow daemon's messages were lost unnoticed."""
    monkeypatch.setattr(f"edge.client.logs.{name[4:]}_log.RESUME_BYTES", 4096)
    out = tmp_path / name
    write(out, frame(7, stream="slow"), *(frame(seq, face()) for seq in range(40)))
    assert write(out)[0] == [Cursor("s", 1, 39), Cursor("slow", 1, 7)]


@pytest.mark.parametrize("name", NAMES)
def test_after_a_move_between_two_runs_the_cursors_are_kept(tmp_path, name):
    out = tmp_path / name
    write(out, frame(1), frame(2))
    out.rename(tmp_path / "moved")
    assert write(out, frame(3))[0] == [Cursor("s", 1, 2)]


@pytest.mark.parametrize("name", NAMES)
def test_after_a_move_between_two_runs_the_new_file_has_a_day_of_its_own(tmp_path, name):
    """It had that of the moved file: ``--rotate day`` set an empty file aside under it."""
    out = tmp_path / name
    write(out, frame(1))
    with opened_log(out) as log:
        log.cursors()
        assert log.day == "2023-11-14"
    for path in tmp_path.glob(f"*{out.suffix}"):
        path.rename(tmp_path / f"{path.name}.moved")
    with opened_log(out) as log:
        log.cursors()
        assert log.day is None
        log.write(received(frame(2)))
        assert log.day == "2023-11-14"


@pytest.mark.parametrize("name", NAMES)
def test_a_log_that_was_moved_while_it_was_written_leaves_nothing_to_rotate(tmp_path, name):
    out = tmp_path / name
    with opened_log(out) as log:
        log.cursors()
        log.write(received(frame(1)))
        log.commit()
        for path in tmp_path.glob(f"*{out.suffix}"):
            path.rename(tmp_path / f"{path.name}.moved")
        log.commit()
        log.rotate()
        assert log.day is None
        assert not list(tmp_path.glob(f"log.2023*{out.suffix}"))


@pytest.mark.parametrize("name", NAMES)
def test_what_was_not_committed_is_cut_off(tmp_path, name):
    out = tmp_path / name
    write(out, event(0), frame(1, face()))
    whole = out.read_bytes()
    with out.open("ab") as file:
        file.write(whole.splitlines(keepends=True)[-1] + b"torn")
    assert write(out) == ([Cursor("s", 1, 1)], len(whole.splitlines(keepends=True)[-1]) + 4)
    assert out.read_bytes() == whole


@pytest.mark.parametrize("name", NAMES)
def test_another_file_at_the_path_is_not_cut_by_what_is_stored_of_the_first(tmp_path, name):
    """Such as one that was restored from a backup."""
    out = tmp_path / name
    write(out, *(frame(seq, face()) for seq in range(30)))
    backup = out.read_bytes()
    for path in tmp_path.iterdir():
        path.unlink()
    write(out, frame(0))
    out.write_bytes(backup)
    cursors, cut_bytes = write(out)
    assert cut_bytes == 0
    assert out.read_bytes() == backup
    assert max(cursors) == Cursor("s", 1, 29)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema": "other"}', b"\0" * 50])
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_progress_file_is_reported_and_the_log_searched(tmp_path, name, content):
    out, reports = tmp_path / name, []
    write(out, event(0), frame(1))
    (tmp_path / f"{name}.cursors").write_bytes(content)
    assert max(write(out, frame(2), reports=reports)[0]) == Cursor("s", 1, 1)
    assert "cannot be read" in reports[0]
    assert "\n" not in reports[0]
    assert write(out)[0] == [Cursor("s", 1, 2)]


def test_frames_and_events_of_a_table_are_committed_together(tmp_path):
    """A kill between two files left a hole before the cursor, which nobody noticed."""
    out = tmp_path / "log.csv"
    write(out, event(0), frame(1))
    stored = (tmp_path / "log.csv.cursors").read_bytes()
    frames = out.read_bytes()
    write(out, frame(2), event(3))
    out.write_bytes(frames)  # the events were written, the frames were not
    (tmp_path / "log.csv.cursors").write_bytes(stored)
    assert write(out, frame(2), event(3))[0] == [Cursor("s", 1, 1)]
    assert [row["seq"] for row in csv_rows(out)] == ["1", "2"]
    assert [row["seq"] for row in csv_rows(tmp_path / "log.events.csv")] == ["0", "3"]


@pytest.mark.parametrize("name", NAMES)
def test_a_rotated_log_goes_on_with_cursors_and_time_axis(tmp_path, name):
    out = tmp_path / name
    with opened_log(out) as log:
        log.cursors()
        log.rotate()  # nothing to set aside
        for seq in range(3):
            log.write(received(frame(seq)))
            log.commit()
            log.rotate()
    names = sorted(path.name for path in tmp_path.iterdir() if "events" not in path.name)
    assert [each for each in names if not each.endswith(".cursors")] == [
        f"log.2023-11-14.2{out.suffix}", f"log.2023-11-14.3{out.suffix}",
        f"log.2023-11-14{out.suffix}", name,
    ]  # fmt: skip
    assert write(out)[0] == [Cursor("s", 1, 2)]
    if name == "log.csv":
        rows = csv_rows(tmp_path / "log.2023-11-14.3.csv")
        assert [row["time_s"] for row in rows] == ["0.0"]
    else:
        assert [line["seq"] for line in json_lines(tmp_path / "log.2023-11-14.2.jsonl")] == [1]
    assert json.loads((tmp_path / f"{name}.cursors").read_text())["day"] is None
