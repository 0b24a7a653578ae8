"""``affect-edge demo`` in a real terminal, and killed."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from edge.tools.demo import watch
from tests.support.daemons import ROOT
from tests.support.waiting import HANG_S, wait_until


def run_in_terminal(keys: bytes, after: bytes, *arguments: str) -> tuple[int, str]:
    """Run a command, type ``keys`` when ``after`` is on the screen; return exit code and screen."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-m", "edge", *arguments])
    screen, typed, deadline = b"", False, time.monotonic() + HANG_S
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                got = os.read(terminal, 4096)
            except OSError:  # the last process closed it
                break
            screen += got
        if not typed and after in screen:
            os.write(terminal, keys)
            typed = True
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), screen.decode()


def test_ctrl_c_stops_the_demo_and_its_daemon_once() -> None:
    code, screen = run_in_terminal(b"\x03", b"source running", "demo")
    assert code == 130
    assert screen.count("received, stopping") == 1
    assert "SIGTERM received" in screen
    assert "second signal" not in screen
    assert "Traceback" not in screen


def test_a_killed_demo_leaves_no_daemon_and_no_journal(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    demo = subprocess.Popen(
        [sys.executable, "-m", "edge", "demo"], stderr=subprocess.PIPE, cwd=ROOT, text=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT), "AFFECT_EDGE__JOURNAL__PATH": str(journal)},
    )  # fmt: skip
    with demo:
        try:
            assert demo.stderr is not None
            while "source running" not in demo.stderr.readline():
                assert demo.poll() is None
            children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
            (daemon,) = children
        finally:
            demo.kill()
    wait_until(lambda: not Path(f"/proc/{daemon}/cmdline").exists())
    assert not journal.exists()


@pytest.mark.parametrize(("ends_with", "code"), [(78, 78), (3, 3), (0, 1), (-9, 1)])
def test_the_exit_code_of_a_daemon_that_ended_early_is_kept(
    tmp_path: Path, ends_with: int, code: int
) -> None:
    end = f"os._exit({ends_with})" if ends_with >= 0 else f"os.kill(os.getpid(), {-ends_with})"
    with subprocess.Popen([sys.executable, "-c", f"import os; {end}"]) as daemon:
        assert daemon.wait() == ends_with
        assert watch(Console(quiet=True), f"ipc://{tmp_path}/live", daemon) == code
