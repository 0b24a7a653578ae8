"""The systemd notify protocol, from the daemon's side: datagrams of ``KEY=value`` lines.

Without a socket (started by hand, in a test) every call does nothing. Protocol: sd_notify(3),
sd_watchdog_enabled(3).
"""

import os
import socket
from collections.abc import Mapping

_SEND_TIMEOUT_S = 0.2  # the manager's queue is full: the hub's loop must not hang on it
_STATUS_INTERVAL_NS = 1_000_000_000


class Notifier:
    """Tells the service manager how the daemon does.

    No method raises when the manager is gone or does not take the datagram: each returns whether
    it was handed over. Not thread-safe: for the hub's one loop.

    Args:
        address: the value of ``NOTIFY_SOCKET``: a path, or ``@name`` in the abstract namespace;
            None or empty when nobody wants to know.
    """

    def __init__(self, address: str | None) -> None:
        self._address = _socket_address(address)
        self._status = ""
        self._status_ns: int | None = None

    def ready(self) -> bool:
        """Say that the start is complete: units that wait for this one may start."""
        return self._send("READY=1")

    def stopping(self) -> bool:
        """Say that the stop has begun."""
        return self._send("STOPPING=1")

    def watchdog(self) -> bool:
        """Say that the daemon does its work; due every ``watchdog_interval_s``, not more often."""
        return self._send("WATCHDOG=1")

    def status(self, text: str, now_ns: int) -> bool:
        """Show ``text`` in ``systemctl status``; return whether it was sent.

        May be called as often as one likes: it is sent when it differs from the last one, and at
        most once a second on the clock of ``now_ns``. What came too early goes out with a later
        call.
        """
        line = " ".join(text.split())  # a newline would begin another assignment
        early = self._status_ns is not None and now_ns - self._status_ns < _STATUS_INTERVAL_NS
        if line == self._status or early or not self._send(f"STATUS={line}"):
            return False
        self._status, self._status_ns = line, now_ns
        return True

    def _send(self, *assignments: str) -> bool:
        if self._address is None:
            return False
        try:
            # a socket each time: a manager that was restarted listens on a new one
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.settimeout(_SEND_TIMEOUT_S)
                channel.sendto("\n".join(assignments).encode(), self._address)
        except OSError:
            return False
        return True


def watchdog_interval_s(environment: Mapping[str, str], pid: int | None = None) -> float | None:
    """Return how many seconds may lie between two ``watchdog`` calls; None when nobody watches.

    It is a third of ``WATCHDOG_USEC``, so that one late call kills nothing.

    Args:
        environment: the process's variables.
        pid: the process that asks; this one when None. ``WATCHDOG_PID`` names the one watched: a
            child inherits the variables but not the duty.
    """
    usec = environment.get("WATCHDOG_USEC", "")
    watched = environment.get("WATCHDOG_PID", "")
    if watched and watched != str(os.getpid() if pid is None else pid):
        return None
    if not usec.isascii() or not usec.isdigit() or int(usec) == 0:
        return None
    return int(usec) / 1e6 / 3


def _socket_address(address: str | None) -> str | None:
    if address and address[0] == "@":
        return "\0" + address[1:]
    # anything else than a path is a kind of socket this protocol knows on other systems
    return address if address and address[0] == "/" else None
