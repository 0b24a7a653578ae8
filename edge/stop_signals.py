"""The signals that ask a program to stop."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Final

ONE_REQUEST_MS: Final = 1000.0
"""Signals within this time are one request: Ctrl-C under a program that passes signals on (timeout,
uv run) comes twice, from the terminal and from that program."""

_IMPORT_S: Final = 0.05  # between two looks whether an import has ended


def on_stop_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    """Handle SIGHUP (a closed terminal), SIGINT and SIGTERM with ``handler``.

    SIGHUP stays ignored if it is, as ``nohup`` wants it. Only for the main thread.
    """
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handler)
    signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, handler)


def end_at_once(number: int, _frame: FrameType | None) -> None:
    """Handle a signal during the imports at the start, where nothing is to be cleaned up.

    An exception would be lost in a callback, such as those by which Python frees its import locks.
    """
    os._exit(128 + number)


def exit_on_signal(number: int, frame: FrameType | None) -> None:
    """Handle a signal: raise ``SystemExit`` with 128 + its number; during an import, after it.

    A module that an exception interrupts is half there: native ones turn it into an ImportError.
    """
    if _is_importing(frame):
        signal.signal(signal.SIGALRM, lambda _, later: exit_on_signal(number, later))
        signal.setitimer(signal.ITIMER_REAL, _IMPORT_S)
        return
    sys.exit(128 + number)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib."):
            return True
        frame = frame.f_back
    return False


def has_terminal() -> bool:
    """Return whether this process has a controlling terminal, whose end sends SIGHUP."""
    with contextlib.suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
        return True
    return False
