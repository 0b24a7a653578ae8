"""A command on a terminal of its own, and what its screen shows."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable

from tests.support.daemons import ROOT
from tests.support.waiting import HANG_S

HOME = b"\x1b[H"
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class ScreenedCommand:
    """``affect-edge`` on a terminal of ``columns`` and ``rows``; a context manager that kills it.

    Attributes:
        pid: of the process.
        output: all bytes that it has written.
    """

    def __init__(
        self, *arguments: str, columns: int = 80, rows: int = 24, environment: dict[str, str]
    ) -> None:
        self.output = b""
        self._code: int | None = None
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            command = [sys.executable, "-m", "edge", *arguments]
            home = {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "LANG": "C.UTF-8"}
            inherited = {  # pytest's libraries may set these two; they would win over the size
                name: value
                for name, value in os.environ.items()
                if name not in ("COLUMNS", "LINES")
            }
            os.execve(sys.executable, command, {**inherited, **home, **environment})

    def __enter__(self) -> "ScreenedCommand":
        return self

    def __exit__(self, *_: object) -> None:
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._terminal)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size, as a window's edge does."""
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, size)

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._terminal, keys)

    def settings(self) -> list[object]:
        """Return the settings of the terminal, such as whether it echoes."""
        return termios.tcgetattr(self._terminal)

    def read(self, timeout_s: float = 0.1) -> bool:
        """Read what it writes; false if it has closed the terminal."""
        if select.select([self._terminal], [], [], timeout_s)[0]:
            try:
                part = os.read(self._terminal, 65536)
            except OSError:
                return False
            self.output += part
            return bool(part)
        return True

    def screen(self) -> list[str]:
        """Return the lines of the newest screen that was written completely."""
        complete = self.output.split(HOME)[1:-1]
        return plain(complete[-1]) if complete else []

    def wait_for(
        self, wanted: Callable[[list[str]], bool], meanwhile: Callable[[], object] = lambda: None
    ) -> list[str]:
        """Return the first screen for which ``wanted`` is true."""
        deadline = time.monotonic() + HANG_S
        while time.monotonic() < deadline:
            meanwhile()
            is_open = self.read(0.05)
            if wanted(screen := self.screen()):
                return screen
            if not is_open:
                break
        raise AssertionError(f"never shown; the last screen: {self.screen()}; {self.output[-500:]}")

    def end(self) -> int:
        """Wait until it ends; return the exit code."""
        deadline = time.monotonic() + HANG_S
        while self._code is None:
            assert time.monotonic() < deadline, "the command does not end"
            self.read(0.05)
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self._code = os.waitstatus_to_exitcode(status)
        while self.read(0) and select.select([self._terminal], [], [], 0)[0]:
            pass
        return self._code


def plain(written: bytes) -> list[str]:
    """Return what was written without control sequences, in lines without spaces at their ends."""
    text = _CONTROL.sub("", written.decode()).replace("\r", "")
    return [line.rstrip() for line in text.split("\n")]
