"""Cuts connections of peers that make ZeroMQ fill this process's memory.

ZeroMQ gathers all parts of a message before it gives the first one to the hub, and has no limit for
their number. It also keeps every subscription. So a program on this machine could fill the memory
with one message of endlessly many parts. This thread looks at the connections and at the memory
below ZeroMQ, and cuts, with ``shutdown``:

- a TCP connection over which more has come than requests or subscriptions need;
- when memory grows fast: connections whose data waits to be received, which a flood always has, and
  those of the service whose replies nobody reads;
- when memory has grown much without such a connection: all of them;
- connections beyond ``CONNECTIONS_MAX``, those first that may not have shaken hands.

A connection whose peer has gone may stay: ZeroMQ never reads the messages of a peer that had the
identity of another one. Nothing but closing their socket frees these; ``stuck`` counts them.

ZeroMQ then drops what it has gathered. Clients connect again by themselves, and ``fetch`` returns
what a subscriber missed meanwhile.
"""

import contextlib
import fcntl
import itertools
import logging
import select
import socket as sockets
import struct
import sys
import termios
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import zmq
from zmq.utils.monitor import parse_monitor_message

from edge import clock
from edge.hub.connections import HANDSHAKES, Handshake, copy_of, inode_of
from edge.hub.io_threads import share_processor
from edge.hub.memory_watch import Growth, MemoryWatch
from edge.hub.sockets import HANDSHAKE_MS
from edge.hub.token_bucket import TokenBucket

log = logging.getLogger("affect_edge")

Name = Literal["publish", "service"]
Reason = Literal["bytes", "memory", "count"]

_REFUSALS: Final[dict[int, Handshake]] = {
    zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH: "mechanism",
    zmq.PROTOCOL_ERROR_ZAP_UNSPECIFIED: "incomplete",
}

CONNECTIONS_MAX: Final = 512
"""Connections to one socket."""

BYTES: Final[dict[Name, tuple[int, int]]] = {
    "publish": (64 << 10, 1 << 10),
    "service": (1 << 20, 256 << 10),
}
"""What may come over one connection: bytes at once, and bytes a second."""

STUCK_S: Final = 5.0
"""Peers leave within milliseconds. After this time without a peer, a connection is stuck."""

_PERIOD_MS: Final = 20
_SHARE_NS: Final = 5_000_000_000  # for which new threads of ZeroMQ are looked for
_ALERT_PERIOD_MS: Final = 5  # while memory grows: ZeroMQ takes in up to 1 MB a millisecond
_SWITCH_S: Final = 0.0005
"""Longest time for which a busy thread keeps Python's lock from another one.

This thread takes the lock several times for each connection that it cuts. With Python's 5 ms and a
busy main loop, that was a tenth of a second, in which ZeroMQ takes in 100 MB.
"""
_LOG_S: Final = 10.0
_LEFT_PERIOD_S: Final = 1.0  # between two looks whether peers have left
_HAS_LEFT: Final = select.POLLRDHUP | select.POLLHUP | select.POLLERR
_EVENTS: Final = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_MONITOR_STOPPED
)
_TCP_INFO_BYTES: Final = 256
_BYTES_RECEIVED: Final = struct.Struct("=Q")  # tcpi_bytes_received of <linux/tcp.h>
_BYTES_RECEIVED_AT: Final = 128


@dataclass(slots=True)
class _Connection:
    """A connection that ZeroMQ accepted.

    Attributes:
        name: of the socket.
        monitor: of the socket.
        descriptor: ZeroMQ's own; it may be closed, and used for another file, at any time.
        inode: of the connection, which identifies it.
        is_tcp: whether the kernel counts its bytes.
        since_ns: monotonic time at which it was accepted.
        bucket: bytes that may still come.
        received: bytes that had come at the last look.
        left_ns: when the peer was first seen to have left; None: it is there.
    """

    name: Name
    monitor: "zmq.Socket[bytes]"
    descriptor: int
    inode: int
    is_tcp: bool
    since_ns: int
    bucket: TokenBucket
    received: int = 0
    left_ns: int | None = None


class Counters(Protocol):
    """Counts what the guard does."""

    def connection_cut(self, socket: str, reason: str) -> None:
        """Count a connection that was cut, with its ``Name`` and ``Reason``."""

    def peer_rejected(self, why: str) -> None:
        """Count a failed handshake, with its reason in ``HANDSHAKES``."""


class Guard:
    """Watches the connections of the hub's sockets in a thread of its own.

    Args:
        context: of the sockets that are watched.
        counters: called in that thread for what is cut or refused.
        own_bytes: called in that thread; returns how much memory the hub holds on purpose.

    Attributes:
        stuck: connections whose peer left ``STUCK_S`` ago or earlier, by socket. For any thread.
    """

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        counters: Counters,
        own_bytes: Callable[[], int] = lambda: 0,
    ) -> None:
        self._context = context
        self._counters = counters
        self._watched: list[zmq.Socket[bytes]] = []
        self._numbers = itertools.count()
        self._added: deque[tuple[Name, zmq.Socket[bytes]]] = deque()
        self._is_closed = False
        self.stuck: Counter[Name] = Counter()
        # only of the thread
        self._next_left_ns = 0
        self._connections: dict[int, _Connection] = {}  # by descriptor
        self._memory = MemoryWatch(own_bytes)
        self._cuts: Counter[tuple[str, str]] = Counter()  # since the last line in the log
        self._culprit = ""
        self._failures: Counter[tuple[str, Handshake]] = Counter()  # as _cuts
        self._logged_ns: int | None = None
        self._thread = threading.Thread(target=self._run, name="guard", daemon=True)
        self._thread.start()

    def watch(self, name: Name, socket: "zmq.Socket[bytes]") -> None:
        """Watch the connections that ``socket`` accepts from now on; call it before ``bind``.

        Only for the thread that owns the socket.
        """
        self._watched = [each for each in self._watched if not each.closed]
        self._watched.append(socket)
        address = f"inproc://guard-{next(self._numbers)}"
        socket.monitor(address, _EVENTS)
        monitor = self._context.socket(zmq.PAIR)
        monitor.setsockopt(zmq.LINGER, 0)
        monitor.setsockopt(zmq.RCVHWM, 0)  # else ZeroMQ waits for this thread when there are many
        monitor.connect(address)
        self._added.append((name, monitor))

    def close(self) -> None:
        """End the thread. Only for the thread that owns the sockets."""
        for socket in self._watched:
            if not socket.closed:
                socket.disable_monitor()  # else ZeroMQ waits for somebody to receive its events
        self._is_closed = True
        self._thread.join()
        for _, monitor in self._added:
            monitor.close()

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        sys.setswitchinterval(_SWITCH_S)
        poller = zmq.Poller()
        names: dict[zmq.Socket[bytes], Name] = {}
        next_ns = clock.monotonic_ns()
        share_until_ns = 0
        while not self._is_closed:
            while self._added:
                name, monitor = self._added.popleft()
                names[monitor] = name
                poller.register(monitor, zmq.POLLIN)
                # The threads exist since the first socket was made, and name themselves some time
                # after that, on a busy machine.
                share_until_ns = clock.monotonic_ns() + _SHARE_NS
            left_ms = (next_ns - clock.monotonic_ns()) // 1_000_000
            for monitor, _ in poller.poll(max(0, left_ms)):
                if self._note_events(names[monitor], monitor):
                    continue
                poller.unregister(monitor)
                del names[monitor]
                monitor.close()
            now_ns = clock.monotonic_ns()
            if now_ns >= next_ns:
                if now_ns < share_until_ns and not share_processor():
                    share_until_ns = 0
                self._check(now_ns)
                period_ms = _ALERT_PERIOD_MS if self._memory.is_growing else _PERIOD_MS
                next_ns = now_ns + period_ms * 1_000_000
        for monitor in names:
            monitor.close()
        self._memory.close()

    def _note_events(self, name: Name, monitor: "zmq.Socket[bytes]") -> bool:
        """Note what happened at a socket; return whether more can follow."""
        with contextlib.suppress(zmq.Again):
            while True:
                event = parse_monitor_message(monitor.recv_multipart(zmq.NOBLOCK))
                match event["event"]:
                    case zmq.EVENT_ACCEPTED:
                        self._add(name, monitor, event["value"], event["endpoint"])
                    case zmq.EVENT_MONITOR_STOPPED:  # with its socket
                        self._forget(monitor)
                        return False
                    case zmq.EVENT_DISCONNECTED:
                        self._connections.pop(event["value"], None)
                    case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                        self._note_failure(name, _REFUSALS.get(event["value"], "garbage"))
                    case _:  # the peer has gone, or was silent
                        self._note_failure(name, "incomplete")
        return True

    def _forget(self, monitor: "zmq.Socket[bytes]") -> None:
        kept = {at: each for at, each in self._connections.items() if each.monitor != monitor}
        self._connections = kept

    def _note_failure(self, name: Name, reason: Handshake) -> None:
        self._counters.peer_rejected(reason)
        if reason != "incomplete":  # a look whether anybody listens is no reason to worry
            self._failures[name, reason] += 1

    def _add(
        self, name: Name, monitor: "zmq.Socket[bytes]", descriptor: int, endpoint: bytes
    ) -> None:
        inode = inode_of(descriptor)
        if inode is None:
            return  # closed meanwhile
        now_ns = clock.monotonic_ns()
        size, rate = BYTES[name]
        self._connections.pop(descriptor, None)  # of one that has been closed
        self._connections[descriptor] = _Connection(
            name,
            monitor,
            descriptor,
            inode,
            endpoint.startswith(b"tcp"),
            now_ns,
            TokenBucket(rate, size, now_ns),
        )
        same = [each for each in self._connections.values() if each.name == name]
        if len(same) > CONNECTIONS_MAX:
            # Older ones have shaken hands, else ZeroMQ would have closed them. The oldest of the
            # others is the least likely to be a client that is about to send its request.
            young = [each for each in same if now_ns - each.since_ns < HANDSHAKE_MS * 1e6]
            self._cut(young[0], "count")

    def _check(self, now_ns: int) -> None:
        for each in list(self._connections.values()):
            if each.is_tcp and self._is_over_budget(each, now_ns):
                self._cut(each, "bytes")
        if now_ns >= self._next_left_ns:
            self._next_left_ns = now_ns + int(_LEFT_PERIOD_S * 1e9)
            self._look_who_left(now_ns)
        growth = self._memory.assess(now_ns)
        if growth is not Growth.NORMAL:
            flooding = self._flooding()
            if growth is Growth.LARGE and not flooding:
                flooding = list(self._connections.values())
            for each in flooding:
                self._cut(each, "memory")
        self._log(now_ns)

    def _look_who_left(self, now_ns: int) -> None:
        poller = select.poll()
        for descriptor in self._connections:
            poller.register(descriptor, select.POLLRDHUP)
        left = {at for at, state in poller.poll(0) if state & _HAS_LEFT}
        for descriptor, each in self._connections.items():
            each.left_ns = (each.left_ns or now_ns) if descriptor in left else None
        self.stuck = Counter(
            each.name
            for each in self._connections.values()
            if each.left_ns is not None and now_ns - each.left_ns >= STUCK_S * 1e9
        )

    @staticmethod
    def _is_over_budget(each: _Connection, now_ns: int) -> bool:
        received = _bytes_received(each.descriptor)
        if received is None:
            return False
        each.bucket.spend(received - each.received, now_ns)
        each.received = received
        return each.bucket.level(now_ns) < 0

    def _flooding(self) -> list[_Connection]:
        """Return the connections with data to receive, or with replies that nobody reads."""
        return [
            each
            for each in self._connections.values()
            if _queued(each.descriptor, termios.FIONREAD)
            or (each.name == "service" and _queued(each.descriptor, termios.TIOCOUTQ))
        ]

    def _cut(self, connection: _Connection, reason: Reason) -> None:
        self._connections.pop(connection.descriptor, None)
        own = copy_of(connection.descriptor, connection.inode)
        if own is None:
            return
        with own:
            culprit = _describe_peer(own)
            with contextlib.suppress(OSError):
                own.shutdown(sockets.SHUT_RDWR)
        self._memory.note_cut(clock.monotonic_ns())
        self._counters.connection_cut(connection.name, reason)
        self._cuts[connection.name, reason] += 1
        self._culprit = culprit

    def _log(self, now_ns: int) -> None:
        is_due = self._logged_ns is None or now_ns - self._logged_ns >= _LOG_S * 1e9
        if not (self._cuts or self._failures) or not is_due:
            return
        for (name, handshake), count in self._failures.items():
            log.warning(
                "%d peers of the %s socket were refused: %s", count, name, HANDSHAKES[handshake]
            )
        self._failures.clear()
        for (name, reason), count in self._cuts.items():
            log.warning(
                "%d connections to the %s socket were cut (%s), the last one of %s",
                count,
                name,
                _REASONS[reason],
                self._culprit,
            )
        self._cuts.clear()
        self._logged_ns = now_ns


_REASONS: Final = {
    "bytes": "more data than requests or subscriptions need",
    "memory": "this process's memory grew",
    "count": f"more than {CONNECTIONS_MAX} at once",
}


def _bytes_received(descriptor: int) -> int | None:
    """Return how many bytes have come over a TCP connection; None if it is closed."""
    try:
        own = sockets.socket(sockets.AF_INET, sockets.SOCK_STREAM, fileno=descriptor)
    except OSError:
        return None
    try:
        info = own.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_INFO, _TCP_INFO_BYTES)
    except OSError:
        return None
    finally:
        own.detach()  # it stays open: the descriptor is ZeroMQ's
    return int(_BYTES_RECEIVED.unpack_from(info, _BYTES_RECEIVED_AT)[0])


def _queued(descriptor: int, direction: int) -> int:
    """Return the bytes in a queue of a connection; 0 if it is closed."""
    try:
        return int.from_bytes(fcntl.ioctl(descriptor, direction, bytes(4)), sys.byteorder)
    except OSError:
        return 0


def _describe_peer(own: sockets.socket) -> str:
    """Return who is at the other end: its process, or its address."""
    try:
        if own.family == sockets.AF_UNIX:
            peer = own.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, 12)
            return f"process {int.from_bytes(peer[:4], sys.byteorder)}"
        host, port, *_ = own.getpeername()
    except OSError:
        return "a peer that has gone"
    return f"{host}:{port}"
