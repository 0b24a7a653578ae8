"""The daemon with a network camera that fails, freezes and returns."""

import signal
from pathlib import Path

import pytest

from edge.vision.sources.video import DEMO_CLIP
from tests.support.daemons import PURPOSE, RunningDaemon
from tests.support.ports import free_port
from tests.support.source_media import MediaServer, address
from tests.support.waiting import QuietTime


def camera(port: int) -> MediaServer:
    """Return a server of the demo clip, to be used with ``with``."""
    return MediaServer(
        DEMO_CLIP,
        port,
        *("-c:v", "libx264", "-preset", "ultrafast", "-g", "12", "-tune", "zerolatency"),
        *("-vf", "scale=640:360", "-pix_fmt", "yuv420p"),
    )


@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_a_failed_stream_is_reported_and_resumed(tmp_path: Path, fault: str) -> None:
    port = free_port()
    source = ("--source", address(port), *PURPOSE)
    with RunningDaemon(tmp_path, *source) as daemon:
        with camera(port) as server:
            daemon.wait_for(lambda m: m["kind"] == "frame" and m["faces"])
            for _ in range(20):
                daemon.wait_for_frame()
            server.send_signal(signal.SIGKILL if fault == "killed" else signal.SIGSTOP)
            failed = QuietTime()
            daemon.wait_for(
                lambda m: m.get("event") == "source_state" and m["detail"]["state"] != "running"
            )
            assert failed.elapsed_s < 2.5  # frames were on the way
            last = daemon.frames[-1]
            status = daemon.wait_for(lambda m: m["kind"] == "status")
            assert status["health"]["grade"] == "unusable"
        with camera(port):
            returned = daemon.wait_for_frame()
            assert returned["frame"]["index"] > last["frame"]["index"]
            assert returned["time"]["sensor_ns"] > last["time"]["sensor_ns"]
            assert returned["epoch"] == last["epoch"]
            running = daemon.wait_for(lambda m: m["kind"] == "status")
            assert running["source_state"] == "running"
        assert daemon.events("worker_lost") == []
        asked = QuietTime()
        assert daemon.stop()[0] == 0
        assert asked.elapsed_s < 5
        # the log reports changes of state, not every attempt
        assert daemon.stderr.count("WARNING") <= 3, daemon.stderr
