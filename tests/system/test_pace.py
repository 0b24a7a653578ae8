"""Files whose frames are far apart: slow ones, and those with a hole in their times."""

import socket
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.vision.sources.video import DEMO_CLIP
from tests.support.daemons import PURPOSE, ROOT, RunningDaemon
from tests.support.source_media import ffmpeg
from tests.support.waiting import HANG_S

HOLE_S = 3600


def hole(path: Path) -> Path:
    """Write ten pictures with an hour between the fifth and the sixth."""
    graph = f"scale=320:180,settb=1/25,setpts=N+gte(N\\,5)*{HOLE_S}*25"
    ffmpeg("-i", DEMO_CLIP, "-vf", graph, "-frames:v", "10", "-fps_mode", "passthrough", path)
    return path


@pytest.mark.parametrize("options", [(), ("--no-pace", "--wait-for-subscriber")], ids=len)
def test_a_file_does_not_wait_for_a_hole_in_its_times(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    path = hole(tmp_path / "hole.mkv")
    with RunningDaemon(tmp_path, "--source", str(path), *options, *PURPOSE) as daemon:
        assert daemon.run_to_end() == 0
        (jump,) = daemon.events("media_jump")
        assert jump["detail"]["seconds"] == pytest.approx(HOLE_S + 0.04)
        assert jump["detail"]["index"] == 5
        assert "jump by 3600.0 s" in daemon.stderr
        stamps = [frame["time"]["sensor_ns"] for frame in daemon.frames]
        assert stamps[-1] == (HOLE_S * 25 + 9) * 40_000_000, "the times stay those of the file"


def test_the_watchdog_is_fed_until_a_slow_picture_is_due(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 256, (48, 64), np.uint8)
        cv2.imwrite(str(pictures / f"{number}.png"), noise)
    early = "import edge.hub.freshness as f; f.STALE_S = 1.0\n"  # in place of ten seconds
    (tmp_path / "sitecustomize.py").write_text(early)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(HANG_S)
        environment = {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": "900000",
            "PYTHONPATH": f"{tmp_path}:{ROOT}",
        }
        slow = ("--source", str(pictures), "--set", "source.rate_hz=0.02")
        with RunningDaemon(tmp_path, *slow, *PURPOSE, environment=environment) as daemon:
            first = daemon.wait_for_frame()
            fed_s = []
            while not fed_s or fed_s[-1] < 4:
                line = manager.recv(4096).decode()
                if line == "WATCHDOG=1":
                    fed_s.append((time.monotonic_ns() - first["received_ns"]) / 1e9)
            status = daemon.wait_for(lambda m: m["kind"] == "status" and bool(m["next_frame_s"]))
            assert 30 < status["next_frame_s"] < 50
            assert status["source_state"] == "running"
            assert len(daemon.frames) == 1
    assert len([each for each in fed_s if each > 1.5]) > 5
