"""The daemon when the system gives it no process, no file descriptor, or no /proc."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from edge.config import Config
from edge.hub import supervisor as supervising
from edge.hub.supervisor import Supervisor
from tests.support.daemons import RunningDaemon
from tests.support.waiting import HANG_S

DEMO = ("--source", "demo", "--wait-for-subscriber")
LIVE = (*DEMO, "--set", "source.repeat=0")
WITHOUT_PROC = ("unshare", "--map-root-user", "--mount", "sh", "-c",
                'mount -t tmpfs none /proc && exec "$@"', "sh")  # fmt: skip


@pytest.fixture
def python(tmp_path: Path) -> Iterator[Path]:
    """An interpreter that can be taken away, as an update of the environment does."""
    link = tmp_path / "python"
    link.symlink_to(Path(sys.executable).resolve())
    yield link
    link.unlink(missing_ok=True)


def no_descriptors(daemon: RunningDaemon, _python: Path) -> Callable[[], object]:
    pid = daemon.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (8, before[1]))
    return lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def no_program(_daemon: RunningDaemon, python: Path) -> Callable[[], object]:
    target = python.readlink()
    python.unlink()
    return lambda: python.symlink_to(target)


@pytest.mark.parametrize(
    ("take_away", "text"),
    [(no_descriptors, "Too many open files"), (no_program, "No such file or directory")],
)
def test_a_worker_that_cannot_be_started_is_tried_again(
    take_away: Callable[[RunningDaemon, Path], Callable[[], object]],
    text: str,
    python: Path,
    tmp_path: Path,
) -> None:
    environment = {"PYTHONPATH": os.pathsep.join([*filter(None, sys.path)])}
    with RunningDaemon(tmp_path, *LIVE, python=[str(python)], environment=environment) as daemon:
        daemon.wait_for(lambda m: m["kind"] == "frame" and m["frame"]["index"] >= 10)
        worker = daemon.worker_pid()
        give_back = take_away(daemon, python)
        os.kill(worker, signal.SIGKILL)
        reasons = [
            daemon.wait_for(lambda m: m.get("event") == "worker_lost")["detail"]["reason"]
            for _ in range(3)
        ]
        assert reasons == ["died", "not_started", "not_started"]
        daemon.wait_for(lambda m: m["kind"] == "status")
        give_back()
        daemon.wait_for_frame()
        assert daemon.stop()[0] == 0
        numbered = [message for message in daemon.messages if "seq" in message]
        assert numbered[-1].get("event") == "epoch_ended"
        assert f"no worker can be started: {text}\n" in daemon.stderr
        assert "Traceback" not in daemon.stderr


def test_a_start_that_fails_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = Supervisor(Config(), lossless=False)
    monkeypatch.setattr(supervising, "WORKER_COMMAND", ("/nowhere/python",))
    before = os.listdir("/proc/self/fd")
    assert supervisor.start(0, 1) == "No such file or directory"
    assert (supervisor.link, supervisor.pid) == (None, None)
    assert os.listdir("/proc/self/fd") == before
    supervisor.lose()
    assert supervisor.restarts == 1


def test_subscribers_beyond_a_soft_limit_of_descriptors_are_served(tmp_path: Path) -> None:
    _, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= maximum < 1024:
        pytest.skip("this system allows fewer than 1024 open files")
    python = ["sh", "-c", 'ulimit -S -n 64 && exec "$@"', "sh", sys.executable]
    with RunningDaemon(tmp_path, *LIVE, python=python) as daemon:
        daemon.wait_for_frame()
        context = zmq.Context()
        sockets = [context.socket(zmq.SUB) for _ in range(80)]
        for each in sockets:
            each.subscribe("")
            each.connect(daemon.endpoint)
        assert all(each.poll(round(HANG_S * 1e3)) for each in sockets)
        context.destroy(linger=0)
        assert daemon.stop()[0] == 0


def test_the_daemon_runs_without_proc(tmp_path: Path) -> None:
    if subprocess.run([*WITHOUT_PROC, "true"], check=False).returncode != 0:
        pytest.skip("this user may not mount a file system over /proc")
    python = [*WITHOUT_PROC, sys.executable]
    with RunningDaemon(tmp_path, *DEMO, "--no-pace", python=python) as daemon:
        assert daemon.run_to_end() == 0
        assert daemon.events("epoch_started")[0]["detail"]["boot_id"] is None
        assert "Traceback" not in daemon.stderr
