"""The SUB sockets: receive what daemons publish now, and retry peers that ZeroMQ gave up on."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import zmq

from edge.client.endpoints import connect
from edge.client.handshakes import HandshakeMonitor
from edge.client.origins import Origins
from edge.clock import monotonic_ns
from edge.protocol import messages
from edge.protocol.messages import Message

PART_BYTES_MAX: Final = 1 << 20
"""Largest accepted message. ZeroMQ disconnects a peer that announces a larger one, before it
allocates memory, and never reconnects to it. A face takes less than 1 KiB."""

_LOOK_NS = 2_000_000_000
"""Longest time between two looks that counts as silence of the daemon."""

_LOOK_EACH_NS = 100_000_000


class Taken(NamedTuple):
    """A received part.

    Attributes:
        message: None if the part was not one, which is counted.
        part: its bytes.
        origin: number of its endpoint.
    """

    message: Message | None
    part: bytes
    origin: int


class Live:
    """The live messages of one or more daemons, with a SUB socket for each. Not thread-safe.

    So it is known from which daemon a message is: a stream is received from one of them only.

    Args:
        context: of the sockets.
        endpoints: addresses of PUB sockets.
        topics, conflate, high_water, silence_s: of each socket, see ``LiveSocket``.
        report: takes a line when a second daemon publishes a stream.

    Attributes:
        origins: of the streams.

    Raises:
        ConfigError: an endpoint is not a valid ZeroMQ address.
    """

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        endpoints: Sequence[str],
        topics: Sequence[bytes],
        *,
        conflate: bool,
        high_water: int,
        silence_s: float | None,
        report: Callable[[str], None],
    ) -> None:
        self.origins = Origins(endpoints, report)
        self._sockets = [
            LiveSocket(
                context, endpoint, topics,
                conflate=conflate, high_water=high_water, silence_s=silence_s,
            )
            for endpoint in endpoints
        ]  # fmt: skip
        self._readable: deque[int] = deque()
        self._looked_ns = monotonic_ns()

    @property
    def count(self) -> int:
        """Number of endpoints."""
        return len(self._sockets)

    @property
    def undecodable(self) -> int:
        """How many received parts were not messages of this schema; they are skipped."""
        return sum(each.undecodable for each in self._sockets)

    @property
    def claims(self) -> Mapping[str, str]:
        """What is wrong with streams that two daemons publish, by stream."""
        return self.origins.claims(monotonic_ns())

    def wait(self, others: Sequence["zmq.Socket[bytes]"], timeout_ms: int) -> bool:
        """Wait until a message, or one of the ``others``, can be read; return whether one can."""
        sockets = [*(each.socket for each in self._sockets), *others]
        polled = dict(zmq.zmq_poll([(each, zmq.POLLIN) for each in sockets], timeout_ms))
        self._readable.clear()
        self._readable.extend(
            index for index, each in enumerate(self._sockets) if each.socket in polled
        )
        return bool(polled)

    def take(self) -> Taken | None:
        """Return a message that waits since ``wait``; None if there is none."""
        while self._readable:
            index = self._readable[0]
            taken = self._sockets[index].take()
            if taken is None:
                self._readable.popleft()
                continue
            self._readable.rotate(-1)  # one of each daemon in turn
            message, part = taken
            if message is None or self.origins.accepts(
                message.stream, message.device, index, monotonic_ns()
            ):
                return Taken(message, part, index)
        return None

    def reconnect_silent(self) -> None:
        """Replace the sockets that were silent for ``silence_s``; call it in each turn."""
        if monotonic_ns() - self._looked_ns < _LOOK_EACH_NS:
            return
        self._looked_ns = monotonic_ns()
        for each in self._sockets:
            if not int(each.socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
                each.reconnect_if_silent()

    def close(self) -> None:
        """Close the sockets."""
        for each in self._sockets:
            each.close()


class LiveSocket:
    """A SUB socket on one daemon. Not thread-safe.

    ZeroMQ never reconnects to a peer that broke the protocol, such as another program on that port.
    So ``silence_s`` without a message makes a new socket.

    Args:
        context: of the socket.
        endpoint: address of a PUB socket.
        topics: prefixes to subscribe to.
        conflate: keep only the newest message.
        high_water: how many messages may wait unread.
        silence_s: seconds without any message before it reconnects; None: never, because the
            subscribed messages may be rare.

    Attributes:
        socket: to poll for messages; another one after a reconnection.
        undecodable: how many received parts were not messages of this schema; they are skipped.

    Raises:
        ConfigError: ``endpoint`` is not a valid ZeroMQ address.
    """

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        endpoint: str,
        topics: Sequence[bytes],
        *,
        conflate: bool,
        high_water: int,
        silence_s: float | None,
    ) -> None:
        self._context = context
        self._endpoint = endpoint
        self._topics = topics
        self._conflate = conflate
        self._high_water = high_water
        self._silence_ns = None if silence_s is None else int(silence_s * 1e9)
        self._silent_ns = 0  # since the last message, or since connecting
        self._looked_ns = 0  # when that was updated
        self._logged: set[str] = set()
        self.undecodable = 0
        self.socket = self._open()

    def take(self) -> tuple[Message | None, bytes] | None:
        """Return a message that is waiting, and its bytes; None if there is none.

        The message is None if the received part was not one, which is counted.
        """
        try:
            part, *more_parts = self.socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None
        self._silent_ns, self._looked_ns = 0, monotonic_ns()
        try:
            # every message of this schema is a single part
            message = None if more_parts else messages.decode(part)
        except ValueError:
            message = None
        self.undecodable += message is None
        return message, part

    def reconnect_if_silent(self) -> None:
        """Replace the socket after ``silence_s`` without a message; call it when none waits."""
        self._handshakes.log_problem()
        now_ns = monotonic_ns()
        # a pause of this process (Ctrl-Z) is no silence: messages may wait on the connection
        self._silent_ns += min(now_ns - self._looked_ns, _LOOK_NS)
        self._looked_ns = now_ns
        if self._silence_ns is not None and self._silent_ns >= self._silence_ns:
            self.close()
            self.socket = self._open()

    def close(self) -> None:
        """Close the socket."""
        self._handshakes.close()
        self.socket.close(linger=0)

    def _open(self) -> "zmq.Socket[bytes]":
        # all options before connect: most have no effect on existing connections
        options: dict[int, int | bytes] = {
            zmq.LINGER: 0,
            zmq.RCVHWM: self._high_water,
            zmq.MAXMSGSIZE: PART_BYTES_MAX,
            # Without statuses, this finds a half-open connection in 25 s instead of two hours. No
            # heartbeats: a process that was stopped (Ctrl-Z) would first send one to a daemon that
            # has ended, on which TCP discards what waits to be read; and libzmq 4.3.5 aborts the
            # process if it sends one to a daemon that has gone while the queue is full.
            zmq.TCP_KEEPALIVE: 1,
            zmq.TCP_KEEPALIVE_IDLE: 10,
            zmq.TCP_KEEPALIVE_INTVL: 5,
            zmq.TCP_KEEPALIVE_CNT: 3,
            zmq.RECONNECT_IVL: 100,
            zmq.RECONNECT_IVL_MAX: 5000,
            zmq.HANDSHAKE_IVL: 5000,
            zmq.CONFLATE: int(self._conflate),
        }
        socket = self._context.socket(zmq.SUB)
        for option, value in options.items():
            socket.setsockopt(option, value)
        for topic in self._topics:
            socket.setsockopt(zmq.SUBSCRIBE, topic)
        self._handshakes = HandshakeMonitor(socket, self._endpoint, self._logged)
        connect(socket, self._endpoint)
        self._silent_ns, self._looked_ns = 0, monotonic_ns()
        return socket
