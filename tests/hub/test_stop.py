"""Stop signals of the daemon: real signals to a process of its own."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support.daemons import ROOT
from tests.support.terminals import WITHOUT_TERMINAL, Terminal
from tests.support.waiting import HANG_S

PROGRAM = """
import logging, select, sys
from edge.hub.stop import StopSignals
logging.basicConfig(level="INFO", format="%(message)s")
with StopSignals() as stop:
    print("ready", flush=True)
    while sys.stdin.readline():
        select.select([stop], [], [])
        stop.clear()
        print(stop.is_requested, flush=True)
"""
PATIENT = "import edge.hub.stop as module; module.ONE_REQUEST_MS = 60_000.0" + PROGRAM
RELOADING = PROGRAM.replace("stop.clear()", "print(stop.clear(), end=' ')")


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    with contextlib.suppress(OSError):
        made.close()


def started(terminal: Terminal, code: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*terminal.prefix, sys.executable, "-c", code],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip


@pytest.fixture
def program(terminal: Terminal) -> "subprocess.Popen[str]":
    return started(terminal, PROGRAM)


def wait_for_stop(program: "subprocess.Popen[str]", number: int) -> None:
    """Send the signal and wait until the program's loop has noticed it."""
    assert program.stdin is not None
    assert program.stdout is not None
    program.send_signal(number)
    program.stdin.write("\n")
    program.stdin.flush()
    assert program.stdout.readline() == "True\n"


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_within_a_second_are_one_request(terminal: Terminal, first: signal.Signals) -> None:
    """Within a minute here: a busy machine may need more than a second for them."""
    with started(terminal, PATIENT) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        wait_for_stop(program, first)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            wait_for_stop(program, number)
        _, stderr = program.communicate(timeout=HANG_S)
    assert (program.returncode, stderr) == (0, f"{first.name} received, stopping\n")


def test_a_closed_terminal_is_a_stop(program: "subprocess.Popen[str]", terminal: Terminal) -> None:
    with program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        terminal.close()
        program.stdin.write("\n")
        program.stdin.flush()
        assert program.stdout.readline() == "True\n"
        _, stderr = program.communicate(timeout=HANG_S)
    assert (program.returncode, stderr) == (0, "SIGHUP received, stopping\n")


def test_without_a_terminal_sighup_is_a_reload() -> None:
    with subprocess.Popen(
        [*WITHOUT_TERMINAL, sys.executable, "-c", RELOADING],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    ) as program:  # fmt: skip
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        for number, line in (
            (signal.SIGHUP, "True False\n"),
            (signal.SIGTERM, "False True\n"),
        ):
            program.send_signal(number)
            program.stdin.write("\n")
            program.stdin.flush()
            assert program.stdout.readline() == line
        program.communicate(timeout=HANG_S)
    assert program.returncode == 0


def test_sighup_stays_ignored_under_nohup() -> None:
    command = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", sys.executable, "-c", PROGRAM]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=ROOT,
    ) as program:  # fmt: skip
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.send_signal(signal.SIGHUP)
        wait_for_stop(program, signal.SIGTERM)
        _, stderr = program.communicate(timeout=HANG_S)
    assert (program.returncode, stderr) == (0, "SIGTERM received, stopping\n")


def test_a_later_signal_ends_the_process_at_once(program: "subprocess.Popen[str]") -> None:
    with program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        wait_for_stop(program, signal.SIGINT)
        time.sleep(1.1)
        program.send_signal(signal.SIGTERM)
        assert program.wait(HANG_S) == 1
        assert program.stderr is not None
        assert program.stderr.read() == (
            "SIGINT received, stopping\naffect-edge: second signal, ending at once\n"
        )
