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
