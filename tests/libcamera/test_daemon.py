"""The daemon with a camera of libcamera: the whole way from a request to a message."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.libcamera import virtual_camera
from tests.support.daemons import PURPOSE, ROOT, Message, RunningDaemon

pytestmark = pytest.mark.libcamera

SITE = Path(__file__).with_name("site")


def state_is(state: str) -> Callable[[Message], bool]:
    def wanted(message: Message) -> bool:
        return message.get("event") == "source_state" and message["detail"]["state"] == state

    return wanted


def test_frames_flow_stall_and_flow_again(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": os.pathsep.join(map(str, (SITE, ROOT)))}
    arguments = ("--source", "picamera", *PURPOSE, "--set", "source.rate_hz=7.0")
    with RunningDaemon(tmp_path, *arguments, environment=environment) as daemon:
        frames = [daemon.wait_for_frame(60) for _ in range(5)]
        stamps = [frame["time"]["sensor_ns"] for frame in frames]
        assert stamps == sorted(set(stamps))
        for frame in frames:
            assert frame["time"]["clock"] == "monotonic"
            assert 0 < frame["received_ns"] - frame["time"]["sensor_ns"] < 60e9
            assert (frame["frame"]["width"], frame["frame"]["height"]) == (1280, 720)
        (opened,) = daemon.events("camera_opened")
        assert opened["detail"]["model"] == "Virtual Test Camera"

        virtual_camera.SILENT.touch()
        daemon.wait_for(state_is("stalled"))
        virtual_camera.SILENT.unlink()
        again = daemon.wait_for_frame()
        assert again["frame"]["index"] > frames[-1]["frame"]["index"]
        assert daemon.events("worker_lost") == []
        code, _ = daemon.stop()
        assert code == 0
        assert "Traceback" not in daemon.stderr
