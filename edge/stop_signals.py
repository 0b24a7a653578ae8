"""The signals that ask a program to stop."""

import contextlib
import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Final

ONE_REQUEST_MS: Final = 1000.0
"""Signals within this time are one request: Ctrl-C under a program that passes signals on (timeout,
uv run) comes twice, from the terminal and from that program."""


def on_stop_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    """Handle SIGHUP (a closed terminal), SIGINT and SIGTERM with ``handler``.

    SIGHUP stays ignored if it is, as ``nohup`` wants it. Only for the main thread.
    """
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handler)
    signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, handler)


def has_terminal() -> bool:
    """Return whether this process has a controlling terminal, whose end sends SIGHUP."""
    with contextlib.suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
        return True
    return False
