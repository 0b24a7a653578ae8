"""The daemon's side of the systemd notify protocol: datagrams of ``KEY=value`` lines.

Without a socket (started by hand, in a test) every call does nothing. Protocol: sd_notify(3),
sd_watchdog_enabled(3).
"""

import os
import socket
from collections.abc import Mapping

_SEND_TIMEOUT_S = 0.2  # when the manager's queue is full, the hub's loop must not block
_STATUS_INTERVAL_NS = 1_000_000_000


class Notifier:
    """Reports the daemon's state to the service manager. Only for the hub's main loop.

    No method raises when the manager is gone or does not accept the datagram: each returns whether
    it was sent.

    Args:
        address: the value of ``NOTIFY_SOCKET``: a path, or ``@name`` in the abstract namespace;
            None or empty without a service manager.
    """

    def __init__(self, address: str | None) -> None:
        self._address = _socket_address(address)
        self._is_ready = False
        self._status = ""
        self._status_ns: int | None = None

    def ready(self) -> bool:
        """Report that the start is complete: units that wait for this one may start."""
        self._is_ready = True
        return self._send("READY=1")

    def extend_start(self, seconds: float) -> bool:
        """Report that the start goes on: the manager waits at least ``seconds`` from now.

        Once ``ready`` was called, nothing is sent.
        """
        return not self._is_ready and self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def reloading(self, now_ns: int) -> bool:
        """Report that a reload begins; ``ready`` reports its end.

        Only after ``ready``: before it, the end of a reload would pass for the end of the start.

        Args:
            now_ns: ``clock.monotonic_ns()``, by which the manager tells this reload from an earlier
                one (``Type=notify-reload``).
        """
        return self._send("RELOADING=1", f"MONOTONIC_USEC={now_ns // 1000}")

    def stopping(self) -> bool:
        """Report that the daemon is stopping."""
        return self._send("STOPPING=1")

    def watchdog(self) -> bool:
        """Report that the daemon works; due every ``watchdog_interval_s``, not more often."""
        return self._send("WATCHDOG=1")

    def status(self, text: str, now_ns: int) -> bool:
        """Show ``text`` in ``systemctl status``; return whether it was sent.

        It may be called at any rate: a text is sent when it differs from the last one, and at most
        once a second on the clock of ``now_ns``. A text that came too early is not kept: pass it
        again.
        """
        line = " ".join(text.split())  # a newline would start another assignment
        early = self._status_ns is not None and now_ns - self._status_ns < _STATUS_INTERVAL_NS
        if line == self._status or early or not self._send(f"STATUS={line}"):
            return False
        self._status, self._status_ns = line, now_ns
        return True

    def _send(self, *assignments: str) -> bool:
        if self._address is None:
            return False
        try:
            # a new socket each time: a restarted manager listens on another one
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.settimeout(_SEND_TIMEOUT_S)
                channel.sendto("\n".join(assignments).encode(), self._address)
        except OSError:
            return False
        return True


def watchdog_interval_s(environment: Mapping[str, str], pid: int | None = None) -> float | None:
    """Return the interval between ``watchdog`` calls, seconds; None without a watchdog.

    It is a third of ``WATCHDOG_USEC``, so that one late call does not end the daemon.

    Args:
        environment: variables of the process.
        pid: the process to check; this one when None. ``WATCHDOG_PID`` names the watched process:
            a child inherits the variables, but is not watched.
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
    # other forms, such as vsock, are not used on this system
    return address if address and address[0] == "/" else None
