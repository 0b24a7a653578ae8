"""A file read as fast as possible loses nothing, however slow its subscriber."""

import json
import time
from pathlib import Path

import cv2
import numpy as np
import zmq

from tests.support.daemons import PURPOSE, RunningDaemon

PICTURES = 1500


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


def test_a_subscriber_that_does_not_read_holds_everything_up(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    encoded = cv2.imencode(".png", np.zeros((32, 32), np.uint8))[1].tobytes()
    for number in range(PICTURES):
        (folder / f"{number:05}.png").write_bytes(encoded)
    with RunningDaemon(
        tmp_path,
        *("--source", str(folder), "--no-pace", "--wait-for-subscriber", *PURPOSE),
        *("--set", "publish.high_water=10"),
        high_water=10,
    ) as daemon:
        daemon.wait_for_frame()
        wait_until_idle(daemon.worker_pid())
        published = len(daemon.messages)
        assert daemon.process.poll() is None, "it went on without its subscriber"
        assert daemon.run_to_end() == 0
        numbers = [m["seq"] for m in daemon.messages if "seq" in m]
        assert numbers == list(range(len(numbers)))
        assert [m["frame"]["index"] for m in daemon.frames] == list(range(PICTURES))
        assert published < PICTURES


def test_a_stalled_subscriber_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(PICTURES):
        cv2.imwrite(str(folder / f"{number:05}.png"), np.zeros((32, 32), np.uint8))
    with RunningDaemon(
        tmp_path,
        *("--source", str(folder), "--no-pace", "--wait-for-subscriber", *PURPOSE),
        *("--set", "publish.high_water=10"),
        high_water=10,
    ) as daemon:
        daemon.wait_for_frame()
        wait_until_idle(daemon.worker_pid())
        begun = time.monotonic()
        daemon.process.terminate()
        assert daemon.process.wait(10) == 0
        assert time.monotonic() - begun < 5


def test_a_subscriber_may_conflate(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, "--source", "demo") as daemon, zmq.Context() as context:
        newest = context.socket(zmq.SUB)
        newest.setsockopt(zmq.LINGER, 0)
        newest.setsockopt(zmq.CONFLATE, 1)
        newest.setsockopt_string(zmq.SUBSCRIBE, "affect.v1.frame")
        newest.connect(daemon.endpoint)
        for _ in range(50):
            seen = daemon.wait_for_frame()
        # the conflating one reads only now, and gets no old frame
        message = json.loads(newest.recv().partition(b" ")[2])
        assert message["seq"] >= seen["seq"] - 3
        newest.close()
