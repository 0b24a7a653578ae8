"""A hot board and a slow network, seen through the whole daemon, with a /sys of its own."""

import os
import signal
from pathlib import Path

from benchmarks.scene import make_scene, write_video
from tests.support.daemons import ROOT, Message, RunningDaemon

TEMPERATURE = "sys/class/thermal/thermal_zone0/temp"
THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"


LEAK = """
import os, sys
if "edge.worker" in sys.orig_argv and not os.path.exists({marker!r}):
    from edge.worker.threads import Worker
    classify, kept = Worker._obey, []
    def leak(self):
        kept.extend(os.open("/dev/null", os.O_RDONLY) for _ in range(200))
        open({marker!r}, "w").close()
        classify(self)
    Worker._obey = leak
"""


SLOW_NETWORK = """
import sys, time
if "edge.worker" in sys.orig_argv:
    from edge.vision.expression.heads import ExpressionHeads
    predict = ExpressionHeads.predict
    def slowly(self, *arguments):
        time.sleep(0.04)
        return predict(self, *arguments)
    ExpressionHeads.predict = slowly
"""


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def limited(message: Message) -> bool:
    return message.get("event") == "rate_limited"


def hot_daemon(folder: Path, root: Path, *more: str) -> RunningDaemon:
    # at 10 Hz a busy machine drops no frame by itself
    board = ("--set", f"limits.board_root='{root}'", "--set", "source.rate_hz=10")
    return RunningDaemon(folder, "--source", "demo", "--wait-for-subscriber", *board, *more)


def test_a_hot_board_gets_fewer_frames_and_says_so(tmp_path: Path) -> None:
    root = tmp_path / "board"
    write(root, TEMPERATURE, "61000\n")
    with hot_daemon(tmp_path, root) as daemon:
        status = daemon.wait_for(lambda m: m["kind"] == "status" and m["soc_celsius"] == 61.0)
        assert (status["rate_divisor"], status["rate_reason"]) == (1, None)
        configured = {
            "faces_per_frame": 0, "full_every_s": 0.5, "mesh_every": None, "bound_by": [],
        }  # fmt: skip
        assert status["schedule"] == configured
        daemon.wait_for(lambda m: m["kind"] == "frame" and m["frame"]["index"] >= 5)
        write(root, TEMPERATURE, "86000\n")
        event = daemon.wait_for(limited)
        assert event["detail"] == {"divisor": 2, "reason": "temperature", "soc_celsius": 86.0}
        status = daemon.wait_for(lambda m: m["kind"] == "status")
        assert (status["rate_divisor"], status["rate_reason"]) == (2, "temperature")
        assert "rate_limited" in status["health"]["reasons"]
        hot = configured | {"full_every_s": 1.0, "bound_by": ["temperature"]}
        assert status["schedule"] == hot
        assert [each["detail"] for each in daemon.events("schedule_changed")] == [hot]
        daemon.wait_for(lambda m: m["kind"] == "frame" and m["frame"]["dropped"] == 1)
        # garbage and a sensor that vanishes are unknown, and no exception
        write(root, TEMPERATURE, "\xff\n")
        daemon.wait_for(lambda m: m["kind"] == "status" and m["soc_celsius"] is None)
        (root / TEMPERATURE).unlink()
        daemon.wait_for(lambda m: m["kind"] == "frame" and m["frame"]["dropped"] == 1)
        assert daemon.stop()[0] == 0
        ended = daemon.events("epoch_ended")[0]["detail"]
        assert ended["frames"] + ended["dropped"] == ended["captured"]
        assert ended["dropped"] >= 2
        assert "Traceback" not in daemon.stderr
        assert "one frame of 2 is processed: temperature, 86.0 degrees" in daemon.stderr


def test_low_voltage_limits_the_rate_also_of_the_next_worker(tmp_path: Path) -> None:
    root = tmp_path / "board"
    write(root, THROTTLED, "1\n")
    with hot_daemon(tmp_path, root) as daemon:
        event = daemon.wait_for(limited)
        assert event["detail"] == {"divisor": 2, "reason": "under_voltage", "soc_celsius": None}
        daemon.wait_for_frame()
        os.kill(daemon.worker_pid(), signal.SIGKILL)
        daemon.wait_for(lambda m: m.get("event") == "worker_lost")
        daemon.wait_for_frame()
        seen = [daemon.wait_for_frame()["frame"]["dropped"] for _ in range(6)]
        assert all(seen), "the new worker was not told"


def test_a_file_read_without_loss_is_not_limited(tmp_path: Path) -> None:
    root = tmp_path / "board"
    write(root, THROTTLED, "1\n")
    with hot_daemon(tmp_path, root, "--no-pace") as daemon:
        assert daemon.run_to_end() == 0
        assert [m["frame"]["index"] for m in daemon.frames] == list(range(300))
        assert daemon.events("rate_limited") == []


def test_a_worker_that_is_too_slow_for_all_faces_reads_them_in_turns(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW_NETWORK)
    video = str(tmp_path / "scene.avi")
    write_video(make_scene(6, "still", (640, 360)), video, 5)
    purpose = ("--set", 'device.purpose="safety"')
    arguments = ("--source", video, "--wait-for-subscriber", *purpose)
    path = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    with RunningDaemon(tmp_path, *arguments, environment=path) as daemon:
        event = daemon.wait_for(lambda m: m.get("event") == "schedule_changed")
        limit = event["detail"]["faces_per_frame"]
        assert 1 <= limit <= 2, "40 ms a face, 100 ms a frame"
        assert event["detail"]["bound_by"] == ["classifier"]
        before = daemon.frames[-1]
        assert all(face["expression"]["age_s"] == 0 for face in before["faces"])
        # the worker obeys: each face has a reading, and few have a new one
        after = daemon.wait_for(
            lambda m: (
                m["kind"] == "frame" and any(face["expression"]["age_s"] > 0 for face in m["faces"])
            )
        )
        assert len(after["faces"]) == len(before["faces"]) == 6
        # more than the limit where else somebody would wait for more than a second
        assert sum(face["expression"]["age_s"] == 0 for face in after["faces"]) <= 3
        assert max(face["expression"]["age_s"] for face in after["faces"]) <= 1.0
        status = daemon.wait_for(lambda m: m["kind"] == "status")
        assert status["schedule"] == event["detail"]
        assert status["rate_divisor"] == 1


def test_a_worker_that_leaks_descriptors_is_replaced(tmp_path: Path) -> None:
    """The limit is that of the tests; a healthy worker has some thirty open."""
    (tmp_path / "sitecustomize.py").write_text(LEAK.format(marker=str(tmp_path / "leaked")))
    path = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    arguments = ("--source", "demo", "--wait-for-subscriber")
    with RunningDaemon(tmp_path, *arguments, environment=path) as daemon:
        lost = daemon.wait_for(lambda m: m.get("event") == "worker_lost")
        assert lost["detail"]["reason"] == "too_many_files"
        daemon.wait_for_frame()
