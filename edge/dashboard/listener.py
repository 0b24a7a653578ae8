"""The listening socket: limits the connections that have not begun to speak TLS.

asyncio tells nobody of a connection before its TLS handshake is done, and waits for that for a
minute: the limits of ``web_server`` do not see it.
"""

import asyncio
import contextlib
import socket
from collections import Counter
from typing import Any, Final

HANDSHAKE_S: Final = 5.0
"""A TLS handshake that takes longer ends the connection."""

HANDSHAKES_MAX: Final = 96
"""Connections at a time whose handshake is not done. For a further one the oldest one is closed, of
the address that has most of them: a viewer at another address always gets a place."""


class Listener(socket.socket):
    """A listening TCP socket. Only for the event loop.

    Attributes:
        is_tls: whether connections begin with a handshake; else nothing is limited here.
    """

    is_tls = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._waiting: dict[int, tuple[socket.socket, str]] = {}  # by file descriptor, oldest first

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection, and count it until its handshake is done."""
        connection, address = super().accept()
        if self.is_tls:
            self._wait_for(connection, str(address[0]))
        return connection, address

    def note_done(self, descriptor: int) -> None:
        """Note that the handshake of a connection is done."""
        self._waiting.pop(descriptor, None)

    def _wait_for(self, connection: socket.socket, address: str) -> None:
        closed = [each for each, (other, _) in self._waiting.items() if other.fileno() != each]
        for descriptor in closed:
            del self._waiting[descriptor]
        descriptor = connection.fileno()
        self._waiting[descriptor] = connection, address
        if len(self._waiting) > HANDSHAKES_MAX:
            ((most, _),) = Counter(each for _, each in self._waiting.values()).most_common(1)
            self._end(next(fd for fd, (_, each) in self._waiting.items() if each == most))
        loop = asyncio.get_running_loop()
        loop.call_later(HANDSHAKE_S, self._end_if_waiting, connection, descriptor)

    def _end_if_waiting(self, connection: socket.socket, descriptor: int) -> None:
        waiting = self._waiting.get(descriptor)
        if waiting is not None and waiting[0] is connection:
            self._end(descriptor)

    def _end(self, descriptor: int) -> None:
        """Shut a connection down; asyncio, which has it, sees the end and closes it."""
        connection, _ = self._waiting.pop(descriptor)
        with contextlib.suppress(OSError):  # the peer has gone
            connection.shutdown(socket.SHUT_RDWR)
