"""The daemon with a network camera that fails, freezes and returns."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import imageio_ffmpeg
import pytest

from edge.vision.sources.video import DEMO_CLIP
from tests.support.daemons import PURPOSE, RunningDaemon
from tests.support.ports import free_port


@contextmanager
def camera(port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Serve the demo clip in a loop, at its own rate, to one client after another."""
    with subprocess.Popen(
        [
            *(imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "quiet", "-re", "-stream_loop", "-1"),
            *("-i", str(DEMO_CLIP), "-c:v", "libx264", "-preset", "ultrafast", "-g", "12"),
            *("-vf", "scale=640:360", "-pix_fmt", "yuv420p", "-tune", "zerolatency"),
            *("-f", "mpegts", "-listen", "1", f"http://127.0.0.1:{port}/"),
        ],
        stdin=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_a_failed_stream_is_reported_and_resumed(tmp_path: Path, fault: str) -> None:
    port = free_port()
    source = ("--source", f"http://127.0.0.1:{port}/", *PURPOSE)
    with RunningDaemon(tmp_path, *source) as daemon:
        with camera(port) as server:
            daemon.wait_for(lambda m: m["kind"] == "frame" and m["faces"])
            for _ in range(20):
                last = daemon.wait_for_frame()
            server.send_signal(signal.SIGKILL if fault == "killed" else signal.SIGSTOP)
            state = daemon.wait_for(
                lambda m: m.get("event") == "source_state" and m["detail"]["state"] != "running"
            )
            last = daemon.frames[-1]
            delay_s = (state["time"]["monotonic_ns"] - last["time"]["published_ns"]) / 1e9
            assert delay_s < 2.0
            status = daemon.wait_for(lambda m: m["kind"] == "status")
            assert status["health"]["grade"] == "unusable"
        with camera(port):
            returned = daemon.wait_for_frame(timeout_s=10)
            assert returned["frame"]["index"] > last["frame"]["index"]
            assert returned["time"]["sensor_ns"] > last["time"]["sensor_ns"]
            assert returned["epoch"] == last["epoch"]
            running = daemon.wait_for(lambda m: m["kind"] == "status")
            assert running["source_state"] == "running"
        assert daemon.events("worker_lost") == []
        code, took_s = daemon.stop()
        assert code == 0
        assert took_s < 5
        # the log reports changes of state, not every attempt
        assert daemon.stderr.count("WARNING") <= 3, daemon.stderr
