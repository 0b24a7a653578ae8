"""The PUB side: one socket, one thread, single-part messages, subscriptions in sight."""

import contextlib

import zmq

from edge.hub.sockets import bind
from edge.protocol.messages import topic


class Publisher:
    """Publishes messages on one endpoint. For the hub's one loop.

    An XPUB socket: what a subscriber sees is plain PUB, and the hub sees the subscriptions.

    Attributes:
        endpoint: where it is bound, with the port the system chose for ``tcp://...:*``.
    """

    def __init__(
        self, context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str, *, high_water: int
    ) -> None:
        """Bind.

        Raises:
            ConfigError: the endpoint is in use or cannot be bound.
        """
        self._socket = context.socket(zmq.XPUB)
        self._topics: set[bytes] = set()
        self.endpoint = bind(self._socket, endpoint, key="publish.endpoint", high_water=high_water)

    @property
    def socket(self) -> "zmq.Socket[bytes]":
        """The socket, to poll for subscriptions."""
        return self._socket

    def read_subscriptions(self) -> None:
        """Take notice of who came and went; call when the socket is readable."""
        with contextlib.suppress(zmq.Again):
            while True:
                note = self._socket.recv(zmq.NOBLOCK)
                if note[:1] == b"\x01":
                    self._topics.add(note[1:])
                elif note[:1] == b"\x00":
                    self._topics.discard(note[1:])

    def heard(self, kind: str, device: str) -> bool:
        """Return whether somebody is subscribed to messages of ``kind``."""
        name = topic(kind, device).encode()
        return any(name.startswith(prefix) for prefix in self._topics)

    def wait_for_slow(self) -> None:
        """From now on refuse what a subscriber has no room for, instead of leaving it out."""
        self._socket.setsockopt(zmq.XPUB_NODROP, 1)

    def offer(self, part: bytes) -> bool:
        """Send an encoded message; return False where ``wait_for_slow`` holds, and one is slow.

        Otherwise a subscriber that is too far behind misses it.
        """
        try:
            self._socket.send(part, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def close(self, drain_s: float) -> None:
        """Close; what is under way is delivered for ``drain_s`` at most (by the context's end)."""
        self._socket.close(linger=int(drain_s * 1000))
