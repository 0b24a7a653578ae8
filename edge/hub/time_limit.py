"""Ends a connection that takes too long as a whole, however often its peer sends a byte."""

import contextlib
import os
import socket as sockets
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def limited(connection: sockets.socket, total_s: float) -> Iterator[None]:
    """Shut the connection down if the ``with`` block takes longer than ``total_s``."""
    # a copy, since TLS takes over the other one
    with sockets.socket(fileno=os.dup(connection.fileno())) as copy:
        timer = threading.Timer(total_s, _end, [copy])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _end(connection: sockets.socket) -> None:
    with contextlib.suppress(OSError):  # the peer was faster
        connection.shutdown(sockets.SHUT_RDWR)
