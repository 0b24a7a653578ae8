"""A daemon with the synthetic worker publishes as one with a camera does."""

import os
import signal
from pathlib import Path

from tests.support.daemons import PURPOSE, RunningDaemon
from tests.support.synthetic_daemon import SYNTHETIC


def test_frames_of_a_synthetic_worker_are_published(tmp_path: Path) -> None:
    with RunningDaemon(
        tmp_path,
        *("--source", "/dev/video0", "--wait-for-subscriber"),
        *PURPOSE,
        module=SYNTHETIC,
        environment={
            "SYNTHETIC_RATE_HZ": "0",
            "SYNTHETIC_FACES": "2",
            "SYNTHETIC_FRAMES": "200",
        },
    ) as daemon:
        assert daemon.run_to_end() == 0
        assert [frame["frame"]["index"] for frame in daemon.frames] == list(range(200))
        assert all(len(frame["faces"]) == 2 for frame in daemon.frames)
        assert all(frame["time"]["clock"] == "monotonic" for frame in daemon.frames)


def test_a_killed_synthetic_worker_is_replaced(tmp_path: Path) -> None:
    with RunningDaemon(
        tmp_path, *("--source", "/dev/video0"), *PURPOSE, module=SYNTHETIC
    ) as daemon:
        daemon.wait_for_frame()
        os.kill(daemon.worker_pid(), signal.SIGKILL)
        daemon.wait_for(lambda message: message.get("event") == "worker_lost")
        daemon.wait_for_frame()
        assert daemon.stop()[0] == 0


def test_a_worker_with_damaged_memory_is_replaced(tmp_path: Path) -> None:
    """A report that is none ended the hub."""
    arguments = ("--source", "/dev/video0", "--wait-for-subscriber", *PURPOSE)
    environment = {"SYNTHETIC_RATE_HZ": "100", "SYNTHETIC_FRAMES": "30", "SYNTHETIC_DAMAGED": "8"}
    with RunningDaemon(tmp_path, *arguments, module=SYNTHETIC, environment=environment) as daemon:
        (lost,) = [daemon.wait_for(lambda message: message.get("event") == "worker_lost")]
        assert lost["detail"]["reason"] == "bad_report"
        assert daemon.run_to_end() == 0
        indices = [frame["frame"]["index"] for frame in daemon.frames]
        assert [index for index in indices if index < 8] == list(range(8))
        assert max(indices) == 29
        assert "no report of a frame" in daemon.stderr
