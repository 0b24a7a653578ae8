"""Where the hub's sockets can be bound: real paths, real daemons."""

import multiprocessing
import multiprocessing.synchronize
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from edge.errors import ConfigError
from edge.hub.sockets import bind
from tests.support.daemons import ROOT, RunningDaemon, affect_edge
from tests.support.ports import free_port
from tests.support.waiting import HANG_S

Context = zmq.Context["zmq.Socket[bytes]"]
KEY = "publish.endpoint"


class Binder:
    """Binds sockets and keeps them open."""

    def __init__(self) -> None:
        self._context: Context = zmq.Context()
        self._sockets: list[zmq.Socket[bytes]] = []

    def bind(self, endpoint: str) -> str:
        self._sockets.append(self._context.socket(zmq.XPUB))
        return bind(self._sockets[-1], endpoint, key=KEY, high_water=10)

    def close(self) -> None:
        self._context.destroy(linger=0)


@pytest.fixture
def binder() -> Iterator[Binder]:
    made = Binder()
    yield made
    made.close()


def test_a_second_daemon_leaves_the_first_ones_sockets_alone(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, "--source", "demo", "--set", "source.repeat=0") as first:
        first.wait_for_frame()
        for publish, service in ((first.endpoint, ""), (f"ipc://{tmp_path}/other", first.service)):
            second = affect_edge(
                *("run", "--source", "demo", "--set", 'metrics.address=""'),
                *("--set", f'publish.endpoint="{publish}"'),
                *("--set", f'publish.service_endpoint="{service}"'),
            )
            (line,) = [each for each in second.stderr.splitlines() if "INFO" not in each]
            assert second.returncode == 78
            assert f"'{service or publish}': Address already in use; stop the process" in line
        marked = affect_edge("mark", "still there", "--service", first.service)
        assert marked.returncode == 0, marked.stderr
        first.wait_for(lambda m: m.get("event") == "mark")


def test_the_socket_of_a_killed_daemon_is_replaced(binder: Binder, tmp_path: Path) -> None:
    path = tmp_path / "live"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))  # the file stays, and nobody listens
    assert binder.bind(f"ipc://{path}") == f"ipc://{path}"


def identity(path: Path) -> tuple[int, ...]:
    """Return what shows that nobody touched a file; without its last access, which may be ours."""
    at = path.lstat()
    return at.st_dev, at.st_ino, at.st_mode, at.st_size, at.st_mtime_ns


@pytest.mark.parametrize("kind", ["file", "folder", "datagram", "busy"])
def test_what_is_at_the_path_stays_there(binder: Binder, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "taken"
    with socket.socket(
        socket.AF_UNIX, socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM
    ) as other:
        match kind:
            case "file":
                path.write_text("mine")
            case "folder":
                path.mkdir()
            case "datagram":
                other.bind(str(path))
            case "busy":  # its queue of connections is full
                other.bind(str(path))
                other.listen(0)
                waiting = socket.socket(socket.AF_UNIX)
                waiting.connect(str(path))
        before = identity(path)
        with pytest.raises(ConfigError, match=r"in use|no socket") as caught:
            binder.bind(f"ipc://{path}")
        assert str(caught.value).count(str(path)) == 1
        assert identity(path) == before
        if kind == "busy":
            waiting.close()


def start(path: str, barrier: multiprocessing.synchronize.Barrier, results: object) -> None:
    """Bind at the same moment as the others, and keep the socket until all have tried."""
    binder = Binder()
    barrier.wait(HANG_S)
    try:
        binder.bind(f"ipc://{path}")
        results.put("bound")  # type: ignore[attr-defined]
    except ConfigError:
        results.put("refused")  # type: ignore[attr-defined]
    barrier.wait(HANG_S)
    binder.close()


def test_of_daemons_that_start_together_one_binds(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier, results = spawn.Barrier(4), spawn.Queue()
    processes = [
        spawn.Process(target=start, args=(str(tmp_path / "live"), barrier, results))
        for _ in range(4)
    ]
    for each in processes:
        each.start()
    outcomes = sorted(results.get(timeout=HANG_S) for _ in processes)
    for each in processes:
        each.join(HANG_S)
    assert outcomes == ["bound", "refused", "refused", "refused"]


@pytest.mark.parametrize("host", ["[::1]", "127.0.0.1", "localhost"])
def test_every_loopback_address_can_be_bound(binder: Binder, host: str) -> None:
    endpoint = binder.bind(f"tcp://{host}:*")
    assert endpoint.startswith("tcp://" + host.replace("localhost", "127.0.0.1"))
    with pytest.raises(ConfigError) as caught:
        binder.bind(endpoint)
    assert str(caught.value) == (
        f"{KEY} {endpoint!r}: Address already in use; stop the process that uses it, or choose"
        " another endpoint"
    )


def test_clients_reach_a_daemon_over_ipv6(tmp_path: Path) -> None:
    endpoint, service = (f"tcp://[::1]:{free_port('::1')}" for _ in range(2))
    settings = (
        *("--set", "source.repeat=0", "--set", 'metrics.address=""'),
        *("--set", f'publish.endpoint="{endpoint}"'),
        *("--set", f'publish.service_endpoint="{service}"'),
    )
    with subprocess.Popen(
        [sys.executable, "-m", "edge", "run", "--source", "demo", *settings], cwd=ROOT
    ) as daemon:
        try:
            seen = affect_edge("tail", "--connect", endpoint, "--limit", "1")
            assert (seen.returncode, bool(seen.stdout)) == (0, True), seen.stderr
            assert affect_edge("mark", "here", "--service", service).returncode == 0
        finally:
            daemon.terminate()
            assert daemon.wait(HANG_S) == 0
