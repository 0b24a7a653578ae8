"""The logger against real publishers, real files and real kills."""

import csv
import fcntl
import json
import os
import random
import re
import signal
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge import clock
from edge.client import Cursor
from edge.client.formats import opened_log
from edge.client.linefile import LineFile
from edge.client.subscriber import Received
from edge.client.tidy import COLUMNS, EVENT_COLUMNS, frame_rows
from edge.errors import ConfigError, LogFileError
from edge.protocol import messages
from edge.tools import silence
from edge.tools.log import LogSummary, run_log
from tests.support.wire import Publisher, event, face, frame, status

FIRST_COLUMNS = "device,stream,epoch,seq,unix_ns,sensor_ns,frame_index,track,participant"


def received(message, gap=None):
    return Received(message, messages.encode(message), gap, late=False)


def json_lines(path):
    text = path.read_text()
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def csv_rows(path):
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(None not in row and None not in row.values() for row in rows)
    return rows


def log_all(out, sent, **options):
    """Publish ``sent`` and an end to a logger in this process; return its summary and its lines."""
    told = []
    endpoint = f"ipc://{out.parent}/pub"
    with Publisher(endpoint) as publisher:
        last = max(getattr(m, "seq", getattr(m, "last_seq", -1)) for m in sent)
        pending = [*sent, event(last + 1, "epoch_ended")]

        def stop():
            if pending and publisher.subscribed():
                publisher.send(*pending)
                pending.clear()
            return False

        summary = run_log([endpoint], out, stop=stop, until_end=True, report=told.append, **options)
    return summary, told


def test_silence_is_told_once(tmp_path, monkeypatch):
    monkeypatch.setattr(silence, "SILENT_MS", 100.0)
    endpoint, told = f"ipc://{tmp_path}/pub", []
    answers = iter([*[False] * 4, True])
    out = tmp_path / "log.jsonl"
    run_log([endpoint], out, stop=lambda: next(answers), report=told.append, name="a")
    assert told == [f"a: nothing received from {endpoint} yet; is a daemon running there?"]
    assert out.read_text() == ""


# Formats


def test_jsonl_holds_the_messages_as_received_in_order_with_gaps_between(tmp_path):
    out = tmp_path / "log.jsonl"
    sent = [event(0), frame(1, face()), status(1), frame(5), frame(5), status(7), frame(8)]
    summary, told = log_all(out, sent)
    *lines, _ = json_lines(out)
    assert [(line["kind"], line.get("seq")) for line in lines] == [
        ("event", 0),
        ("frame", 1),
        ("status", None),
        ("gap", None),
        ("frame", 5),
        ("gap", None),
        ("status", None),
        ("frame", 8),
    ]
    assert lines[1] == json.loads(messages.encode(sent[1]).partition(b" ")[2])
    assert lines[3] == {
        "schema": "affect.log.v1", "kind": "gap", "device": "edge", "stream": "s", "epoch": 1,
        "first_missing": 2, "last_missing": 4, "unix_ns": 1_700_000_000_123_456_789,
    }  # fmt: skip
    assert summary == LogSummary(7, 7, 2, 5, 1, 0, 0)
    assert told[1] == "log: edge: gap: 3 messages missing, 2 to 4 of epoch 1"
    assert all("\n" not in line for line in told)


def test_csv_is_tidy(tmp_path):
    out = tmp_path / "log.csv"
    unread = face(9, reasons=("too_small", "blurred"), read=False)
    sent = [event(0, "marked", {"text": 'a "b",\nc'}), frame(1, face(4), unread), frame(4)]
    summary, _ = log_all(out, [*sent, status(4)])
    assert out.read_text().startswith(FIRST_COLUMNS + ",")
    happy, unread, empty = csv_rows(out)
    assert [row["track"] for row in (happy, unread, empty)] == ["4", "9", ""]
    assert [row["faces"] for row in (happy, unread, empty)] == ["2", "2", "0"]
    assert [row["seq"] for row in (happy, unread, empty)] == ["1", "1", "4"]
    assert (happy["label"], happy["stable_label"], happy["p_happy"]) == ("happy", "neutral", "0.6")
    assert (happy["valence"], happy["arousal_smoothed"]) == ("0.61", "-0.1")
    assert (happy["valence_relative"], happy["baseline"]) == ("", "none")
    assert (happy["box_x"], happy["box_height"], happy["mouth_right_y"]) == (
        "10.5",
        "120.0",
        "10.0",
    )
    assert (happy["quality_usable"], happy["quality_yaw"]) == ("true", "-3.5")
    assert (unread["label"], unread["valence"], unread["baseline"]) == ("", "", "")
    assert unread["reasons"] == "too_small|blurred"
    assert (empty["score"], empty["total_ms"], empty["synchronized"]) == ("", "17.0", "true")
    marked, gap, ended = csv_rows(tmp_path / "log.events.csv")
    assert json.loads(marked["detail"]) == {"text": 'a "b",\nc'}
    assert (gap["event"], gap["seq"], gap["first_missing"], gap["last_missing"]) == (
        "gap", "", "2", "3",
    )  # fmt: skip
    assert (ended["event"], ended["seq"]) == ("epoch_ended", "5")
    assert (summary.messages, summary.rows, summary.gaps) == (5, 5, 1)


@given(st.integers(0, 3), st.booleans())
def test_every_row_has_every_column(count, read):
    rows = frame_rows(frame(0, *(face(track, read=read) for track in range(count))))
    assert len(rows) == max(1, count)
    assert {len(row) for row in rows} == {len(COLUMNS)}


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_text_that_would_break_a_line_does_not(tmp_path, suffix):
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


# Refusals


@pytest.mark.parametrize("name", ["log.sqlite", "log.parquet"])
def test_formats_that_are_not_there_yet(tmp_path, name):
    with pytest.raises(ConfigError, match=r"not available in this version; use \.csv or \.jsonl"):
        run_log(["ipc:///x"], tmp_path / name, stop=lambda: True)
    assert not any(tmp_path.iterdir())


def foreign_files():
    yield "other.csv", b"a,b,c\n1,2,3\n"
    yield "torn.csv", b"a,b,c"
    yield "wide.csv", ",".join([*COLUMNS, "more"]).encode() + b"\n"
    yield "notes.jsonl", b"dear diary\n"
    yield "torn.jsonl", b"dear diary"
    yield "array.jsonl", b"[1]\n"
    yield "object.jsonl", b'{"a":1}\n'


@pytest.mark.parametrize(("name", "content"), list(foreign_files()))
def test_a_file_with_something_else_in_it_is_left_alone(tmp_path, name, content):
    out = tmp_path / name
    out.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        run_log(["ipc:///x"], out, stop=lambda: True)
    assert "\n" not in str(error.value)
    assert str(out) in str(error.value)
    assert out.read_bytes() == content


def test_other_events_beside_are_left_alone_too(tmp_path):
    (tmp_path / "log.events.csv").write_text("a,b\n")
    with pytest.raises(ConfigError, match=r"log\.events\.csv: exists with other columns"):
        run_log(["ipc:///x"], tmp_path / "log.csv", stop=lambda: True)
    assert (tmp_path / "log.csv").read_bytes() == b""


def test_paths_that_cannot_be_written(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    for out in ("folder.csv", "pipe.jsonl", "nowhere/log.csv", "log.txt", "log"):
        with pytest.raises(ConfigError) as error:
            run_log(["ipc:///x"], tmp_path / out, stop=lambda: True)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_two_loggers_on_one_file_are_refused(tmp_path, name):
    out = tmp_path / name
    with opened_log(out), pytest.raises(ConfigError, match="another process writes to it"):
        run_log(["ipc:///x"], out, stop=lambda: True)
    with opened_log(out):
        pass
    with (tmp_path / "log.events.csv").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if name == "log.csv":
            with pytest.raises(ConfigError, match="another process"), opened_log(out):
                pass
    with opened_log(out):  # what was opened first has been let go
        pass


def test_a_new_log_is_nobody_elses_business(tmp_path):
    old = os.umask(0)
    try:
        with opened_log(tmp_path / "log.csv"):
            pass
    finally:
        os.umask(old)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


# Continuing


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_a_log_is_continued_and_the_gap_between_the_runs_told(tmp_path, name):
    out = tmp_path / name
    with opened_log(out) as log:
        log.cursors()
        for message in (event(0), frame(1, face()), frame(2, stream="other")):
            log.write(received(message))
    before = out.read_bytes()
    summary, told = log_all(out, [frame(1), frame(5), frame(3, stream="other")])
    assert out.read_bytes().startswith(before)
    assert (summary.gaps, summary.missing, summary.late) == (1, 3, 1)
    assert told == ["log: edge: gap: 3 messages missing, 2 to 4 of epoch 1"]
    seqs = [
        (row["stream"], int(row["seq"]))
        for row in (json_lines(out) if name == "log.jsonl" else csv_rows(out))
        if row.get("kind", "frame") == "frame"
    ]
    assert seqs == [("s", 1), ("other", 2), ("s", 5), ("other", 3)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(st.integers(0, 3), max_size=5), st.data(), st.sampled_from(["jsonl", "csv"]))
def test_a_log_cut_anywhere_is_repaired_to_whole_messages(tmp_path, faces, data, kind):
    """Cut after any byte, it keeps exactly the messages that stood before the cut as a whole."""
    out = tmp_path / f"log.{kind}"
    out.unlink(missing_ok=True)
    out.with_suffix(".events.csv").unlink(missing_ok=True)
    ends = []
    with opened_log(out) as log:
        log.cursors()
        ends.append(out.stat().st_size)
        for seq, count in enumerate(faces):
            log.write(received(frame(seq, *(face(track) for track in range(count)))))
            ends.append(out.stat().st_size)
    whole = out.read_bytes()
    # the end of a line is the place that looks whole and, inside a frame, is not
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


def test_a_long_log_is_not_read_whole(tmp_path):
    out = tmp_path / "log.jsonl"
    line = messages.encode(frame(0, stream="long ago")).partition(b" ")[2] + b"\n"
    with out.open("wb") as file:
        file.writelines([line] * 30_000)
        file.write(line.replace(b"long ago", b"recent"))
    assert out.stat().st_size > 10 << 20
    file = LineFile(out)
    assert sum(map(len, file.last_lines(1 << 20))) <= 1 << 20
    assert file.last_lines(1 << 20)[-1] == line.replace(b"long ago", b"recent").rstrip()
    file.close()


def test_unreadable_lines_in_the_middle_stay_and_hinder_nothing(tmp_path):
    for name, garbage in (("log.jsonl", b"\0\0\0\xff\n"), ("log.csv", b'"\0\xff,"\n')):
        out = tmp_path / name
        with opened_log(out) as log:
            log.cursors()
            log.write(received(frame(3)))
        with out.open("ab") as file:
            file.write(garbage)
        with opened_log(out) as log:
            assert log.cursors() == [Cursor("s", 1, 3)]
            assert log.cut_bytes == 0
        assert out.read_bytes().endswith(garbage)


# The end


def test_what_is_received_is_still_written_after_the_stop(tmp_path):
    out = tmp_path / "log.jsonl"
    endpoint = f"ipc://{tmp_path}/pub"
    with Publisher(endpoint) as publisher:

        def stop():
            if not publisher.subscribed():
                return False
            publisher.send(*(frame(seq) for seq in range(100)))
            return True

        summary = run_log([endpoint], out, stop=stop)
    assert summary.messages == len(json_lines(out)) > 0
    assert [line["seq"] for line in json_lines(out)] == list(range(summary.messages))


LIMITED = """
import resource, signal, sys
from pathlib import Path
from edge.errors import LogFileError
from edge.tools.log import run_log
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    run_log([sys.argv[1]], Path(sys.argv[2]), stop=lambda: False, until_end=True)
except LogFileError as error:
    sys.exit(f"LogFileError {error}")
"""


@pytest.mark.parametrize("name", ["log.jsonl", "log.csv"])
def test_a_full_disk_is_one_line_and_leaves_whole_lines(tmp_path, name):
    """The file size limit of the process stands for the disk's: writes end short, then fail."""
    out, endpoint = tmp_path / name, f"ipc://{tmp_path}/pub"
    with Publisher(endpoint) as publisher:
        command = [sys.executable, "-c", LIMITED, endpoint, out, "20000"]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as logger:
            try:
                publisher.wait_for_subscriptions()
                publisher.send(*(frame(seq, face(1), face(2), face(3)) for seq in range(200)))
                _, stderr = logger.communicate(timeout=30)
            finally:
                logger.kill()
    assert logger.returncode == 1
    _, complaint = stderr.decode().splitlines()
    assert re.search(r"LogFileError log .*: File too large after \d+ bytes", complaint)
    assert 10_000 < out.stat().st_size <= 20_000
    with opened_log(out) as log:
        last = max(log.cursors())
        assert log.cut_bytes == 0
    assert last.seq > 3


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path):
    file = LineFile(tmp_path / "log")
    file.append(b"one\n")
    reader = os.open(tmp_path / "log", os.O_RDONLY)
    os.dup2(reader, file._fd)  # a descriptor that cannot be written: EBADF
    os.close(reader)
    with pytest.raises(LogFileError, match="after 4 bytes"):
        file.append(b"two\n")
    file.close()
    assert (tmp_path / "log").read_bytes() == b"one\n"


LOGGER = """
import sys
from pathlib import Path
from edge.tools.log import run_log
summary = run_log([sys.argv[1]], Path(sys.argv[2]), stop=lambda: False, until_end=True)
print(summary.missing, summary.late, summary.undecodable)
"""


@pytest.mark.parametrize(("name", "kills"), [("log.jsonl", 15), ("log.csv", 15)])
def test_kills_at_any_moment_lose_nothing_silently(tmp_path, name, kills):
    """Every number is either in the log, once and whole, or told as missing, once."""
    out, endpoint = tmp_path / name, f"ipc://{tmp_path}/pub"
    chance = random.Random(name)
    seq = 0
    # many faces: one message spans pages, so that a kill can fall into its write
    crowd = [face(track) for track in range(24)]
    with Publisher(endpoint, high_water=100_000) as publisher:

        def publish(count):
            nonlocal seq
            for _ in range(count):
                publisher.send(event(seq) if seq % 7 == 0 else frame(seq, *crowd[: seq % 25]))
                seq += 1

        for _ in range(kills):
            with logging_to(out, endpoint) as logger:
                publisher.wait_for_subscriptions()
                size = written(out)
                publish(1)
                wait_until(lambda before=size: written(out) > before)
                publish(chance.randrange(120))
                logger.send_signal(signal.SIGKILL)
            publish(chance.randrange(5))
        with logging_to(out, endpoint) as logger:
            publisher.wait_for_subscriptions()
            publish(20)
            publisher.send(event(seq, "epoch_ended"))
            assert logger.wait(timeout=30) == 0
    found = logged_json(out) if out.suffix == ".jsonl" else logged_csv(out)
    assert sorted(found) == list(range(found[0], seq + 1))
    assert found[0] == 0


@contextmanager
def logging_to(out, endpoint):
    """Run a logger in a process of its own, which never outlives the block."""
    with subprocess.Popen([sys.executable, "-c", LOGGER, endpoint, out]) as logger:
        try:
            yield logger
        finally:
            logger.kill()


def written(out):
    return sum(path.stat().st_size for path in out.parent.glob("log.*"))


def wait_until(condition):
    deadline_ns = clock.monotonic_ns() + 20_000_000_000
    while not condition():
        assert clock.monotonic_ns() < deadline_ns


def logged_json(out: Path) -> list[int]:
    found = []
    for line in json_lines(out):
        if line["kind"] == "gap":
            found += range(line["first_missing"], line["last_missing"] + 1)
        else:
            found.append(line["seq"])
    return found


def logged_csv(out: Path) -> list[int]:
    found = []
    rows = csv_rows(out)
    for row in rows:
        same = sum(other["seq"] == row["seq"] for other in rows)
        assert same == max(1, int(row["faces"]))
    found = sorted({int(row["seq"]) for row in rows})
    for row in csv_rows(out.with_suffix(".events.csv")):
        if row["event"] == "gap":
            found += range(int(row["first_missing"]), int(row["last_missing"]) + 1)
        else:
            found.append(int(row["seq"]))
    return sorted(found)


def test_columns_are_named_once():
    assert len(set(COLUMNS)) == len(COLUMNS)
    assert len(set(EVENT_COLUMNS)) == len(EVENT_COLUMNS)
    assert ",".join(COLUMNS).startswith(FIRST_COLUMNS + ",")
