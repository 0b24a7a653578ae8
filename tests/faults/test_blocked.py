"""Every loop of the daemon blocked in turn: it is noticed, and something else goes on.

Recovery within 10 s is the promise; the figures are printed (pytest -rP).
"""

import itertools
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.support.daemons import Message, RunningDaemon
from tests.support.hooks import blocked_stage

pytestmark = pytest.mark.stage

SECOND_NS = 1_000_000_000
STAGES = {"capture": 10.0, "detect": 3.0, "classify": 3.0}
"""Stage -> seconds after which the hub replaces the worker."""


@pytest.mark.parametrize("stage", STAGES)
def test_a_blocked_stage_of_the_worker_is_replaced(tmp_path: Path, stage: str) -> None:
    marker = tmp_path / "blocked"
    environment = blocked_stage(tmp_path, stage, marker)
    with RunningDaemon(tmp_path, "--source", "demo", environment=environment) as daemon:
        daemon.wait_for_frame()
        since_ns = time.monotonic_ns()
        marker.touch()
        lost = daemon.wait_for(lambda m: m.get("event") == "worker_lost", 20)
        assert lost["detail"]["reason"] == "stuck"
        noticed_s = (lost["received_ns"] - since_ns) / 1e9
        assert noticed_s < STAGES[stage] + 2
        marker.unlink()
        again = daemon.wait_for_frame()
        took_s = (again["received_ns"] - lost["received_ns"]) / 1e9
        print(f"{stage}: noticed after {noticed_s:.1f} s, frames {took_s:.1f} s later")
        assert took_s < 10
        statuses = [m for m in daemon.messages if m["kind"] == "status"]
        sent = [m["received_ns"] for m in statuses]
        gaps = [later - one for one, later in itertools.pairwise(sent)]
        assert max(gaps) < 3 * SECOND_NS, "the hub did not go on"


def notified(manager: socket.socket, seconds: float, daemon: RunningDaemon) -> list[str]:
    """Return the lines that the service manager gets in so many seconds."""
    lines: list[str] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        daemon.receive(0.05)
        try:
            lines += manager.recv(4096, socket.MSG_DONTWAIT).decode().splitlines()
        except BlockingIOError:
            continue
    return lines


def test_a_blocked_hub_feeds_no_watchdog_and_a_free_one_does_again(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"}
        arguments = ("--source", "demo")
        with RunningDaemon(tmp_path, *arguments, environment=environment) as daemon:
            daemon.wait_for_frame()
            assert notified(manager, 3, daemon).count("WATCHDOG=1") >= 2
            daemon.process.send_signal(signal.SIGSTOP)
            notified(manager, 0.5, daemon)
            assert notified(manager, 4, daemon) == []
            worker = daemon.worker_pid()
            daemon.process.send_signal(signal.SIGCONT)
            assert "WATCHDOG=1" in notified(manager, 4, daemon)
            assert daemon.worker_pid() == worker, "the worker was not at fault"


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_a_worker_that_dies_is_replaced_within_10_s_each_time(
    tmp_path: Path, number: signal.Signals
) -> None:
    def is_lost(message: Message) -> bool:
        return message.get("event") == "worker_lost"

    took = []
    with RunningDaemon(tmp_path, "--source", "demo", "--no-pace") as daemon:
        for _ in range(5):
            daemon.wait_for_frame()
            os.kill(daemon.worker_pid(), number)
            lost = daemon.wait_for(is_lost)
            again = daemon.wait_for_frame()
            took.append((again["received_ns"] - lost["received_ns"]) / 1e9)
            if again["frame"]["index"] > 250:
                break
    print(f"{number.name}: frames again after {max(took):.1f} s at most, {len(took)} times")
    assert max(took) < 10
