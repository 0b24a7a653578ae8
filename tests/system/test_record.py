"""The record of a whole run: what it was made from, and one axis for its times."""

import csv
import itertools
import json
import os
import signal
from pathlib import Path

import cv2
import pytest

from edge.client.ask import ask
from edge.client.logs import opened_log
from edge.client.subscriber import Received
from edge.clock import unix_ns_of
from edge.protocol.messages import decode
from edge.protocol.requests import MarkRequest
from edge.vision.sources.video import DEMO_CLIP
from tests.support.daemons import PURPOSE, ROOT, RunningDaemon, affect_edge

RECORDED = "2026-11-03T09:30:00+01:00"
RECORDED_NS = unix_ns_of(RECORDED)
SECOND_NS = 1_000_000_000


def test_marks_in_a_file_read_fast_lie_between_its_frames(tmp_path: Path) -> None:
    arguments = ("--source", str(DEMO_CLIP), *PURPOSE, "--recorded-at", RECORDED)
    with RunningDaemon(tmp_path, *arguments, "--no-pace", "--wait-for-subscriber") as daemon:
        daemon.wait_for(lambda m: m["kind"] == "frame" and m["frame"]["index"] >= 20)
        ask(daemon.service, MarkRequest(text="pressure 2.8 bar"))
        assert daemon.run_to_end() == 0
    numbered = [m for m in daemon.messages if "seq" in m]
    assert [m.get("event") for m in numbered[:3]] == [
        "epoch_started",
        "worker_started",
        "file_opened",
    ]
    first = daemon.frames[0]
    assert first["time"]["unix_ns"] == RECORDED_NS
    for frame in daemon.frames:
        assert frame["time"]["unix_ns"] == RECORDED_NS + frame["time"]["sensor_ns"]
    # every message from the first frame on is in the order of the recording's own time
    later = numbered[numbered.index(first) :]
    for before, after in itertools.pairwise(later):
        assert before["time"]["unix_ns"] <= after["time"]["unix_ns"]
    (mark,) = daemon.events("mark")
    before = numbered[numbered.index(mark) - 1]
    assert mark["time"]["unix_ns"] == before["time"]["unix_ns"]
    assert mark["time"]["media_ns"] == before["time"]["sensor_ns"]
    opened = daemon.events("file_opened")[0]["detail"]
    assert (opened["file"], opened["recorded_by"]) == ("demo.mp4", "option")
    assert str(DEMO_CLIP.parent) not in repr(daemon.messages)


def test_every_epoch_has_its_models_and_its_file_after_a_lost_worker(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, "--source", "demo", "--wait-for-subscriber") as daemon:
        daemon.wait_for_frame()
        os.kill(daemon.worker_pid(), signal.SIGKILL)
        daemon.wait_for(lambda m: m.get("event") == "worker_lost")
        daemon.wait_for_frame()
        started = daemon.events("worker_started")
        assert len(started) == 2, "the new worker may run other networks"
        assert started[0]["detail"] == started[1]["detail"]
        models = started[0]["detail"]["models"]
        assert {"name", "sha256", "artifact", "runtime", "manifest_sha256"} <= models[
            "detector"
        ].keys()
        opened = daemon.events("file_opened")
        assert opened[0]["detail"] == opened[1]["detail"]


def test_pictures_of_a_folder_have_their_file_name_and_the_given_time(tmp_path: Path) -> None:
    folder, log = tmp_path / "pictures", tmp_path / "log.csv"
    folder.mkdir()
    picture = cv2.imread(str(ROOT / "edge/vision/data/golden-face.png"), cv2.IMREAD_GRAYSCALE)
    for name in ("a 1.png", "b,2.png"):
        cv2.imwrite(str(folder / name), picture)
    arguments = ("--source", str(folder), *PURPOSE, "--recorded-at", RECORDED)
    with RunningDaemon(tmp_path, *arguments, "--no-pace", "--wait-for-subscriber") as daemon:
        assert daemon.run_to_end() == 0
    files = [(m["frame"]["file"], m["time"]["unix_ns"]) for m in daemon.frames]
    assert files == [("a 1.png", RECORDED_NS), ("b,2.png", RECORDED_NS + 2 * SECOND_NS)]
    with opened_log(log, print) as table:
        table.cursors()
        for message in daemon.messages:
            del message["received_ns"]
            part = b"x " + json.dumps(message).encode()
            table.write(Received(decode(part), part, None, late=False))
    with log.open(newline="") as rows:
        assert {row["file"] for row in csv.DictReader(rows)} == {"a 1.png", "b,2.png"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("2026-11-03T09:30:00", "without an offset from UTC"),
        ("2026-03-29T02:30:00 Europe/Berlin", "no date and time"),
        ("2026-02-30T09:30:00Z", "no date and time"),
        ("1900-01-01T00:00:00Z", "expected a year from 1970"),
    ],
)
def test_a_bad_time_is_refused_in_one_line(value: str, message: str) -> None:
    done = affect_edge("run", "--source", str(DEMO_CLIP), *PURPOSE, "--recorded-at", value)
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)
    assert message in done.stderr
    assert "2026-11-03T09:30:00+01:00" in done.stderr or "year" in done.stderr


def test_a_camera_has_no_recording_time() -> None:
    done = affect_edge("run", "--source", "/dev/video0", *PURPOSE, "--recorded-at", RECORDED)
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)
    assert "--recorded-at: source.kind 'v4l2'" in done.stderr
