"""The daemon with the camera source over the real picamera2: real processes, the notify socket."""

import itertools
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.hub import supervisor as supervising
from tests.picamera2_stack.hardware import STACK, STALLS, TOO_OLD, Hardware
from tests.support.daemons import PURPOSE, Message, RunningDaemon, affect_edge

WATCHDOG_S = 3.0

pytestmark = [pytest.mark.picamera2, pytest.mark.timeout(120 + 15 * STALLS)]


class Manager:
    """The service manager's end of the notify socket, with the times of what it was told."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._lines: list[tuple[float, str]] = []
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()

    def _receive(self) -> None:
        while (text := self._socket.recv(4096).decode()) != "":
            now_s = time.monotonic()
            self._lines += [(now_s, line) for line in text.splitlines()]

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._socket.close()

    @property
    def is_ready(self) -> bool:
        return any(line == "READY=1" for _, line in list(self._lines))

    def longest_without_food_s(self) -> float:
        """Return the longest time from one feeding of the watchdog to the next, or to now."""
        fed = [at_s for at_s, line in list(self._lines) if line == "WATCHDOG=1"]
        fed.append(time.monotonic())
        return max(later - earlier for earlier, later in itertools.pairwise(fed))


@contextmanager
def running(
    folder: Path, hardware: Hardware, *settings: str
) -> Iterator[tuple[RunningDaemon, Manager]]:
    """Run the daemon under a service manager that starves it after ``WATCHDOG_S``."""
    manager = Manager(folder / "notify")
    environment = {
        **hardware.environment,
        "NOTIFY_SOCKET": str(folder / "notify"),
        "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6)),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    arguments = [part for setting in settings for part in ("--set", setting)]
    try:
        with RunningDaemon(
            folder, "--source", "picamera", *PURPOSE, *arguments, environment=environment
        ) as daemon:
            yield daemon, manager
            assert "Traceback" not in daemon.stderr
    finally:
        hardware.set(stop_hangs=False, opening_hangs=False, opening_holds_lock_s=0, silent=False)
        manager.close()


def state_is(state: str) -> Any:
    def wanted(message: Message) -> bool:
        return message.get("event") == "source_state" and message["detail"]["state"] == state

    return wanted


def status_is(state: str) -> Any:
    return lambda message: message["kind"] == "status" and message["source_state"] == state


def is_one_absence(daemon: RunningDaemon, since: Message) -> None:
    """Check that the absence told by ``since`` was told once, and ended with the first frame."""
    told = [event["detail"]["state"] for event in daemon.events("source_state")]
    assert told == ["absent", "running"]
    until = daemon.events("source_state")[-1]
    outage = daemon.messages[daemon.messages.index(since) : daemon.messages.index(until)]
    statuses = [message for message in outage if message["kind"] == "status"]
    assert statuses
    for status in statuses:
        assert (status["source_state"], status["health"]["grade"]) == ("absent", "unusable")


def stay(daemon: RunningDaemon, seconds: float) -> None:
    """Receive what is published in the next seconds."""
    until = time.monotonic() + seconds
    while (left_s := until - time.monotonic()) > 0:
        daemon.receive(left_s)


def test_a_camera_is_opened_read_and_told(tmp_path: Path, hardware: Hardware) -> None:
    with running(tmp_path, hardware) as (daemon, manager):
        for _ in range(30):
            daemon.wait_for_frame()
        assert manager.is_ready
        (told,) = daemon.events("camera_opened")
        assert told["detail"]["sensor_mode"] == "1640x1232"
        assert told["detail"]["seen_width"] == 1.0
        assert STACK is not None
        assert STACK.name.endswith(told["detail"]["picamera2"])
        assert "camera opened: camera 0, model imx219" in daemon.stderr
        code, took_s = daemon.stop()
        assert (code, took_s < 3.0) == (0, True)
    assert [len(hardware.log(what)) for what in ("start", "stop", "release")] == [1, 1, 1]


def test_every_rate_is_delivered(tmp_path: Path) -> None:
    """All at once, in a daemon each: the slow ones need their time."""
    with ExitStack() as stack:
        daemons = {}
        for rate_hz in (0.5, 1.0, 2.0, 5.0, 8.0, 30.0):
            folder = tmp_path / str(rate_hz)
            folder.mkdir()
            camera = Hardware(folder / "hardware.json")
            setting = f"source.rate_hz={rate_hz}"
            daemons[rate_hz] = stack.enter_context(running(folder, camera, setting))
        for rate_hz, (daemon, manager) in daemons.items():
            first = last = daemon.wait_for_frame(timeout_s=60)
            while last["time"]["sensor_ns"] - first["time"]["sensor_ns"] < 6e9:
                last = daemon.wait_for_frame()
            span_s = (last["time"]["sensor_ns"] - first["time"]["sensor_ns"]) / 1e9
            count = last["frame"]["index"] - first["frame"]["index"]
            assert count / span_s == pytest.approx(rate_hz, rel=0.1)
            assert daemon.wait_for(lambda m: m["kind"] == "status")["source_state"] == "running"
            told = [event["detail"]["state"] for event in daemon.events("source_state")]
            assert told == ["running"]
            assert daemon.events("worker_lost") == []
            assert manager.is_ready
            assert manager.longest_without_food_s() < WATCHDOG_S
            if rate_hz <= 2.0:  # fast ones may suffer from the others
                reasons = [m["health"]["reasons"] for m in daemon.messages if m["kind"] == "status"]
                assert not {"rate", "no_frames"} & {each for row in reasons for each in row}
            code, took_s = daemon.stop()
            assert (code, took_s < 3.0) == (0, True)


def test_a_silent_camera_is_reported_within_2_s_and_frames_are_back_within_10(
    tmp_path: Path, hardware: Hardware
) -> None:
    reported_s, back_s = [], []
    with running(tmp_path, hardware) as (daemon, manager):
        for _ in range(STALLS):
            daemon.wait_for_frame()
            hardware.set(silent=True)
            stalled = daemon.wait_for(state_is("stalled"))
            frames = daemon.frames
            reported_s.append((stalled["received_ns"] - frames[-1]["received_ns"]) / 1e9)
            hardware.set(silent=False)
            again = daemon.wait_for_frame()
            back_s.append((again["received_ns"] - stalled["received_ns"]) / 1e9)
        print(
            f"{STALLS} stalls: reported after {statistics.median(reported_s):.2f} s (worst"
            f" {max(reported_s):.2f}), frames again after {statistics.median(back_s):.2f} s more"
            f" (worst {max(back_s):.2f})"
        )
        assert max(reported_s) < 2.0
        assert max(back_s) < 10.0
        assert daemon.events("worker_lost") == []
        assert len(daemon.events("camera_opened")) == 1
        numbered = [m["frame"]["index"] for m in daemon.frames]
        assert numbered == sorted(set(numbered))
        assert manager.longest_without_food_s() < WATCHDOG_S


def test_a_camera_that_is_silent_from_the_start_is_declared_absent(
    tmp_path: Path, hardware: Hardware
) -> None:
    hardware.set(silent=True)
    with running(tmp_path, hardware) as (daemon, manager):
        absent = daemon.wait_for(state_is("absent"))
        assert "it opens, but no frame" in absent["detail"]["reason"]
        daemon.wait_for(status_is("absent"))
        worker = daemon.worker_pid()
        stay(daemon, 12.0)
        assert manager.is_ready
        assert manager.longest_without_food_s() < WATCHDOG_S
        assert daemon.worker_pid() == worker
        assert daemon.events("worker_lost") == []
        assert len(daemon.events("source_state")) == 1
        hardware.set(silent=False)
        daemon.wait_for_frame()


def test_a_camera_whose_opening_hangs_is_declared_absent(
    tmp_path: Path, hardware: Hardware
) -> None:
    hardware.set(opening_hangs=True)
    with running(tmp_path, hardware) as (daemon, manager):
        absent = daemon.wait_for(state_is("absent"))
        assert "opening it has not returned" in absent["detail"]["reason"]
        lost = daemon.wait_for(lambda m: m.get("event") == "worker_lost")
        assert lost["detail"]["reason"] == "stuck"
        assert manager.is_ready
        daemon.wait_for(lambda m: m.get("event") == "worker_lost")
        hardware.set(opening_hangs=False)
        daemon.wait_for_frame()
        is_one_absence(daemon, since=absent)
        assert manager.longest_without_food_s() < WATCHDOG_S


@pytest.mark.parametrize(
    ("fault", "reason"),
    [({"opening_holds_lock_s": 1000}, "silent"), ({"opening_crashes": True}, "died")],
    ids=["hangs with the lock", "crashes"],
)
def test_a_camera_whose_opening_ends_every_worker_is_one_absence(
    tmp_path: Path, hardware: Hardware, fault: dict[str, Any], reason: str
) -> None:
    """Such a worker cannot report anything: the hub declares the absence."""
    hardware.set(**fault)
    with running(tmp_path, hardware) as (daemon, manager):
        absent = daemon.wait_for(state_is("absent"))
        assert absent["detail"]["reason"].endswith(f"lost while it opened the source: {reason}")
        for _ in range(2):
            daemon.wait_for(lambda m: m.get("event") == "worker_lost")
        assert manager.is_ready
        hardware.set(**dict.fromkeys(fault, 0))
        daemon.wait_for_frame()
        is_one_absence(daemon, since=absent)
        lost = daemon.events("worker_lost")
        assert {event["detail"]["reason"] for event in lost} == {reason}
        assert len(daemon.events("worker_started")) == len(lost) + 1
        assert manager.longest_without_food_s() < WATCHDOG_S


def test_a_slow_opening_that_keeps_the_lock_is_waited_for(
    tmp_path: Path, hardware: Hardware
) -> None:
    hardware.set(opening_holds_lock_s=int(supervising.SILENT_S) + 2)
    with running(tmp_path, hardware) as (daemon, _):
        daemon.wait_for_frame()
        assert daemon.events("worker_lost") == []


def test_every_loss_after_a_renewal_is_followed_by_a_start(
    tmp_path: Path, hardware: Hardware
) -> None:
    hardware.set(cameras=[])
    with running(tmp_path, hardware) as (daemon, _):
        daemon.wait_for(state_is("absent"))
        while len(hardware.log("look for cameras")) < 2:  # the second worker was asked for
            daemon.receive(0.2)
        hardware.set(cameras=["imx219"], opening_crashes=True)
        for _ in range(3):
            daemon.wait_for(lambda m: m.get("event") == "worker_lost")
        hardware.set(opening_crashes=False)
        daemon.wait_for_frame()
        named = [m["event"] for m in daemon.messages if m["kind"] == "event"]
        workers = [name for name in named if name in ("worker_lost", "worker_started")]
        assert workers[0] == "worker_started"
        assert workers[1:] == ["worker_lost", "worker_started"] * (len(workers) // 2)


@pytest.mark.parametrize("fault", ["requeueing_fails", "timeless"])
def test_a_frame_that_cannot_be_used_or_given_back_is_a_stall(
    tmp_path: Path, hardware: Hardware, fault: str
) -> None:
    with running(tmp_path, hardware) as (daemon, _):
        daemon.wait_for_frame()
        hardware.set(**{fault: True})
        stalled = daemon.wait_for(state_is("stalled"))
        assert "opened again" in stalled["detail"]["reason"]
        hardware.set(**{fault: False})
        daemon.wait_for_frame()
        assert daemon.events("worker_lost") == []


def test_a_stack_that_takes_long_to_import_is_waited_for(
    tmp_path: Path, hardware: Hardware
) -> None:
    """On a cold card importing may take longer than a driver may take to open a camera."""
    slow = tmp_path / "slow"
    slow.mkdir()
    seconds = supervising.CAPTURE_STUCK_S + 1
    (slow / "prctl.py").write_text(f"import time\ntime.sleep({seconds})\n")  # picamera2 imports it
    hardware.environment["PYTHONPATH"] = f"{slow}:{hardware.environment['PYTHONPATH']}"
    with running(tmp_path, hardware) as (daemon, _):
        daemon.wait_for_frame()
        assert daemon.events("worker_lost") == []
        assert [event["detail"]["state"] for event in daemon.events("source_state")] == ["running"]


def test_a_stop_while_the_camera_is_silent(tmp_path: Path, hardware: Hardware) -> None:
    with running(tmp_path, hardware) as (daemon, _):
        daemon.wait_for_frame()
        hardware.set(silent=True)
        daemon.wait_for(state_is("stalled"))
        code, took_s = daemon.stop()
        assert (code, took_s < 5.0) == (0, True)


def test_a_camera_that_cannot_be_closed_is_left_to_a_new_worker(
    tmp_path: Path, hardware: Hardware
) -> None:
    with running(tmp_path, hardware) as (daemon, manager):
        daemon.wait_for_frame()
        hardware.set(silent=True, stop_hangs=True)
        stalled = daemon.wait_for(state_is("stalled"))
        lost = daemon.wait_for(lambda m: m.get("event") == "worker_lost")
        assert lost["detail"]["reason"] == "stuck"
        late_s = (lost["received_ns"] - stalled["received_ns"]) / 1e9
        assert late_s < supervising.CAPTURE_STUCK_S + 2
        hardware.set(silent=False, stop_hangs=False)
        daemon.wait_for_frame()
        assert manager.longest_without_food_s() < WATCHDOG_S


def test_a_busy_camera_is_named_and_taken_when_it_is_free(
    tmp_path: Path, hardware: Hardware
) -> None:
    hardware.set(busy=True)
    with running(tmp_path, hardware) as (daemon, manager):
        absent = daemon.wait_for(state_is("absent"))
        assert "Device or resource busy" in absent["detail"]["reason"]
        while len(hardware.log("busy")) < 8:  # more than one worker tries
            daemon.receive(0.2)
        assert manager.is_ready
        assert manager.longest_without_food_s() < WATCHDOG_S
        assert len(daemon.events("source_state")) == 1
        status = daemon.wait_for(status_is("absent"))
        assert "restarts" not in status["health"]["reasons"]
        assert (status["worker_restarts"], daemon.events("worker_lost")) == (0, [])
        assert len(daemon.events("worker_started")) == 1
        assert daemon.stderr.count("sequence did not complete") < 4, "not at each try"
        hardware.set(busy=False)
        daemon.wait_for_frame()
        assert [event["detail"]["state"] for event in daemon.events("source_state")] == [
            "absent",
            "running",
        ]


def test_a_camera_that_appears_later_in_the_boot_is_found_by_a_new_worker(
    tmp_path: Path, hardware: Hardware
) -> None:
    """A process keeps what libcamera and picamera2 found when they were first asked."""
    hardware.set(cameras=[])
    with running(tmp_path, hardware) as (daemon, manager):
        absent = daemon.wait_for(state_is("absent"))
        assert "no Pi camera is connected" in absent["detail"]["reason"]
        hardware.set(cameras=["imx708_noir"])
        daemon.wait_for_frame()
        assert len(hardware.log("look for cameras")) >= 2
        assert daemon.events("worker_lost") == []
        assert manager.longest_without_food_s() < WATCHDOG_S


def run_with(hardware: Hardware) -> Any:
    environment = {**hardware.environment, "AFFECT_EDGE__METRICS__ADDRESS": ""}
    endpoint = ("--set", 'publish.endpoint="tcp://127.0.0.1:*"')
    return affect_edge("run", "--source", "picamera", *PURPOSE, *endpoint, environment=environment)


def test_a_version_that_is_too_old_is_refused_by_name(tmp_path: Path) -> None:
    assert TOO_OLD is not None
    done = run_with(Hardware(tmp_path / "hardware.json", TOO_OLD))
    version = TOO_OLD.name.removeprefix("picamera2-")
    assert done.returncode == 78
    line = done.stderr.splitlines()[-1]
    assert f"picamera2 {version} is too old; expected picamera2 0.3.21 or newer" in line
    assert "full-upgrade" in line
    assert "Traceback" not in done.stderr


def test_a_simplejpeg_for_another_numpy_is_refused_with_the_remedy(
    tmp_path: Path, hardware: Hardware
) -> None:
    broken = tmp_path / "dist-packages" / "simplejpeg"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text(
        "raise ValueError('numpy.dtype size changed, may indicate binary incompatibility')\n"
    )
    hardware.environment["PYTHONPATH"] = f"{broken.parent}:{hardware.environment['PYTHONPATH']}"
    done = run_with(hardware)
    assert done.returncode == 78
    assert "pip install 'simplejpeg>=1.9'" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_control_that_the_camera_lacks_ends_the_daemon_with_one_line(
    tmp_path: Path, hardware: Hardware
) -> None:
    hardware.environment["AFFECT_EDGE__SOURCE__FOCUS"] = "continuous"
    done = run_with(hardware)
    assert done.returncode == 78
    assert "source.focus: camera 0 does not have the control AfMode" in done.stderr
    assert "Traceback" not in done.stderr
