"""The signals of the logger: stop, and rotate."""

import os
import signal
from types import FrameType

from edge.stop_signals import on_stop_signals


class LogSignals:
    """Handles SIGINT and SIGTERM (stop) and SIGHUP. Only for the main thread.

    SIGHUP rotates the log, as daemons do it; if it comes because the terminal was closed, it stops
    the logger.
    """

    def __init__(self) -> None:
        self._stopped = False
        self._rotation_requested = False
        self._had_terminal = _has_terminal()
        on_stop_signals(self._on_signal)

    def is_stopped(self) -> bool:
        """Return whether the logger was asked to stop."""
        return self._stopped

    def take_rotation(self) -> bool:
        """Return whether a rotation was requested since the last call."""
        requested, self._rotation_requested = self._rotation_requested, False
        return requested

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP and (not self._had_terminal or _has_terminal()):
            self._rotation_requested = True
        else:
            self._stopped = True


def _has_terminal() -> bool:
    """Return whether this process has a controlling terminal; false once that was closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
