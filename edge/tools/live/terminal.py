"""The terminal of the live view: its keys, its suspension, and lines of other parts on it."""

import contextlib
import logging
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, Self

_KEYS: Final = {
    b"\x1b[A": "up", b"\x1bOA": "up", b"k": "up",
    b"\x1b[B": "down", b"\x1bOB": "down", b"j": "down",
    b"\x1b[5~": "page up", b"b": "page up",
    b"\x1b[6~": "page down", b" ": "page down",
    b"\x1b[H": "home", b"g": "home",
    b"q": "quit", b"Q": "quit",
}  # fmt: skip


class Keyboard:
    """Reads keys without Enter, and without showing them; a context manager.

    Without effect if standard input is no terminal. Only for the main thread.
    """

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError, ValueError, termios.error):
            descriptor = sys.stdin.fileno()
            if os.isatty(descriptor):
                self._before = termios.tcgetattr(descriptor)
                tty.setcbreak(descriptor, termios.TCSANOW)
                self._descriptor = descriptor
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError, termios.error):  # the terminal was closed
                termios.tcsetattr(self._descriptor, termios.TCSANOW, self._before)
            self._descriptor = None

    def read(self) -> list[str]:
        """Return the names of the keys that were pressed since the last call; does not wait."""
        if self._descriptor is None or not select.select([self._descriptor], [], [], 0)[0]:
            return []
        try:
            typed = os.read(self._descriptor, 256)
        except OSError:
            typed = b""
        if not typed:  # the terminal was closed
            self._descriptor = None
        return keys_of(typed)


def keys_of(typed: bytes) -> list[str]:
    """Return the names of known keys in what a terminal sent; others are left out."""
    names = []
    while typed:
        sequence = next((each for each in _KEYS if typed.startswith(each)), None)
        if sequence is not None:
            names.append(_KEYS[sequence])
        typed = typed[len(sequence or b".") :]
    return names


class Suspension:
    """Notes Ctrl-Z, so that the screen is put back before the process stops; a context manager."""

    def __init__(self) -> None:
        self._is_wanted = False
        self._before: Any = signal.SIG_DFL

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGTSTP, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTSTP, self._before)

    def take(self) -> bool:
        """Return whether Ctrl-Z was pressed since the last call."""
        is_wanted, self._is_wanted = self._is_wanted, False
        return is_wanted

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self._is_wanted = True


class LinesInstead(logging.Handler):
    """Gives lines of the log to ``report`` instead of standard error; a context manager."""

    def __init__(self, report: Callable[[str], None]) -> None:
        super().__init__()
        self._report = report
        self._before: list[logging.Handler] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Report one line."""
        self._report(" ".join(record.getMessage().split()))

    def __enter__(self) -> Self:
        root = logging.getLogger()
        self._before, root.handlers = root.handlers, [self]
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().handlers = self._before
