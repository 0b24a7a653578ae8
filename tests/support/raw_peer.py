"""A peer that speaks ZMTP 3.0 (NULL) by itself, to send what no library sends."""

import socket
import threading
import time
from typing import Final

GREETING: Final = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)


def connect(endpoint: str) -> socket.socket:
    """Return a connection to ``endpoint`` (tcp or ipc), without any handshake."""
    if endpoint.startswith("ipc://"):
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(5)
        try:
            made.connect(endpoint.removeprefix("ipc://"))
        except OSError:  # such as a full queue of connections
            made.close()
            raise
        return made
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=5)


def shake_hands(peer: socket.socket, kind: str, identity: bytes = b"") -> None:
    """Greet as a socket of ``kind``, such as DEALER, with an identity of its own if there is one.

    Raises:
        OSError: the connection was closed.
    """
    peer.sendall(GREETING)
    received = 0
    while received < len(GREETING):
        part = peer.recv(len(GREETING) - received)
        if not part:
            raise ConnectionResetError
        received += len(part)
    body = b"\x05READY" + _property(b"Socket-Type", kind.encode())
    if identity:
        body += _property(b"Identity", identity)
    peer.sendall(b"\x04" + bytes([len(body)]) + body)


def _property(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value


def frame(part: bytes, *, more: bool) -> bytes:
    """Return a part of a message as it is sent."""
    if len(part) < 256:
        return bytes([more, len(part)]) + part
    return bytes([more | 2]) + len(part).to_bytes(8, "big") + part


PING: Final = b"\x04\x07\x04PING\0\0"
"""A heartbeat, which a peer has to answer."""


def fill_ping_and_go(endpoint: str, kind: str) -> None:
    """Fill the queue of messages from this peer, send heartbeats in the same piece, and close.

    Args:
        endpoint: of the daemon's socket.
        kind: ``SUB`` or ``DEALER``, the kind of a peer of that socket.

    Raises:
        OSError: the connection was closed.
    """
    full = frame(b"\x01", more=False) * 1050 if kind == "SUB" else frame(b"{}", more=False) * 100
    with connect(endpoint) as peer:
        shake_hands(peer, kind)
        time.sleep(0.02)  # else the daemon may still read the handshake, and part of the rest
        peer.sendall(full + PING * 10)


class Flood:
    """Threads that send data as fast as they can, and connect again when they are cut.

    Args:
        endpoint: of the daemon's socket.
        kind: of the sending socket; empty for no handshake.
        data: sent again and again.
        threads: connections at the same time.

    Attributes:
        connections: made so far.
        sent: bytes so far.
    """

    def __init__(self, endpoint: str, kind: str, data: bytes, *, threads: int = 1) -> None:
        self._endpoint, self._kind = endpoint, kind
        self._data = data * max(1, 65536 // len(data))
        self._is_over = False
        self.connections = self.sent = 0
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> "Flood":
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        for each in self._threads:
            each.join()

    def _run(self) -> None:
        while not self._is_over:
            try:
                with connect(self._endpoint) as peer:
                    if self._kind:
                        shake_hands(peer, self._kind)
                    self.connections += 1
                    while not self._is_over:
                        self.sent += peer.send(self._data)
            except OSError:
                time.sleep(0.001)
