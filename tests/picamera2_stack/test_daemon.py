"""The daemon with the camera source over the real picamera2, with a service manager's socket."""

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
    """The service manager's end of the notify socket; keeps the lines and their times."""

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

    def longest_watchdog_gap_s(self) -> float:
        """Return the longest time from one WATCHDOG=1 to the next, or to now."""
        times = [at_s for at_s, line in list(self._lines) if line == "WATCHDOG=1"]
        times.append(time.monotonic())
        return max(later - earlier for earlier, later in itertools.pairwise(times))


@contextmanager
def running(
    folder: Path, hardware: Hardware, *settings: str
) -> Iterator[tuple[RunningDaemon, Manager]]:
    """Run the daemon under a service manager with a watchdog of ``WATCHDOG_S``."""
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


def source_states(daemon: RunningDaemon) -> list[str]:
    """Return the states of the ``source_state`` events received so far."""
    return [event["detail"]["state"] for event in daemon.events("source_state")]


def wait_for_absence(daemon: RunningDaemon, reason: str) -> Message:
    """Return the event that declares the source absent; fail unless it gives this reason."""
    absent = daemon.wait_for(state_is("absent"))
    assert reason in absent["detail"]["reason"]
    return absent


def wait_for_loss(daemon: RunningDaemon) -> Message:
    """Return the next event ``worker_lost``."""
    return daemon.wait_for(lambda message: message.get("event") == "worker_lost")


def assert_one_absence(daemon: RunningDaemon, absent: Message) -> None:
    """Check that ``absent`` is the only absence, and that it ended with the first frame."""
    assert source_states(daemon) == ["absent", "running"]
    running_again = daemon.events("source_state")[-1]
    outage = daemon.messages[daemon.messages.index(absent) : daemon.messages.index(running_again)]
    statuses = [message for message in outage if message["kind"] == "status"]
    assert statuses
    for status in statuses:
        assert (status["source_state"], status["health"]["grade"]) == ("absent", "unusable")


def receive_for(daemon: RunningDaemon, seconds: float) -> None:
    """Receive messages for some seconds."""
    deadline = time.monotonic() + seconds
    while (left_s := deadline - time.monotonic()) > 0:
        daemon.receive(left_s)


def test_a_camera_is_opened_read_and_reported(tmp_path: Path, hardware: Hardware) -> None:
    with running(tmp_path, hardware) as (daemon, manager):
        for _ in range(30):
            daemon.wait_for_frame()
        assert manager.is_ready
        (opened,) = daemon.events("camera_opened")
        assert opened["detail"]["sensor_mode"] == "1640x1232"
        assert opened["detail"]["seen_width"] == 1.0
        assert STACK is not None
        assert STACK.name.endswith(opened["detail"]["picamera2"])
        assert "camera opened: camera 0, model imx219" in daemon.stderr
        code, took_s = daemon.stop()
        assert (code, took_s < 3.0) == (0, True)
    assert [len(hardware.log(what)) for what in ("start", "stop", "release")] == [1, 1, 1]


def test_the_camera_delivers_every_rate(tmp_path: Path) -> None:
    """One daemon per rate, all at once, because low rates need time."""
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
            assert source_states(daemon) == ["running"]
            assert daemon.events("worker_lost") == []
            assert manager.is_ready
            assert manager.longest_watchdog_gap_s() < WATCHDOG_S
            if rate_hz <= 2.0:  # the load of the others may slow higher rates
                reasons = [m["health"]["reasons"] for m in daemon.messages if m["kind"] == "status"]
                assert not {"rate", "no_frames"} & {each for row in reasons for each in row}
            code, took_s = daemon.stop()
            assert (code, took_s < 3.0) == (0, True)


def test_a_stall_is_reported_within_2_s_and_ends_within_10_s(
    tmp_path: Path, hardware: Hardware
) -> None:
    reported_s, recovered_s = [], []
    with running(tmp_path, hardware) as (daemon, manager):
        for _ in range(STALLS):
            daemon.wait_for_frame()
            hardware.set(silent=True)
            stalled = daemon.wait_for(state_is("stalled"))
            frames = daemon.frames
            reported_s.append((stalled["received_ns"] - frames[-1]["received_ns"]) / 1e9)
            hardware.set(silent=False)
            frame = daemon.wait_for_frame()
            recovered_s.append((frame["received_ns"] - stalled["received_ns"]) / 1e9)
        print(
            f"{STALLS} stalls: reported after {statistics.median(reported_s):.2f} s (worst"
            f" {max(reported_s):.2f}), frames again {statistics.median(recovered_s):.2f} s later"
            f" (worst {max(recovered_s):.2f})"
        )
        assert max(reported_s) < 2.0
        assert max(recovered_s) < 10.0
        assert daemon.events("worker_lost") == []
        assert len(daemon.events("camera_opened")) == 1
        indices = [m["frame"]["index"] for m in daemon.frames]
        assert indices == sorted(set(indices))
        assert manager.longest_watchdog_gap_s() < WATCHDOG_S


def test_a_camera_that_never_delivers_is_absent(tmp_path: Path, hardware: Hardware) -> None:
    hardware.set(silent=True)
    with running(tmp_path, hardware) as (daemon, manager):
        wait_for_absence(daemon, "it opens, but no frame")
        daemon.wait_for(status_is("absent"))
        worker = daemon.worker_pid()
        receive_for(daemon, 12.0)
        assert manager.is_ready
        assert manager.longest_watchdog_gap_s() < WATCHDOG_S
        assert daemon.worker_pid() == worker
        assert daemon.events("worker_lost") == []
        assert len(daemon.events("source_state")) == 1
        hardware.set(silent=False)
        daemon.wait_for_frame()


def test_a_camera_whose_opening_hangs_is_absent(tmp_path: Path, hardware: Hardware) -> None:
    hardware.set(opening_hangs=True)
    with running(tmp_path, hardware) as (daemon, manager):
        absent = wait_for_absence(daemon, "opening it has not returned")
        lost = wait_for_loss(daemon)
        assert lost["detail"]["reason"] == "stuck"
        assert manager.is_ready
        wait_for_loss(daemon)
        hardware.set(opening_hangs=False)
        daemon.wait_for_frame()
        assert_one_absence(daemon, absent)
        assert manager.longest_watchdog_gap_s() < WATCHDOG_S


@pytest.mark.parametrize(
    ("fault", "reason"),
    [({"opening_holds_lock_s": 1000}, "silent"), ({"opening_crashes": True}, "died")],
    ids=["hangs with Python's lock", "crashes"],
)
def test_workers_lost_while_opening_are_one_absence(
    tmp_path: Path, hardware: Hardware, fault: dict[str, Any], reason: str
) -> None:
    """Such a worker cannot report anything, so the hub declares the absence."""
    hardware.set(**fault)
    with running(tmp_path, hardware) as (daemon, manager):
        absent = wait_for_absence(daemon, f"lost while it opened the source: {reason}")
        for _ in range(2):
            wait_for_loss(daemon)
        assert manager.is_ready
        hardware.set(**dict.fromkeys(fault, 0))
        daemon.wait_for_frame()
        assert_one_absence(daemon, absent)
        lost = daemon.events("worker_lost")
        assert {event["detail"]["reason"] for event in lost} == {reason}
        assert len(daemon.events("worker_started")) == len(lost) + 1
        assert manager.longest_watchdog_gap_s() < WATCHDOG_S


def test_a_slow_opening_that_holds_pythons_lock_is_waited_for(
    tmp_path: Path, hardware: Hardware
) -> None:
    hardware.set(opening_holds_lock_s=int(supervising.SILENT_S) + 2)
    with running(tmp_path, hardware) as (daemon, _):
        daemon.wait_for_frame()
        assert daemon.events("worker_lost") == []


def test_every_lost_worker_after_a_new_process_is_replaced(
    tmp_path: Path, hardware: Hardware
) -> None:
    hardware.set(cameras=[])
    with running(tmp_path, hardware) as (daemon, _):
        daemon.wait_for(state_is("absent"))
        while len(hardware.log("look for cameras")) < 2:  # by the second worker
            daemon.receive(0.2)
        hardware.set(cameras=["imx219"], opening_crashes=True)
        for _ in range(3):
            wait_for_loss(daemon)
        hardware.set(opening_crashes=False)
        daemon.wait_for_frame()
        events = [m["event"] for m in daemon.messages if m["kind"] == "event"]
        workers = [name for name in events if name in ("worker_lost", "worker_started")]
        assert workers[0] == "worker_started"
        assert workers[1:] == ["worker_lost", "worker_started"] * (len(workers) // 2)


@pytest.mark.parametrize("fault", ["requeueing_fails", "timeless"])
def test_a_frame_that_cannot_be_used_or_released_is_a_stall(
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


def test_a_slow_import_of_the_camera_stack_is_waited_for(
    tmp_path: Path, hardware: Hardware
) -> None:
    """With a cold file cache the import may exceed the time limit of opening a camera."""
    slow = tmp_path / "slow"
    slow.mkdir()
    seconds = supervising.CAPTURE_STUCK_S + 1
    (slow / "prctl.py").write_text(f"import time\ntime.sleep({seconds})\n")  # picamera2 imports it
    hardware.environment["PYTHONPATH"] = f"{slow}:{hardware.environment['PYTHONPATH']}"
    with running(tmp_path, hardware) as (daemon, _):
        daemon.wait_for_frame()
        assert daemon.events("worker_lost") == []
        assert source_states(daemon) == ["running"]


def test_a_stop_during_a_stall(tmp_path: Path, hardware: Hardware) -> None:
    with running(tmp_path, hardware) as (daemon, _):
        daemon.wait_for_frame()
        hardware.set(silent=True)
        daemon.wait_for(state_is("stalled"))
        code, took_s = daemon.stop()
        assert (code, took_s < 5.0) == (0, True)


def test_a_worker_that_cannot_close_the_camera_is_replaced(
    tmp_path: Path, hardware: Hardware
) -> None:
    with running(tmp_path, hardware) as (daemon, manager):
        daemon.wait_for_frame()
        hardware.set(silent=True, stop_hangs=True)
        stalled = daemon.wait_for(state_is("stalled"))
        lost = wait_for_loss(daemon)
        assert lost["detail"]["reason"] == "stuck"
        elapsed_s = (lost["received_ns"] - stalled["received_ns"]) / 1e9
        assert elapsed_s < supervising.CAPTURE_STUCK_S + 2
        hardware.set(silent=False, stop_hangs=False)
        daemon.wait_for_frame()
        assert manager.longest_watchdog_gap_s() < WATCHDOG_S


def test_a_busy_camera_is_reported_and_opened_when_it_is_free(
    tmp_path: Path, hardware: Hardware
) -> None:
    hardware.set(busy=True)
    with running(tmp_path, hardware) as (daemon, manager):
        wait_for_absence(daemon, "Device or resource busy")
        while len(hardware.log("busy")) < 8:  # more than one worker tries
            daemon.receive(0.2)
        assert manager.is_ready
        assert manager.longest_watchdog_gap_s() < WATCHDOG_S
        assert len(daemon.events("source_state")) == 1
        status = daemon.wait_for(status_is("absent"))
        assert "restarts" not in status["health"]["reasons"]
        assert (status["worker_restarts"], daemon.events("worker_lost")) == (0, [])
        assert len(daemon.events("worker_started")) == 1
        assert daemon.stderr.count("sequence did not complete") < 4, "logged at every attempt"
        hardware.set(busy=False)
        daemon.wait_for_frame()
        assert source_states(daemon) == ["absent", "running"]


def test_a_camera_that_appears_later_is_found_by_a_new_worker(
    tmp_path: Path, hardware: Hardware
) -> None:
    """libcamera and picamera2 list the cameras once per process."""
    hardware.set(cameras=[])
    with running(tmp_path, hardware) as (daemon, manager):
        wait_for_absence(daemon, "no Pi camera is connected")
        hardware.set(cameras=["imx708_noir"])
        daemon.wait_for_frame()
        assert len(hardware.log("look for cameras")) >= 2
        assert daemon.events("worker_lost") == []
        assert manager.longest_watchdog_gap_s() < WATCHDOG_S


def run_with(hardware: Hardware) -> Any:
    """Run a daemon that is expected to end by itself; return the finished process."""
    environment = {**hardware.environment, "AFFECT_EDGE__METRICS__ADDRESS": ""}
    endpoint = ("--set", 'publish.endpoint="tcp://127.0.0.1:*"')
    return affect_edge("run", "--source", "picamera", *PURPOSE, *endpoint, environment=environment)


def test_a_picamera2_that_is_too_old_is_refused(tmp_path: Path) -> None:
    assert TOO_OLD is not None
    done = run_with(Hardware(tmp_path / "hardware.json", TOO_OLD))
    version = TOO_OLD.name.removeprefix("picamera2-")
    assert done.returncode == 78
    line = done.stderr.splitlines()[-1]
    assert f"picamera2 {version} is too old; expected picamera2 0.3.21 or newer" in line
    assert "full-upgrade" in line
    assert "Traceback" not in done.stderr


def test_a_simplejpeg_for_another_numpy_is_refused_with_a_remedy(
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


def test_a_setting_that_the_camera_lacks_ends_the_daemon_with_one_line(
    tmp_path: Path, hardware: Hardware
) -> None:
    hardware.environment["AFFECT_EDGE__SOURCE__FOCUS"] = "continuous"
    done = run_with(hardware)
    assert done.returncode == 78
    assert "source.focus: camera 0 does not have the control AfMode" in done.stderr
    assert "Traceback" not in done.stderr
