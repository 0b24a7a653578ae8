"""With ``--no-pace`` no message of a file is lost, however slow its subscriber is."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import zmq

from tests.support.daemons import PURPOSE, RunningDaemon
from tests.support.waiting import HANG_S, QuietTime

PICTURES = 1500
DEMO = ("--source", "demo", "--set", "source.repeat=0")


def cpu_ticks(pid: int) -> int:
    """Return the processor time that a process has used, clock ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def wait_until_idle(pid: int) -> None:
    """Return once the process has used no processor time for half a second."""
    before = -1
    while (now := cpu_ticks(pid)) != before:
        before = now
        time.sleep(0.5)


@contextmanager
def stalled_daemon(folder: Path) -> Iterator[RunningDaemon]:
    """Run a daemon whose worker is idle, as its only subscriber does not read."""
    pictures = folder / "pictures"
    pictures.mkdir()
    encoded = cv2.imencode(".png", np.zeros((32, 32), np.uint8))[1].tobytes()
    for number in range(PICTURES):
        (pictures / f"{number:05}.png").write_bytes(encoded)
    with RunningDaemon(
        folder,
        *("--source", str(pictures), "--no-pace", "--wait-for-subscriber", *PURPOSE),
        *("--set", "publish.high_water=10"),
        high_water=10,
    ) as daemon:
        daemon.wait_for_frame()
        wait_until_idle(daemon.worker_pid())
        yield daemon


def test_the_daemon_waits_for_a_subscriber_that_does_not_read(tmp_path: Path) -> None:
    with stalled_daemon(tmp_path) as daemon:
        published = len(daemon.messages)
        assert daemon.process.poll() is None, "the daemon went on without its subscriber"
        assert daemon.run_to_end() == 0
        numbers = [m["seq"] for m in daemon.messages if "seq" in m]
        assert numbers == list(range(len(numbers)))
        assert [m["frame"]["index"] for m in daemon.frames] == list(range(PICTURES))
        assert published < PICTURES


def test_a_stalled_subscriber_does_not_delay_a_stop(tmp_path: Path) -> None:
    with stalled_daemon(tmp_path) as daemon:
        asked = QuietTime()
        daemon.process.terminate()
        assert daemon.process.wait(HANG_S) == 0
        assert asked.elapsed_s < 5


def test_a_conflating_subscriber_gets_the_newest_frame(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *DEMO) as daemon, zmq.Context() as context:
        newest = context.socket(zmq.SUB)
        newest.setsockopt(zmq.LINGER, 0)
        newest.setsockopt(zmq.CONFLATE, 1)
        newest.setsockopt_string(zmq.SUBSCRIBE, "affect.v1.frame")
        newest.connect(daemon.endpoint)
        assert newest.poll(round(HANG_S * 1e3))  # it is subscribed
        for _ in range(50):
            daemon.wait_for_frame()
        assert daemon.stop()[0] == 0
        # the conflating subscriber reads only now, and gets no old frame
        read = []
        while not read or read[-1] < daemon.frames[-1]["seq"]:
            read.append(json.loads(newest.recv().partition(b" ")[2])["seq"])
        assert len(read) < 10
        newest.close()
