"""A peer that ends the daemon by a fault of libzmq: no message that was published is lost.

libzmq 4.3.5 aborts the process if a peer fills the queue of messages from it, sends heartbeats in
the same piece and goes (docs/decisions.md).
"""

import contextlib
import functools
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from tests.support.fleet import FleetDaemon
from tests.support.killed_system import Witness
from tests.support.ports import free_port
from tests.support.raw_peer import fill_ping_and_go
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stage, pytest.mark.timeout(900)]

ABORTS = 5
TRIES = 1000


@contextlib.contextmanager
def running(transport: str) -> Iterator[FleetDaemon]:
    """Start a daemon of 30 frames a second for a ``with`` block."""
    folder = Path(tempfile.mkdtemp(prefix="affect-edge-ping-"))  # short: it is in socket names
    ports = (free_port(), free_port()) if transport == "tcp" else None
    daemon = FleetDaemon(folder / "0", 0, 30.0, ports=ports)
    try:
        daemon.start()
        yield daemon
    finally:
        if daemon.process is not None and daemon.process.poll() is None:
            daemon.kill()
        shutil.rmtree(folder)


def abort(daemon: FleetDaemon, endpoint: str, kind: str) -> int:
    """Abort the daemon; return how many tries that took."""
    assert daemon.process is not None
    for number in range(1, TRIES + 1):
        with contextlib.suppress(OSError):
            fill_ping_and_go(endpoint, kind)
        with contextlib.suppress(subprocess.TimeoutExpired):
            assert daemon.process.wait(0.2) == -signal.SIGABRT, daemon.stderr[-2000:]
            return number
    if zmq.zmq_version_info() > (4, 3, 5):
        pytest.skip(f"libzmq {zmq.zmq_version()} survives it")
    raise AssertionError(f"not aborted in {TRIES} tries")


def has_published(witness: Witness, epoch: int) -> bool:
    """Return whether a second of the epoch was received."""
    return witness.devices.get("chamber-0", (0, 0)) > (epoch, 30)


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
@pytest.mark.parametrize("kind", ["SUB", "DEALER"])
def test_an_aborted_daemon_has_every_message_that_it_published(
    kind: str, transport: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(transport) as daemon:
        witness = Witness([daemon.endpoint])
        try:
            tries = []
            for epoch in range(1, ABORTS + 1):
                wait_until(functools.partial(has_published, witness, epoch), timeout_s=60)
                endpoint = daemon.endpoint if kind == "SUB" else daemon.service
                tries.append(abort(daemon, endpoint, kind))
                daemon.start()  # as its supervisor does
            _, epoch, seq = daemon.newest()
            stored = daemon.journaled((epoch, seq))
        finally:
            witness.close()
        seen = {each[1:] for each in witness.seen if each[1:] <= (epoch, seq)}
        assert epoch == ABORTS + 1
        assert len({each[0] for each in witness.seen}) == 1, "it is one stream"
        assert seen - stored == set()
        with capsys.disabled():
            print(
                f"\n{transport} {kind}: {ABORTS} aborts in {tries} tries; of {len(seen)} messages"
                f" that were received, {len(seen - stored)} are missing"
            )
