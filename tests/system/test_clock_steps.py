"""A wall clock that jumps: it is recorded, and nothing runs on it."""

import itertools
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import Message, RunningDaemon
from tests.support.hooks import shifted_wall_clock, write_whole

HOUR_NS = 3_600_000_000_000


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "notify"))
        bound.setblocking(False)
        yield bound


def received(manager: socket.socket) -> list[str]:
    lines: list[str] = []
    while True:
        try:
            lines += manager.recv(4096).decode().splitlines()
        except BlockingIOError:
            return lines


def stepped(message: Message) -> bool:
    return message.get("event") == "clock_step"


def test_jumps_of_hours_and_to_1970_are_events_and_nothing_else(
    tmp_path: Path, manager: socket.socket
) -> None:
    offset = tmp_path / "offset"
    write_whole(offset, "0")
    environment = {
        **shifted_wall_clock(tmp_path, offset),
        **{"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1500000"},
    }
    source = ("--source", "demo", "--wait-for-subscriber", "--set", "source.repeat=0")
    with RunningDaemon(tmp_path, *source, environment=environment) as daemon:
        daemon.wait_for_frame()
        worker = daemon.worker_pid()
        steps_ns = []
        received(manager)
        for shift_ns in (HOUR_NS, -HOUR_NS, -time.time_ns() + HOUR_NS):
            steps_ns.append(shift_ns - sum(steps_ns))
            write_whole(offset, str(shift_ns))
            event = daemon.wait_for(stepped)
            assert event["detail"]["step_ns"] == pytest.approx(steps_ns[-1], abs=60_000_000_000)
            daemon.wait_for_frame()
            fed: list[str] = []
            while "WATCHDOG=1" not in fed:  # the watchdog is fed on, whatever the wall clock says
                daemon.wait_for_frame()
                fed += received(manager)
        assert daemon.worker_pid() == worker
        assert daemon.stop()[0] == 0
        assert len(daemon.events("clock_step")) == 3
        assert daemon.events("worker_lost") == []
        numbered = [m["seq"] for m in daemon.messages if "seq" in m]
        assert numbered == list(range(len(numbered)))
        times = [m["time"]["sensor_ns"] for m in daemon.frames]
        assert all(later > earlier for earlier, later in itertools.pairwise(times))
        sent = [m["time"]["published_ns"] for m in daemon.frames]
        assert all(later > earlier for earlier, later in itertools.pairwise(sent))
