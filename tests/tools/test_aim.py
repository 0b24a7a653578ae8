"""``affect-edge aim``: in a terminal, in a pipe, and once; with its own daemon and another's."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from edge.client import Received, Subscriber
from edge.tools.aim import run_aim
from edge.tools.own_daemon import OwnDaemon
from tests.support.daemons import PURPOSE, ROOT, RunningDaemon, affect_edge
from tests.support.still_face import still_face
from tests.support.waiting import HANG_S, wait_until
from tests.support.wire import Publisher, event, face, frame, status


class Watched:
    """A console whose text is known, and a function that ends the command when it shows enough."""

    def __init__(self, *, terminal: bool = False, height: int = 60) -> None:
        self._file = io.StringIO()
        self.console = Console(
            file=self._file, force_terminal=terminal, width=120, height=height, highlight=False
        )
        self._deadline = time.monotonic() + HANG_S

    @property
    def text(self) -> str:
        return self._file.getvalue()

    def until(self, *words: str) -> Callable[[], bool]:
        def stop() -> bool:
            assert time.monotonic() < self._deadline, self.text
            return all(word in self.text for word in words)

        return stop


def aimed(folder: Path, watched: Watched, words: tuple[str, ...], *messages: object) -> int:
    """Send the messages and run the command until it shows ``words``."""
    endpoint = f"ipc://{folder}/pub"
    with Publisher(endpoint) as publisher, Subscriber([endpoint]) as subscriber:
        publisher.wait_for_subscriptions()
        publisher.send(*messages)  # type: ignore[arg-type]
        stop = watched.until(*words)
        return run_aim(subscriber, watched.console, stop, once=False, wait_s=5)


def test_a_terminal_shows_a_table(tmp_path: Path) -> None:
    watched = Watched(terminal=True)
    blurred = face(4) | {"quality": face(4)["quality"] | {"sharpness": 0.01}}
    words = ("face 4", "focus", "0.010", "0.06 or more", "focus on the face", "face size")
    assert aimed(tmp_path, watched, words, frame(1, blurred), status(1)) == 0
    assert "hidden" not in watched.text


def test_a_low_terminal_shows_what_is_to_change(tmp_path: Path) -> None:
    watched = Watched(terminal=True, height=14)
    blurred = face(4) | {"quality": face(4)["quality"] | {"sharpness": 0.01}}
    words = ("face 4", "focus on the face", "What is ok is hidden")
    assert aimed(tmp_path, watched, words, frame(1, blurred), status(1)) == 0
    assert "lamp spots" not in watched.text


def test_a_pipe_gets_a_line_for_each_change(tmp_path: Path) -> None:
    watched = Watched()
    endpoint = f"ipc://{tmp_path}/pub"
    with Publisher(endpoint) as publisher, Subscriber([endpoint]) as subscriber:
        publisher.wait_for_subscriptions()
        sent = 0

        def stop() -> bool:
            nonlocal sent
            dark = face(4) | {"quality": face(4)["quality"] | {"brightness": 0.1}}
            publisher.send(frame(sent, face(4) if sent < 8 else dark), status(sent))
            sent += 1
            return watched.until("WRONG    edge face 4: brightness 0.10")()

        assert run_aim(subscriber, watched.console, stop, once=False, wait_s=5) == 0
    lines = watched.text.splitlines()
    assert len(lines) < 20, watched.text
    assert lines[0].split(maxsplit=1)[1] == "ok       edge: source running"


def test_text_from_the_network_does_not_control_the_terminal(tmp_path: Path) -> None:
    watched = Watched()
    outage = event(0, "source_state", {"state": "absent", "reason": "\x1b[2Jgone"})
    words = (r"\x1b[2Jgone",)
    assert aimed(tmp_path, watched, words, outage, status(1, state="absent")) == 0
    assert "\x1b" not in watched.text


def test_once_with_another_daemon_uses_its_limits(tmp_path: Path) -> None:
    limits = ("--set", "quality.size_min_px=4000")
    with RunningDaemon(tmp_path, *still_face(tmp_path / "pictures"), *limits) as daemon:
        daemon.wait_for_frame()
        done = affect_edge(
            "aim", "--once", "--connect", daemon.endpoint, "--service", daemon.service
        )
        assert done.returncode == 1, done.stdout + done.stderr
        assert daemon.process.poll() is None
    lines = done.stdout.splitlines()
    # a busy machine may lose a track for want of frames
    size = r"(?m)^WRONG    edge face \d+: face size \d+ px, needed 6000 or more: "
    assert re.search(size, done.stdout), done.stdout
    assert lines[-1].startswith("WRONG    edge: it does not work like this; ")
    assert "affect-edge: edge: watching its frames for some seconds\n" in done.stderr


def test_once_with_a_daemon_of_its_own_stores_nothing(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home, temporary = tmp_path / "home", tmp_path_factory.mktemp("t")  # short: it holds sockets
    home.mkdir()
    environment = {
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "AFFECT_EDGE__JOURNAL__PATH": str(tmp_path / "journal"),
    }
    # a busy machine may lose frames of the clip's own rate
    arguments = ("--source", "demo", "--set", "source.rate_hz=4", "--once")
    done = affect_edge("aim", *arguments, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"ok       edge face \d+: read 100 % of frames", done.stdout), done.stdout
    assert "affect-edge: edge: watching its frames for some seconds\n" in done.stderr
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "journal").exists()
    left = [path for path in home.rglob("*") if path.is_file()]
    assert {path.name for path in left} <= {"artifact-choices.json"}


def test_a_black_picture_is_said_to_be_dark(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(10):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((180, 320), number % 3, np.uint8))
    repeated = ("--set", "source.repeat=0", "--set", "source.rate_hz=10")
    done = affect_edge("aim", "--source", str(folder), *repeated, *PURPOSE, "--once")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "WRONG    edge: picture dark, needed normal: hardly any light: uncover" in done.stdout
    assert "faces none in view, needed 1 or more: the picture is dark: see picture" in done.stdout


def test_a_file_that_ends_is_no_failure_without_once(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "0.png"), np.full((180, 320), 90, np.uint8))
    done = affect_edge("aim", "--source", str(folder), *PURPOSE)
    assert done.returncode == 0, done.stdout + done.stderr
    if done.stdout:
        assert "source ended, needed running: " in done.stdout.splitlines()[-1]
    else:  # the daemon was faster than its subscriber
        assert "the source has ended before anything was received of it" in done.stderr


def test_what_a_daemon_sends_at_its_end_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A daemon that ended right after a wait for its messages had sent nothing, it said."""
    endpoint = f"ipc://{tmp_path}/live"
    daemon = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

    class Late(Subscriber):
        """Its first wait ends in vain, and right then the daemon sends its last and ends."""

        def receive(self, timeout_s: float) -> Received | None:
            received = super().receive(timeout_s)
            if daemon.poll() is None:
                publisher.send(frame(1, face()), status(1, state="ended"))
                daemon.communicate(b"\n")
            return received

    with daemon, Publisher(endpoint) as publisher, Late([endpoint]) as subscriber:
        publisher.wait_for_subscriptions()
        own = OwnDaemon(endpoint, "", daemon, None)
        watched = Watched()
        assert (
            run_aim(subscriber, watched.console, lambda: False, once=False, wait_s=5, own=own) == 0
        )
    assert "source ended, needed running: " in watched.text
    assert capsys.readouterr().err == ""


def test_a_camera_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = affect_edge("aim", "--source", "/dev/video99", *PURPOSE, "--once")
    assert done.returncode == 1
    assert "source absent, needed running: it cannot be opened" in done.stdout
    assert "(camera /dev/video99: No such file or directory" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--source", "/none.mp4", "--once"), 78, "--source '/none.mp4': no such file"),
        (("-c", "/none.toml"), 78, "configuration /none.toml: No such file"),
        (("--source", "picamera"), 78, "device.purpose: not set"),
        (("--set", "a.b=1"), 78, "expected --source or -c, too"),
        (("--source", "demo", "--connect", "tcp://127.0.0.1:1"), 78, "expected one of them"),
        (("-c", "/none.toml", "--service", "tcp://127.0.0.1:1"), 78, "expected one of them"),
        (("--connect", "nonsense"), 78, "endpoint 'nonsense'"),
        (("--connect", "tcp://127.0.0.1:1", "--once", "--wait-s", "1"), 1, "within 1 s"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: tuple[str, ...], code: int, text: str) -> None:
    done = affect_edge("aim", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    (line,) = done.stderr.splitlines()
    assert text in line
    assert line.startswith("affect-edge: ")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGKILL, -9)]
)
def test_its_daemon_ends_with_it(tmp_path: Path, number: signal.Signals, code: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", "aim", "--source", "demo", "--set", "source.repeat=0",
         *PURPOSE],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        while " face " not in process.stdout.readline():
            assert process.poll() is None
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        (daemon,) = children
        process.send_signal(number)
        assert process.wait(HANG_S) == code
        wait_until(lambda: not Path(f"/proc/{daemon}/cmdline").exists())
    finally:
        process.kill()
        process.stdout.close()
    if number != signal.SIGKILL:
        assert list(tmp_path.iterdir()) == []
