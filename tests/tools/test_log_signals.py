"""SIGHUP of the logger: a rotation, or the end of its terminal."""

import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress

PROGRAM = """
import os, select, sys
if len(sys.argv) > 1:
    os.open(sys.argv[1], os.O_RDWR)  # the terminal of this session
from edge.tools.log_signals import LogSignals
signals = LogSignals()
print("ready", flush=True)
while not signals.is_stopped():
    select.select((), (), (), 0.05)
    if signals.take_rotation():
        print("rotate", flush=True)
print("stop", flush=True)
"""


def started(*arguments):
    command = [sys.executable, "-c", PROGRAM, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout.readline() == "ready\n"
    return process


def test_sighup_rotates_and_sigterm_stops():
    with started() as process:
        for _ in range(2):
            process.send_signal(signal.SIGHUP)
            assert process.stdout.readline() == "rotate\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "stop\n"


def test_a_closed_terminal_stops_and_a_signal_in_a_terminal_rotates():
    master, slave = pty.openpty()
    try:
        with started(os.ttyname(slave)) as process:
            process.send_signal(signal.SIGHUP)
            assert process.stdout.readline() == "rotate\n"
            os.close(master)
            master = -1
            assert process.stdout.readline() == "stop\n"
    finally:
        os.close(slave)
        with suppress(OSError):
            os.close(master)


def test_nohup_keeps_sighup_ignored():
    command = ["nohup", sys.executable, "-c", PROGRAM]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
        text=True, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "stop\n"
