"""The PUB side: one socket, one thread, single-part messages; subscriptions are known."""

import contextlib
from typing import Final

import zmq

from edge import clock
from edge.config import PublishConfig
from edge.hub.guard import Guard
from edge.hub.security import Security
from edge.hub.sockets import bind
from edge.protocol.messages import topic

_TURN_MS: Final = 5.0  # for subscriptions, then the loop attends to the link and the timers
_TOPICS_MAX: Final = 1000  # that are kept; more are served, too


class Publisher:
    """Publishes messages on one endpoint. Only for the hub's main loop.

    An XPUB socket: to a subscriber it is plain PUB, and the hub receives the subscriptions.

    Attributes:
        endpoint: where it is bound, with the port the system chose for ``tcp://...:*``.
    """

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        config: PublishConfig,
        guard: Guard | None = None,
        security: Security | None = None,
    ) -> None:
        """Bind; ``guard`` watches the connections, ``security`` admits only allowed keys.

        Raises:
            ConfigError: the endpoint is in use or cannot be bound.
        """
        self._socket = context.socket(zmq.XPUB)
        self._topics: set[bytes] = set()
        if guard is not None:
            guard.watch("publish", self._socket)
        self._security = security
        if security is not None:  # each subscription is received, also one that is there already
            self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        self.endpoint = bind(
            self._socket,
            config.endpoint,
            key="publish.endpoint",
            high_water=config.high_water,
            security=security,
        )

    @property
    def socket(self) -> "zmq.Socket[bytes]":
        """The socket, to poll for subscriptions."""
        return self._socket

    def read_subscriptions(self) -> None:
        """Receive subscriptions for a few milliseconds; call when the socket is readable."""
        start_ns = clock.monotonic_ns()
        with contextlib.suppress(zmq.Again):
            while clock.elapsed_ms(start_ns) < _TURN_MS:
                frame = self._socket.recv(zmq.NOBLOCK, copy=False)
                notification = frame.bytes
                if notification[:1] == b"\x01":
                    if self._security is not None and not self._security.client_of(frame):
                        continue
                    if len(self._topics) >= _TOPICS_MAX:
                        continue
                    self._topics.add(notification[1:])
                elif notification[:1] == b"\x00":
                    self._topics.discard(notification[1:])

    def has_subscriber(self, kind: str, device: str) -> bool:
        """Return whether a subscription covers messages of ``kind``."""
        name = topic(kind, device).encode()
        return any(name.startswith(prefix) for prefix in self._topics)

    def disable_drop(self) -> None:
        """From now on ``offer`` refuses a message while any subscriber's queue is full."""
        self._socket.setsockopt(zmq.XPUB_NODROP, 1)

    def offer(self, part: bytes) -> bool:
        """Send an encoded message; return False after ``disable_drop`` while a queue is full.

        Without ``disable_drop``, a subscriber whose queue is full misses the message.
        """
        try:
            self._socket.send(part, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def close(self, drain_s: float) -> None:
        """Close; queued messages are delivered for up to ``drain_s`` (when the context ends)."""
        self._socket.close(linger=int(drain_s * 1000))
