"""The live view on a real terminal, and the present state printed once."""

import os
import re
import signal
import subprocess
import sys
import termios

import pytest

from tests.support.daemons import RunningDaemon, affect_edge
from tests.support.screens import ScreenedCommand, plain
from tests.support.still_face import still_face
from tests.support.waiting import HANG_S
from tests.support.wire import Publisher, event, face, frame, status

MARK = event(2, "mark", {"text": "2.8 bar"})


@pytest.fixture
def publisher(tmp_path):
    with Publisher(f"ipc://{tmp_path}/pub") as publisher:
        yield publisher


@pytest.fixture
def viewed(publisher):
    """The live view, once it shows a face."""
    with ScreenedCommand("tail", "--connect", publisher.endpoint, environment={}) as command:
        publisher.wait_for_subscriptions(meanwhile=lambda: command.read(0))
        publisher.send(status(0), frame(1, face()), MARK)
        command.wait_for(lambda screen: any("neutral" in line for line in screen))
        yield command


def test_a_terminal_shows_faces_and_events(viewed, publisher):
    screen = viewed.wait_for(lambda screen: any("2.8 bar" in line for line in screen))
    assert len(screen) == 24
    assert "q ends" in screen[0]
    assert publisher.endpoint[:20] in screen[0]
    assert screen[1].startswith("edge  excellent")
    assert screen[5] == "events"
    assert screen[6] == '22:13:20  edge: mark "2.8 bar"'


@pytest.mark.parametrize("end", [b"q", b"\x03", signal.SIGTERM])
def test_its_end_restores_the_terminal(viewed, end):
    during = viewed.settings()
    assert not during[3] & termios.ECHO
    if isinstance(end, bytes):
        viewed.type(end)
    else:
        os.kill(viewed.pid, end)
    assert viewed.end() == 0
    restored = viewed.settings()
    assert restored[3] & termios.ECHO
    assert restored[3] & termios.ICANON
    after = viewed.output.rpartition(b"\x1b[?1049l")[2]
    assert viewed.output.count(b"\x1b[?1049h") == viewed.output.count(b"\x1b[?1049l") == 1
    assert viewed.output.rfind(b"\x1b[?25h") > viewed.output.rfind(b"\x1b[?25l"), "cursor"
    assert any("neutral" in line for line in plain(after)), "the last state stays"


def test_it_follows_the_size_of_the_window(viewed):
    viewed.resize(120, 40)
    wide = viewed.wait_for(lambda screen: len(screen) == 40)
    assert any("········│████····" in line for line in wide)
    viewed.resize(40, 10)
    narrow = viewed.wait_for(lambda screen: len(screen) == 10)
    assert max(map(len, narrow)) <= 40


def test_what_does_not_fit_can_be_scrolled(viewed, publisher):
    publisher.send(frame(3, *(face(track) for track in range(1, 31))))
    first = viewed.wait_for(lambda screen: "arrows scroll" in screen[0])
    assert "lines 1 to" in first[0]
    viewed.type(b"\x1b[6~\x1b[6~\x1b[6~")
    last = viewed.wait_for(lambda screen: any(line[:18].split()[-1:] == ["30"] for line in screen))
    assert "of 33" in last[0]


def test_it_can_be_suspended(viewed):
    viewed.type(b"\x1a")
    while True:
        done, code = os.waitpid(viewed.pid, os.WUNTRACED | os.WNOHANG)
        if done:
            break
        viewed.read(0.05)
    assert os.WIFSTOPPED(code)
    while not viewed.output.endswith(b"\x1b[?25h") and b"\x1b[?1049l" not in viewed.output:
        viewed.read(0.05)
    assert viewed.settings()[3] & termios.ECHO
    os.kill(viewed.pid, signal.SIGCONT)
    seen = len(viewed.output)
    viewed.wait_for(lambda screen: b"\x1b[?1049h" in viewed.output[seen:])
    viewed.type(b"q")
    assert viewed.end() == 0


def test_it_says_what_it_waits_for(tmp_path):
    endpoint = f"ipc://{tmp_path}/none"
    arguments = ("tail", "--connect", endpoint)
    with ScreenedCommand(*arguments, columns=200, environment={}) as command:
        screen = command.wait_for(lambda screen: len(screen) > 1)
        assert screen[1] == "waiting for the first message"
        command.wait_for(lambda screen: any("nobody publishes at" in line for line in screen))
        command.type(b"q")
        assert command.end() == 0


def test_no_color_and_terminals_without_unicode(publisher):
    environment = {"NO_COLOR": "1", "PYTHONIOENCODING": "ascii"}
    arguments = ("tail", "--connect", publisher.endpoint)
    with ScreenedCommand(*arguments, environment=environment) as command:
        publisher.wait_for_subscriptions(meanwhile=lambda: command.read(0))
        publisher.send(status(0), frame(1, face()))
        command.wait_for(lambda screen: any("....|##.." in line for line in screen))
        command.type(b"q")
        assert command.end() == 0
    assert b"\x1b[3" not in command.output.replace(b"\x1b[33;", b"")
    assert command.output.isascii()


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {}])
def test_plain_rows_where_asked_or_on_a_dumb_terminal(publisher, environment):
    rows = () if environment else ("--rows",)
    arguments = ("tail", "--connect", publisher.endpoint, "--limit", "1", *rows)
    with ScreenedCommand(*arguments, environment=environment) as command:
        publisher.wait_for_subscriptions(meanwhile=lambda: command.read(0))
        publisher.send(frame(1, face()))
        assert command.end() == 0
    assert plain(command.output)[0].startswith("time (UTC)")
    assert b"\x1b[?1049h" not in command.output


def test_once_prints_the_present_state(publisher):
    command = [sys.executable, "-m", "edge", "tail", "--once", "--connect", publisher.endpoint]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tail:
        publisher.wait_for_subscriptions()
        publisher.send(status(0), frame(1, face()), MARK)
        lines = tail.communicate(timeout=HANG_S)[0].splitlines()
    assert tail.returncode == 0
    assert lines[0].startswith("edge  excellent  29.8 of 30.0 frames/s")
    assert lines[2].endswith("12 s ok")
    assert len(lines) == 3


SEATS = (
    "zones.seats={middle={polygon=[[0.2,0],[1,0],[1,1],[0.2,1]],participant='P07'},"
    "left={polygon=[[0,0],[0.01,0],[0.01,1],[0,1]],participant='P08'},"
    "right={polygon=[[0.1,0],[0.11,0],[0.11,1],[0.1,1]]}}"
)


def test_once_shows_who_is_not_in_view(tmp_path):
    """A participant whom the daemon knew had no line: that looked like a wrong configuration."""
    with RunningDaemon(tmp_path, *still_face(tmp_path / "pictures"), "--set", SEATS) as daemon:
        daemon.wait_for_frame()
        command = ("tail", "--once", "--connect", daemon.endpoint, "--service", daemon.service)
        shown = affect_edge(*command)
    assert (shown.returncode, shown.stderr) == (0, "")
    rows = [" ".join(row.split()) for row in shown.stdout.splitlines()]
    first = next(at for at, row in enumerate(rows) if row.startswith("who ")) + 1
    assert re.match(r"P07 middle \d+ ", rows[first])
    assert rows[first + 1] == "P08 left - not in view yet"
    assert rows[-1] == "right - nobody in view, no code"


def test_once_says_who_may_be_missing(publisher, tmp_path):
    command = [sys.executable, "-m", "edge", "tail", "--once", "--connect", publisher.endpoint]
    command += ["--service", f"ipc://{tmp_path}/nobody"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as tail:
        publisher.wait_for_subscriptions()
        publisher.send(status(0), frame(1, face()))
        shown, said = tail.communicate(timeout=HANG_S)
    assert tail.returncode == 0
    assert len(shown.splitlines()) == 3
    missing = "affect-edge: participants who are not in view are not shown: no reply from ipc://"
    assert said.startswith(missing)
    assert said.count("\n") == 1


def test_once_fails_in_one_line_if_nothing_comes(tmp_path):
    endpoint = f"ipc://{tmp_path}/none"
    result = affect_edge("tail", "--once", "--timeout-s", "0.2", "--connect", endpoint)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == (
        f"affect-edge: error: nothing received from {endpoint} within 0.2 s; is a daemon running"
        " there, and is that its publish.endpoint?\n"
    )


def test_services_are_asked_once_only():
    result = affect_edge("tail", "--service", "ipc://x", "--rows")
    assert result.returncode == 78
    assert "--service ipc://x: is asked with --once only; leave it out" in result.stderr


@pytest.mark.parametrize("other", [("--rows",), ("--limit", "3")])
def test_once_excludes_rows_and_limit(other):
    result = affect_edge("tail", "--once", *other)
    assert result.returncode == 78
    assert f"expected it without {other[0]}" in result.stderr
