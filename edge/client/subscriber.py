"""A subscriber to one or more daemons: decoded messages, and what is missing between them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import zmq

from edge.client.gaps import Cursor, Gap, GapDetector
from edge.clock import monotonic_ns
from edge.errors import ConfigError
from edge.protocol import messages

Kind = Literal["frame", "event", "status"]
KINDS: tuple[Kind, ...] = ("frame", "event", "status")

PART_BYTES_MAX = 1 << 20
"""A peer that announces more is cut off before any memory is taken for it. A face is under 1 KiB,
so no lawful message comes near: ZeroMQ never returns to a peer that it cut off for this."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message, as decoded and as it came.

    Attributes:
        message: the decoded message.
        part: the bytes on the wire: topic, a space, JSON (with fields this version may not know).
        gap: what is missing right before it (of a status: up to the last number it tells).
        late: its number is not above the highest one known of its stream: a repeat, or a
            straggler already reported missing. Always false for a status.
    """

    message: messages.FrameMessage | messages.EventMessage | messages.StatusMessage
    part: bytes
    gap: Gap | None
    late: bool

    @property
    def body(self) -> bytes:
        """The JSON as it came, without the topic."""
        return self.part.partition(b" ")[2]


class Subscriber:
    """Receives the messages of daemons, and tells which ones are missing.

    A context manager; sockets exist only inside ``with``. ZeroMQ connects and reconnects in the
    background, so a daemon that is not there yet is no error. It gives up for good, though, on a
    peer that broke the protocol (another program on that port, say). So with statuses subscribed,
    which come each second, a silence of ``silence_s`` makes a new socket. Not thread-safe.

    Gaps are looked for only with frames and events both subscribed, and without ``conflate``:
    the two are numbered together, and a conflating socket skips messages by intention.

    Args:
        endpoints: addresses of PUB sockets, ``tcp://HOST:PORT`` or ``ipc://PATH``; at least one.
        kinds: which kinds to receive.
        device: only this device's messages; all devices' when None.
        conflate: keep the newest message only (for displays).
        high_water: how many messages may wait unread, per peer, before the newest are dropped;
            at 30 frames a second, 1000 are half a minute.
        cursors: where an earlier run stopped, so that the gap in between shows.
        silence_s: after how many seconds without any message to connect anew.

    Attributes:
        undecodable: how many parts were no message of this schema; they are skipped.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        kinds: Sequence[Kind] = KINDS,
        device: str | None = None,
        conflate: bool = False,
        *,
        high_water: int = 1000,
        cursors: Iterable[Cursor] = (),
        silence_s: float = 10.0,
    ) -> None:
        self._endpoints = tuple(endpoints)
        self._topics = _topics(kinds, device)
        self._conflate = conflate
        self._high_water = high_water
        self._gaps = GapDetector(cursors)
        self._finds_gaps = {"frame", "event"} <= set(kinds) and not conflate
        self._silence_ns = int(silence_s * 1e9) if "status" in kinds else None
        self._heard_ns = 0
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self.undecodable = 0

    def __enter__(self) -> Self:
        """Open the socket and connect it.

        Raises:
            ConfigError: there is no endpoint, or ZeroMQ cannot make sense of one.
        """
        if not self._endpoints:
            raise ConfigError("no endpoint to subscribe to; expected at least one tcp://HOST:PORT")
        self._context = zmq.Context()
        try:
            self._socket = self._connected(self._context)
        except ConfigError:
            self._context.destroy(linger=0)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._context is not None:
            self._context.destroy(linger=0)
        self._context = self._socket = None

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The addresses that it connects to."""
        return self._endpoints

    @property
    def cursors(self) -> tuple[Cursor, ...]:
        """The last message known of each stream."""
        return self._gaps.cursors

    def receive(self, timeout_s: float) -> Received | None:
        """Return the next message, or None when ``timeout_s`` passed without one.

        With 0 it takes what is already waiting. Signal handlers run during the wait.
        """
        if self._socket is None:
            raise RuntimeError("Subscriber.receive outside of `with`")
        deadline_ns = monotonic_ns() + int(timeout_s * 1e9)
        while True:
            left_ms = max(0, (deadline_ns - monotonic_ns()) // 1_000_000)
            if not self._socket.poll(left_ms):
                self._end_silence()
                return None
            part, *others = self._socket.recv_multipart()
            self._heard_ns = monotonic_ns()
            try:
                # every message is one part: what has more is nobody's we know
                message = None if others else messages.decode(part)
            except ValueError:
                message = None
            if message is not None:
                return self._booked(message, part)
            self.undecodable += 1
            if monotonic_ns() >= deadline_ns:
                return None

    def _booked(
        self,
        message: messages.FrameMessage | messages.EventMessage | messages.StatusMessage,
        part: bytes,
    ) -> Received:
        gap, late = None, False
        if self._finds_gaps:
            if isinstance(message, messages.StatusMessage):
                gap = self._gaps.heartbeat(message.stream, message.epoch, message.last_seq)
            else:
                gap, late = self._gaps.message(message.stream, message.epoch, message.seq)
        return Received(message, part, gap, late)

    def _end_silence(self) -> None:
        """Connect anew where nothing came for too long; what ZeroMQ gave up on is tried again."""
        silent_ns = monotonic_ns() - self._heard_ns
        if self._silence_ns is None or silent_ns < self._silence_ns or self._context is None:
            return
        if self._socket is not None:
            self._socket.close(linger=0)
        self._socket = self._connected(self._context)

    def _connected(self, context: "zmq.Context[zmq.Socket[bytes]]") -> "zmq.Socket[bytes]":
        # all options before connect: most have no effect on connections that already exist
        options: dict[int, int | bytes] = {
            zmq.LINGER: 0,
            zmq.RCVHWM: self._high_water,
            zmq.MAXMSGSIZE: PART_BYTES_MAX,
            # one-way heartbeats find a half-open connection in 6 s instead of two hours
            zmq.HEARTBEAT_IVL: 2000,
            zmq.HEARTBEAT_TIMEOUT: 6000,
            zmq.HEARTBEAT_TTL: 6000,
            zmq.RECONNECT_IVL: 100,
            zmq.RECONNECT_IVL_MAX: 5000,
            zmq.HANDSHAKE_IVL: 5000,
            # only for a literal address: with it, "localhost" may mean ::1, where nobody listens
            zmq.IPV6: int(any("[" in endpoint for endpoint in self._endpoints)),
            zmq.CONFLATE: int(self._conflate),
        }
        socket = context.socket(zmq.SUB)
        for option, value in options.items():
            socket.setsockopt(option, value)
        for topic in self._topics:
            socket.setsockopt(zmq.SUBSCRIBE, topic)
        for endpoint in self._endpoints:
            _connect(socket, endpoint)
        self._heard_ns = monotonic_ns()
        return socket


def _topics(kinds: Sequence[Kind], device: str | None) -> tuple[bytes, ...]:
    """Return the prefixes to subscribe to.

    Everything of everybody is one prefix, so that no message can fall between two subscriptions.
    With a device, the space that ends a topic belongs to the prefix: "edge-1" is not "edge-10".
    """
    unknown = set(kinds) - set(KINDS)
    if unknown or not kinds:
        raise ConfigError(f"kinds {list(kinds)}: expected some of {', '.join(KINDS)}")
    if device is not None:
        return tuple(f"{messages.topic(kind, device)} ".encode() for kind in kinds)
    if set(kinds) == set(KINDS):
        return (f"{messages.SCHEMA}.".encode(),)
    return tuple(messages.topic(kind, "").encode() for kind in kinds)


def _connect(socket: "zmq.Socket[bytes]", endpoint: str) -> None:
    try:
        socket.connect(endpoint)
    except (zmq.ZMQError, ValueError, TypeError) as error:
        raise ConfigError(
            f"endpoint {endpoint!r}: {error}; expected tcp://HOST:PORT or ipc://PATH"
        ) from error
