"""The logger with real publishers, real files and killed processes."""

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections import deque
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.client import Subscriber
from edge.client.logs import opened_log
from edge.client.tidy import COLUMNS
from edge.errors import ConfigError
from edge.protocol import messages
from edge.tools import log, silence
from edge.tools.log import LogSummary, run_log
from tests.support.logs import csv_rows, json_lines, log_all, received
from tests.support.waiting import HANG_S, wait_until
from tests.support.wire import Publisher, event, face, frame, status


def test_silence_is_reported_once(tmp_path, monkeypatch):
    monkeypatch.setattr(silence, "NOBODY_MS", 100.0)
    endpoint, reports = f"ipc://{tmp_path}/pub", []
    answers = iter([*[False] * 4, True])
    out = tmp_path / "log.jsonl"
    run_log([endpoint], out, stop=lambda: next(answers), report=reports.append, name="a")
    assert reports == [
        f"a: writing {out} (new), from {endpoint}",
        f"a: nobody publishes at {endpoint} yet; waiting; is a daemon running there, and is that"
        " its publish.endpoint?",
    ]
    assert out.read_text() == ""


def test_a_jsonl_file_holds_received_messages_and_gaps_in_order(tmp_path):
    out = tmp_path / "log.jsonl"
    sent = [event(0), frame(1, face()), status(1), frame(5), frame(5), status(7), frame(8)]
    summary, reports = log_all(out, sent)
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
        "first_missing": 2, "last_missing": 4, "reason": None,
        "unix_ns": 1_700_000_000_123_456_789,
    }  # fmt: skip
    assert summary == LogSummary(7, 7, 2, 5, 1, 0, 0)
    assert reports[2] == "log: edge: gap: 3 messages missing, 2 to 4 of epoch 1"
    assert all("\n" not in line for line in reports)


def test_a_csv_file_has_a_row_per_face_and_a_file_of_events(tmp_path):
    out = tmp_path / "log.csv"
    unclassified = face(9, reasons=("too_small", "blurred"), classified=False)
    sent = [event(0, "marked", {"text": 'a "b",\nc'}), frame(1, face(4), unclassified), frame(4)]
    summary, _ = log_all(out, [*sent, status(4)])
    assert out.read_text().startswith(",".join(COLUMNS) + "\n")
    happy, unclassified, empty = csv_rows(out)
    assert [row["track"] for row in (happy, unclassified, empty)] == ["4", "9", "-1"]
    assert [row["faces"] for row in (happy, unclassified, empty)] == ["2", "2", "0"]
    assert [row["seq"] for row in (happy, unclassified, empty)] == ["1", "1", "4"]
    assert (happy["label"], happy["stable_label"], happy["p_happy"]) == ("happy", "neutral", "0.6")
    assert (happy["valence"], happy["arousal_smoothed"]) == ("0.61", "-0.1")
    assert (happy["valence_relative"], happy["baseline"]) == ("", "none")
    assert (happy["box_x"], happy["box_height"], happy["mouth_right_y"]) == (
        "10.5",
        "120.0",
        "10.0",
    )
    assert (happy["quality_usable"], happy["quality_yaw"]) == ("true", "-3.5")
    assert (unclassified["label"], unclassified["valence"], unclassified["baseline"]) == (
        "",
        "",
        "",
    )
    assert unclassified["reasons"] == "too_small|blurred"
    assert (empty["detection_score"], empty["total_ms"], empty["synchronized"]) == (
        "",
        "17.0",
        "true",
    )
    marked, gap, ended = csv_rows(tmp_path / "log.events.csv")
    assert json.loads(marked["detail"]) == {"text": 'a "b",\nc'}
    assert (gap["event"], gap["seq"], gap["first_missing"], gap["last_missing"]) == (
        "gap", "2", "2", "3",
    )  # fmt: skip
    assert (ended["event"], ended["seq"]) == ("epoch_ended", "5")
    assert (summary.messages, summary.rows, summary.gaps) == (5, 5, 1)


def foreign_files():
    yield "other.csv", b"a,b,c\n1,2,3\n"
    yield "torn.csv", b"a,b,c"
    yield "notes.jsonl", b"dear diary\n"
    yield "torn.jsonl", b"dear diary"
    yield "array.jsonl", b"[1]\n"
    yield "object.jsonl", b'{"a":1}\n'


@pytest.mark.parametrize(("name", "content"), list(foreign_files()))
def test_a_file_with_other_content_is_refused_and_left_unchanged(tmp_path, name, content):
    out = tmp_path / name
    out.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        run_log(["ipc:///x"], out, stop=lambda: True)
    assert "\n" not in str(error.value)
    assert str(out) in str(error.value)
    assert out.read_bytes() == content


def test_an_events_file_with_other_columns_is_refused(tmp_path):
    (tmp_path / "log.events.csv").write_text("a,b\n")
    with pytest.raises(ConfigError, match=r"log\.events\.csv: exists with other columns"):
        run_log(["ipc:///x"], tmp_path / "log.csv", stop=lambda: True)
    assert (tmp_path / "log.csv").read_bytes() == b""


def test_a_path_that_cannot_be_written_is_refused_in_one_line(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    for out in ("folder.csv", "pipe.jsonl", "nowhere/log.csv", "log.txt", "nowhere/log"):
        with pytest.raises(ConfigError) as error:
            run_log(["ipc:///x"], tmp_path / out, stop=lambda: True)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_a_log_is_continued_and_the_gap_between_the_runs_reported(tmp_path, name):
    out = tmp_path / name
    with opened_log(out) as sink:
        sink.cursors()
        for message in (event(0), frame(1, face()), frame(2, stream="other")):
            sink.write(received(message))
    before = out.read_bytes()
    summary, reports = log_all(out, [frame(1), frame(5), frame(3, stream="other")])
    assert out.read_bytes().startswith(before)
    assert (summary.gaps, summary.missing, summary.late) == (1, 3, 1)
    writing, gap, end = reports
    assert writing.startswith(f"log: writing {out} (continued), from ipc://")
    assert gap == "log: edge: gap: 3 messages missing, 2 to 4 of epoch 1"
    assert end == "log: edge: the daemon has ended, epoch 1"
    seqs = [
        (row["stream"], int(row["seq"]))
        for row in (json_lines(out) if name == "log.jsonl" else csv_rows(out))
        if row.get("kind", "frame") == "frame"
    ]
    assert seqs == [("s", 1), ("other", 2), ("s", 5), ("other", 3)]


def test_messages_that_have_arrived_are_written_after_the_stop(tmp_path, monkeypatch):
    subscribers, arrived = [], deque()

    class Buffered(Subscriber):
        """Returns the messages in ``arrived`` first: those already taken from the network."""

        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            subscribers.append(self)

        def receive(self, timeout_s):
            return arrived.popleft() if arrived else super().receive(timeout_s)

    monkeypatch.setattr(log, "Subscriber", Buffered)
    out = tmp_path / "log.jsonl"
    endpoint = f"ipc://{tmp_path}/pub"
    with Publisher(endpoint) as publisher:

        def stop():
            if not publisher.subscribed():
                return False
            publisher.send(*(frame(seq) for seq in range(20)))
            arrived.extend([Subscriber.receive(subscribers[0], HANG_S) for _ in range(20)])
            return True

        summary = run_log([endpoint], out, stop=stop)
    assert summary.messages == 20
    assert [line["seq"] for line in json_lines(out)] == list(range(20))


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
def test_a_full_disk_gives_one_line_of_error_and_leaves_whole_lines(tmp_path, name):
    """The file size limit of the process stands for the disk's: writes end short, then fail."""
    out, endpoint = tmp_path / name, f"ipc://{tmp_path}/pub"
    with Publisher(endpoint) as publisher:
        command = [sys.executable, "-c", LIMITED, endpoint, out, "20000"]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as logger:
            try:
                publisher.wait_for_subscriptions()
                publisher.send(*(frame(seq, face(1), face(2), face(3)) for seq in range(200)))
                _, stderr = logger.communicate(timeout=HANG_S)
            finally:
                logger.kill()
    assert logger.returncode == 1
    *_, error = stderr.decode().splitlines()
    assert re.search(r"LogFileError log .*: File too large; what was committed is complete", error)
    assert out.stat().st_size <= 20_000
    with opened_log(out) as sink:
        sink.cursors()
        assert sink.cut_bytes == 0


LOGGER = """
import sys
from pathlib import Path
from edge.tools.log import run_log
summary = run_log([sys.argv[1]], Path(sys.argv[2]), stop=lambda: False, until_end=True)
print(summary.missing, summary.late, summary.undecodable)
"""


@pytest.mark.parametrize(("name", "kills"), [("log.jsonl", 5), ("log.csv", 5)])
def test_after_kills_every_message_is_logged_or_reported_missing(tmp_path, name, kills):
    """Every number is either in the log, once and whole, or reported missing, once."""
    out, endpoint = tmp_path / name, f"ipc://{tmp_path}/pub"
    rng = random.Random(name)
    seq = 0
    # many faces: one message spans pages, so that a kill can fall into its write
    faces = [face(track) for track in range(24)]
    with Publisher(endpoint, high_water=100_000) as publisher:

        def publish(count):
            nonlocal seq
            for _ in range(count):
                publisher.send(event(seq) if seq % 7 == 0 else frame(seq, *faces[: seq % 25]))
                seq += 1

        for _ in range(kills):
            with logging_to(out, endpoint) as logger:
                publisher.wait_for_subscriptions()
                size = written(out)
                publish(1)
                wait_until(lambda before=size: written(out) > before)
                publish(rng.randrange(120))
                logger.send_signal(signal.SIGKILL)
            publish(rng.randrange(5))
        with logging_to(out, endpoint) as logger:
            publisher.wait_for_subscriptions()
            publish(20)
            publisher.send(event(seq, "epoch_ended"))
            assert logger.wait(timeout=HANG_S) == 0
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
    return sum(path.stat().st_size for path in out.parent.glob("log.*[!w]"))  # not .new


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


@pytest.mark.parametrize("sent", [[], [frame(0), status(0)]], ids=["never there", "killed"])
def test_until_end_gives_up_where_no_end_comes(tmp_path, sent):
    """It waited for ever: for a daemon that had been killed, or had ended before."""
    endpoint, reports, pending = f"ipc://{tmp_path}/pub", [], list(sent)
    with Publisher(endpoint) as publisher:

        def stop():
            if pending and publisher.subscribed():
                publisher.send(*pending)
                pending.clear()
            return False

        summary = run_log(
            [endpoint], tmp_path / "log.jsonl", stop=stop, until_end=True, give_up_s=0.5,
            report=reports.append,
        )  # fmt: skip
    assert summary.gave_up
    assert summary.messages == len(sent)
    left = "" if sent else "; no log is left"
    assert reports[-1] == f"log: nothing received for 0.5 s: given up{left}"
    assert (tmp_path / "log.jsonl").exists() == bool(sent)


def test_a_device_that_falls_silent_is_reported_after_an_undecodable_part(tmp_path):
    """One part that was no message stopped the notices, and ``--give-up-s`` with them."""
    endpoint, reports, pending = f"ipc://{tmp_path}/pub", [], [frame(1)]
    with Publisher(endpoint) as publisher:

        def stop():
            if pending and publisher.subscribed():
                publisher.send(pending.pop())
                publisher.send_raw(b"affect.v1.frame.edge {}")
            return False

        summary = run_log(
            [endpoint], tmp_path / "log.jsonl", stop=stop, until_end=True, give_up_s=3.5,
            report=reports.append,
        )  # fmt: skip
    assert (summary.messages, summary.undecodable, summary.gave_up) == (1, 1, True)
    assert any("nothing received for 3 s" in line for line in reports)


def test_an_epoch_before_that_of_the_log_is_reported(tmp_path):
    """Where nothing is fetched, all messages of an older copy of a journal were late, silently."""
    out = tmp_path / "log.jsonl"
    log_all(out, [frame(0, epoch=5), event(1, "epoch_ended", epoch=5)])
    sent = [frame(0, epoch=3), frame(1, epoch=3)]
    summary, reports = log_all(out, sent, give_up_s=0.5)
    assert (summary.messages, summary.late) == (0, 3)
    assert sum("epoch 3, and the log has epoch 5" in line for line in reports) == 1
