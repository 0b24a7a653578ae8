"""What the service manager gets from the daemon, from the first datagram to the last."""

import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import PURPOSE, RunningDaemon
from tests.support.hooks import held_at_start
from tests.support.left_files import content_of
from tests.support.synthetic_daemon import SYNTHETIC
from tests.support.terminals import WITHOUT_TERMINAL
from tests.support.waiting import HANG_S, wait_until

WORKER = "tests.support.synthetic_worker"
LIVE = ("--source", "/dev/video0", *PURPOSE)

GOLDEN = [
    "EXTEND_TIMEOUT_USEC=...",
    "READY=1",
    "RELOADING=1 MONOTONIC_USEC=...",
    "READY=1",
    "STOPPING=1",
]
"""Without ``STATUS`` and ``WATCHDOG=1``, whose times differ from run to run."""

STATUS = re.compile(
    r"STATUS=(excellent|fair|poor|unusable), source (starting|running),"
    r" [0-9.]+ frames/s, [0-9]+ dropped"
)


class Manager:
    """The service manager's end of the socket, and when each datagram came."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.received: list[tuple[float, str]] = []

    def read(self, timeout_s: float) -> str:
        """Return the next datagram, whose lines are joined by spaces; empty if none comes."""
        self._socket.settimeout(timeout_s)
        try:
            text = " ".join(self._socket.recv(4096).decode().splitlines())
        except TimeoutError:
            return ""
        self.received.append((time.monotonic(), text))
        return text

    def wait_for(self, start: str) -> None:
        """Read until a datagram begins with ``start``."""
        deadline = time.monotonic() + HANG_S
        while not self.read(1.0).startswith(start):
            assert time.monotonic() < deadline, self.received

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


def environment(tmp_path: Path, watchdog_s: float) -> dict[str, str]:
    notify = str(tmp_path / "notify")
    return {"NOTIFY_SOCKET": notify, "WATCHDOG_USEC": f"{watchdog_s * 1e6:.0f}"}


def live_daemon(folder: Path, **more: str) -> RunningDaemon:
    """Return a daemon with an invented camera, which SIGHUP reloads, to be used with ``with``."""
    return RunningDaemon(
        folder, *LIVE, module=SYNTHETIC, environment={**environment(folder, 15), **more},
        python=(*WITHOUT_TERMINAL, sys.executable),
    )  # fmt: skip


def worker_is_started(daemon: RunningDaemon) -> bool:
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children")
    return any(
        WORKER.encode() in content_of(Path(f"/proc/{pid}/cmdline"))
        for pid in children.read_text().split()
    )


def test_the_transcript_of_a_run_with_a_reload_is_the_golden_one(
    tmp_path: Path, manager: Manager
) -> None:
    with live_daemon(tmp_path) as daemon:
        manager.wait_for("READY=1")
        manager.wait_for("STATUS=")
        before_us = time.monotonic_ns() // 1000
        daemon.process.send_signal(signal.SIGHUP)
        manager.wait_for("READY=1")
        after_us = time.monotonic_ns() // 1000
        manager.wait_for("WATCHDOG=1")
        assert daemon.stop()[0] == 0
        while manager.read(0.2):
            pass
    texts = [text for _, text in manager.received]
    assert STATUS.fullmatch(texts[1])
    rare = [text for text in texts if not STATUS.fullmatch(text) and text != "WATCHDOG=1"]
    assert [re.sub(r"(?<=USEC=)\d+", "...", text) for text in rare] == GOLDEN
    assert before_us <= int(rare[2].rpartition("=")[2]) <= after_us
    after = texts[texts.index("STOPPING=1") + 1 :]
    assert all(STATUS.fullmatch(text) for text in after)
    first_s, last_s = manager.received[0][0], manager.received[-1][0]
    # one STATUS a second, and what belongs to a start, a reload and a stop
    assert len(texts) <= 2 * (last_s - first_s) + 5


def test_a_reload_before_the_first_result_does_not_end_the_start(
    tmp_path: Path, manager: Manager
) -> None:
    """READY=1, which ends a reload, ended the start, too."""
    held = tmp_path / "held"
    held.touch()
    with live_daemon(tmp_path, **held_at_start(tmp_path, WORKER, held)) as daemon:
        wait_until(lambda: worker_is_started(daemon))
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "nothing to reload" in daemon.stderr)
        held.unlink()
        manager.wait_for("READY=1")
        assert daemon.stop()[0] == 0
    texts = [text for _, text in manager.received]
    assert not [text for text in texts if text.startswith("RELOADING")]
    assert texts.count("READY=1") == 1
