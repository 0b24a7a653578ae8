"""Notes the signals that ask the daemon to stop or to reload its keys; wakes its main loop."""

import contextlib
import logging
import os
import signal
import socket
from types import FrameType
from typing import Self

from edge import clock
from edge.errors import EXIT_FAILURE
from edge.stop_signals import ONE_REQUEST_MS, has_terminal, on_stop_signals

log = logging.getLogger("affect_edge")


class StopSignals:
    """Handles the stop signals inside ``with``; ignores them from its end on.

    A signal more than a second after the first one ends the process at once, with exit code 1.
    SIGHUP stops a process with a controlling terminal, which was closed; otherwise, as in a
    service, it asks for a reload. Only for the main thread.
    """

    def __init__(self) -> None:
        self._reload_requested = False
        self._first_ns: int | None = None
        self._wakeup, self._wakeup_write = socket.socketpair()
        self._wakeup.setblocking(False)
        self._wakeup_write.setblocking(False)

    def __enter__(self) -> Self:
        signal.set_wakeup_fd(self._wakeup_write.fileno())
        on_stop_signals(self._on_signal)
        if signal.getsignal(signal.SIGHUP) == self._on_signal and not has_terminal():
            signal.signal(signal.SIGHUP, self._on_reload)
        return self

    def __exit__(self, *_: object) -> None:
        # The process is about to exit: a signal now must not change its exit code.
        on_stop_signals(signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        self._wakeup.close()
        self._wakeup_write.close()

    @property
    def is_requested(self) -> bool:
        """Whether a signal came."""
        return self._first_ns is not None

    def fileno(self) -> int:
        """Return the descriptor that a signal makes readable, for polling."""
        return self._wakeup.fileno()

    def clear(self, *, is_readable: bool = True) -> bool:
        """Read what woke the loop; return whether a reload was requested. Call it after polling.

        ``is_readable``: whether the poll has found the descriptor readable, if that is known.
        """
        if is_readable:
            with contextlib.suppress(BlockingIOError):
                self._wakeup.recv(64)
        requested, self._reload_requested = self._reload_requested, False
        return requested

    def _on_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload_requested = True

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._first_ns is None:
            self._first_ns = clock.monotonic_ns()
            log.info("%s received, stopping", signal.Signals(number).name)
        elif clock.elapsed_ms(self._first_ns) > ONE_REQUEST_MS:
            # The worker ends with this process, so nothing has to be waited for.
            with contextlib.suppress(OSError):
                os.write(2, b"affect-edge: second signal, ending at once\n")
            os._exit(EXIT_FAILURE)
