"""A subscriber to one or more daemons: gives decoded messages and the gaps between them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import zmq

from edge.client.endpoints import check_endpoint
from edge.client.gaps import Cursor, Gap, GapDetector
from edge.clock import elapsed_ms, monotonic_ns
from edge.errors import ConfigError
from edge.protocol import messages

Kind = Literal["frame", "event", "status"]
KINDS: tuple[Kind, ...] = ("frame", "event", "status")

PART_BYTES_MAX = 1 << 20
"""Largest accepted message. ZeroMQ disconnects a peer that announces a larger one, before it
allocates memory, and never reconnects to it. A face takes less than 1 KiB."""


_LOOK_NS = 2_000_000_000
"""Longest time between two calls of ``receive`` that counts as silence of the daemons."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message as decoded and as received, with its gap.

    Attributes:
        message: the decoded message.
        part: the bytes on the wire: topic, a space, JSON (with fields this version may not know).
        gap: messages missing right before it; for a status, up to its ``last_seq``, or once those
            before the first message received of an epoch that the subscriber had waited for.
        late: its number is not above the highest known one of its stream: a repeat, or a
            straggler already reported missing. Always false for a status.
    """

    message: messages.FrameMessage | messages.EventMessage | messages.StatusMessage
    part: bytes
    gap: Gap | None
    late: bool

    @property
    def body(self) -> bytes:
        """The JSON as received, without the topic."""
        return self.part.partition(b" ")[2]


class Subscriber:
    """Receives the messages of daemons and reports which ones are missing.

    A context manager; sockets exist only inside ``with``. ZeroMQ connects and reconnects in the
    background, so a daemon that is not running yet is no error. But it never reconnects to a peer
    that broke the protocol, such as another program on that port. So if statuses, which come every
    second, are subscribed, ``silence_s`` without a message makes a new socket. Not thread-safe.

    Gaps are found only if frames and events are both subscribed, since they share their numbers,
    and only without ``conflate``, since a conflating socket skips messages on purpose.

    Args:
        endpoints: addresses of PUB sockets, ``tcp://HOST:PORT`` or ``ipc://PATH``; at least one.
        kinds: which kinds to receive.
        device: receive only this device's messages; None: of all devices.
        conflate: keep only the newest message (for displays).
        high_water: how many messages may wait unread, per peer, before the newest are dropped;
            at 30 frames per second, 1000 are half a minute.
        cursors: where an earlier run stopped, so that the gap since then is reported.
        silence_s: seconds without any message before it reconnects.

    Attributes:
        undecodable: how many received parts were not messages of this schema; they are skipped.
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
        self._device = device
        self._topics = _topics(kinds, device)
        self._conflate = conflate
        self._high_water = high_water
        self._gaps = GapDetector(cursors)
        self._finds_gaps = {"frame", "event"} <= set(kinds) and not conflate
        self._silence_ns = int(silence_s * 1e9) if "status" in kinds else None
        self._silent_ns = 0  # since the last message, or since connecting
        self._looked_ns = 0  # when that was updated
        self._opened_ns = 0  # time since which messages are waited for
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self.undecodable = 0

    def __enter__(self) -> Self:
        """Open the socket and connect it.

        Raises:
            ConfigError: there is no endpoint, or one is not a valid ZeroMQ address.
        """
        if not self._endpoints:
            raise ConfigError("no endpoint to subscribe to; expected at least one tcp://HOST:PORT")
        self._context = zmq.Context()
        self._opened_ns = monotonic_ns()
        try:
            self._socket = self._open_socket(self._context)
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
        """The addresses of the publishers."""
        return self._endpoints

    @property
    def device(self) -> str | None:
        """The only device whose messages are received; None: all."""
        return self._device

    @property
    def cursors(self) -> tuple[Cursor, ...]:
        """The last known message of each stream."""
        return self._gaps.cursors

    def receive(self, timeout_s: float) -> Received | None:
        """Return the next message, or None after ``timeout_s`` without one.

        With 0 it only takes a message that is already waiting. Signal handlers run during the wait.

        Raises:
            RuntimeError: called outside of the ``with`` block.
        """
        if self._socket is None:
            raise RuntimeError("Subscriber.receive outside of `with`")
        deadline_ns = monotonic_ns() + int(timeout_s * 1e9)
        while True:
            remaining_ms = max(0, (deadline_ns - monotonic_ns()) // 1_000_000)
            if not self._socket.poll(remaining_ms):
                self._reconnect_if_silent()
                return None
            part, *more_parts = self._socket.recv_multipart()
            self._silent_ns, self._looked_ns = 0, monotonic_ns()
            try:
                # every message of this schema is a single part
                message = None if more_parts else messages.decode(part)
            except ValueError:
                message = None
            if message is not None:
                return self._with_gap(message, part)
            self.undecodable += 1
            if monotonic_ns() >= deadline_ns:
                return None

    def _with_gap(
        self,
        message: messages.FrameMessage | messages.EventMessage | messages.StatusMessage,
        part: bytes,
    ) -> Received:
        gap, late = None, False
        if self._finds_gaps:
            if isinstance(message, messages.StatusMessage):
                age_s, waited_s = message.epoch_age_s, elapsed_ms(self._opened_ns) / 1000
                gap = self._gaps.heartbeat(
                    message.stream,
                    message.epoch,
                    message.last_seq,
                    began_while_waiting=age_s is not None and age_s < waited_s,
                )
            else:
                gap, late = self._gaps.message(message.stream, message.epoch, message.seq)
        return Received(message, part, gap, late)

    def _reconnect_if_silent(self) -> None:
        """Replace the socket after ``silence_s`` without a message, to retry peers given up on."""
        now_ns = monotonic_ns()
        # a pause of this process (Ctrl-Z) is no silence: messages may wait on the connection
        self._silent_ns += min(now_ns - self._looked_ns, _LOOK_NS)
        self._looked_ns = now_ns
        if self._silence_ns is None or self._silent_ns < self._silence_ns or self._context is None:
            return
        if self._socket is not None:
            self._socket.close(linger=0)
        self._socket = self._open_socket(self._context)

    def _open_socket(self, context: "zmq.Context[zmq.Socket[bytes]]") -> "zmq.Socket[bytes]":
        # all options before connect: most have no effect on existing connections
        options: dict[int, int | bytes] = {
            zmq.LINGER: 0,
            zmq.RCVHWM: self._high_water,
            zmq.MAXMSGSIZE: PART_BYTES_MAX,
            # One-way heartbeats find a half-open connection in 6 s instead of two hours. Statuses
            # do the same. With both, a process that was stopped (Ctrl-Z) would first send a
            # heartbeat to a daemon that has ended, on which TCP discards what waits to be read.
            zmq.HEARTBEAT_IVL: 0 if self._silence_ns is not None else 2000,
            zmq.HEARTBEAT_TIMEOUT: 6000,
            zmq.HEARTBEAT_TTL: 6000,
            zmq.RECONNECT_IVL: 100,
            zmq.RECONNECT_IVL_MAX: 5000,
            zmq.HANDSHAKE_IVL: 5000,
            # only for a literal address: with IPv6 on, "localhost" may resolve to ::1, while the
            # daemon listens on 127.0.0.1
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
        self._silent_ns, self._looked_ns = 0, monotonic_ns()
        return socket


def _topics(kinds: Sequence[Kind], device: str | None) -> tuple[bytes, ...]:
    """Return the topic prefixes to subscribe to.

    All kinds of all devices are one prefix: with several, messages sent between the first and the
    last subscription would be partly missing. A device's prefix includes the space after the topic,
    so that "edge-1" does not match "edge-10".
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
    check_endpoint(endpoint)
    try:
        socket.connect(endpoint)
    except (zmq.ZMQError, ValueError, TypeError) as error:
        raise ConfigError(
            f"endpoint {endpoint!r}: {error}; expected tcp://HOST:PORT or ipc://PATH"
        ) from error
