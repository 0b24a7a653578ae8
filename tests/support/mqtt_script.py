"""A broker that answers MQTT 5 packets with the reason codes of a script."""

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Mapping

from tests.support.waiting import HANG_S

_CONNACK, _PUBACK, _SUBACK = 2, 4, 9


class ScriptedBroker:
    """A context manager; one thread serves one connection after another.

    Args:
        connack: reason code for every connection; 0: accepted.
        refuse: number of a message -> reason code of its first PUBACK.

    Attributes:
        port: on 127.0.0.1.
        received: number of each message that arrived, and whether it was accepted.
    """

    def __init__(self, *, connack: int = 0, refuse: Mapping[int, int] | None = None) -> None:
        self._connack = connack
        self._refuse = dict(refuse or {})
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.received: list[tuple[int, bool]] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "ScriptedBroker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(HANG_S)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, contextlib.suppress(OSError, EOFError):
                    while True:
                        self._answer(connection, *_packet(connection))

    def _answer(self, connection: socket.socket, header: int, body: bytes) -> None:
        match header >> 4:
            case 1:  # CONNECT
                connection.sendall(bytes([_CONNACK << 4, 3, 0, self._connack, 0]))
            case 8:  # SUBSCRIBE to two topics
                connection.sendall(bytes([_SUBACK << 4, 5, *body[:2], 0, 0, 0]))
            case 3:  # PUBLISH
                (topic,) = struct.unpack_from("!H", body)
                packet = body[2 + topic : 4 + topic]
                seq = json.loads(body[body.index(b'{"schema"') :])["seq"]
                code = self._refuse.pop(seq, 0)
                self.received.append((seq, not code))
                connection.sendall(bytes([_PUBACK << 4, 3, *packet, code]))


def _packet(connection: socket.socket) -> tuple[int, bytes]:
    """Return the first byte and the body of the next packet.

    Raises:
        EOFError: the connection was closed.
    """
    header = _exactly(connection, 1)[0]
    length = shift = 0
    while True:
        byte = _exactly(connection, 1)[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return header, _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        part = connection.recv(count - len(received))
        if not part:
            raise EOFError
        received += part
    return received
