"""The ROUTER side: receives requests and sends one reply to each.

The work that peers can cause is bounded: 4 KiB per request, a rate per peer and for all together,
a few milliseconds per turn of the loop, and no reply to a peer whose queue is full. One thing
cannot be bounded: ZeroMQ gathers all parts of a message in memory before the hub receives it. A
program on this machine can so make the daemon exceed ``MemoryMax``; systemd then restarts it. Until
there are keys, only programs on this machine can connect; with an ipc endpoint in a private folder,
only those of its owner.
"""

import json
from collections.abc import Callable
from typing import Any, Final

import zmq

from edge import clock
from edge.errors import RequestRefused
from edge.hub.sockets import bind
from edge.protocol.requests import AnyRequest, decode_request

RATE_HZ: Final = 20.0
"""Mean requests per second of one peer."""

TOTAL_RATE_HZ: Final = 100.0
"""Of all peers together: a client that reconnects counts as another peer."""

PEERS_MAX: Final = 256
"""Peers whose rates are kept."""

_HIGH_WATER: Final = 64  # messages queued for a peer, or from it
_BURST_S: Final = 2.0  # unused requests of this time may be sent at once
_TURN_MS: Final = 5.0  # then the loop attends to the link and the timers
_PARTS_MAX: Final = 3  # identity, an empty delimiter where the peer is a REQ socket, the request

Handler = Callable[[AnyRequest, int], dict[str, Any]]
"""A request and the monotonic time of its receipt, ns -> fields of the reply besides ``ok``.

Raises ``RequestRefused`` for what cannot be done."""


class Service:
    """Receives requests on one endpoint and replies. Only for the hub's main loop.

    Attributes:
        endpoint: where it is bound, with the port the system chose for ``tcp://...:*``.
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str) -> None:
        """Bind.

        Raises:
            ConfigError: the endpoint is in use or cannot be bound.
        """
        self._socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.RCVHWM, _HIGH_WATER)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # sending to a peer that has gone fails
        self._buckets: dict[bytes, _Bucket] = {}  # by peer, the newest last
        self._total = _Bucket(TOTAL_RATE_HZ, clock.monotonic_ns())
        self.endpoint = bind(
            self._socket,
            endpoint,
            key="publish.service_endpoint",
            high_water=_HIGH_WATER,
            alternative=", or an empty string for no service",
        )

    @property
    def socket(self) -> "zmq.Socket[bytes]":
        """The socket, to poll for requests."""
        return self._socket

    def serve(self, handle: Handler, count: Callable[[str], None]) -> None:
        """Reply to waiting requests for a few milliseconds; call when the socket is readable.

        Args:
            handle: handles one request.
            count: called with the outcome of each: ``answered``, ``refused``, or ``unheard`` where
                the peer has gone or its queue is full.
        """
        start_ns = clock.monotonic_ns()
        while clock.elapsed_ms(start_ns) < _TURN_MS:
            try:
                peer, *parts = self._receive()
            except zmq.Again:
                return
            received_ns = clock.monotonic_ns()
            try:
                fields = handle(self._request(peer, parts, received_ns), received_ns)
                reply, outcome = {"ok": True, **fields}, "answered"
            except RequestRefused as refusal:
                reply, outcome = {"ok": False, "error": str(refusal)}, "refused"
            body = json.dumps(reply, ensure_ascii=False, allow_nan=False).encode()
            try:
                self._socket.send_multipart([peer, *parts[:-1][:1], body], zmq.NOBLOCK)
            except zmq.ZMQError as error:
                if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                    raise
                outcome = "unheard"
            count(outcome)

    def close(self) -> None:
        """Close at once, without sending queued replies: their peers will ask again."""
        self._socket.close(linger=0)

    def _receive(self) -> list[bytes]:
        """Return the first parts of a message, enough of them to recognise a malformed one.

        Raises:
            zmq.Again: there is none.
        """
        parts = [self._socket.recv(zmq.NOBLOCK)]
        while self._socket.getsockopt(zmq.RCVMORE):
            part = self._socket.recv(zmq.NOBLOCK)  # all parts of a message arrive together
            if len(parts) <= _PARTS_MAX:
                parts.append(part)
        return parts

    def _request(self, peer: bytes, parts: list[bytes], now_ns: int) -> AnyRequest:
        """Return the request in ``parts``; raise ``RequestRefused`` if malformed or over a rate."""
        bucket = self._buckets.pop(peer, None) or _Bucket(RATE_HZ, now_ns)
        self._buckets[peer] = bucket
        if len(self._buckets) > PEERS_MAX:
            del self._buckets[next(iter(self._buckets))]
        if not bucket.take(now_ns):
            raise RequestRefused(f"more than {RATE_HZ:g} requests a second")
        if not self._total.take(now_ns):
            raise RequestRefused(f"more than {TOTAL_RATE_HZ:g} requests a second, of all together")
        if not 0 < len(parts) < _PARTS_MAX or (len(parts) > 1 and parts[0]):
            raise RequestRefused("expected one request, of one part")
        try:
            return decode_request(parts[-1])
        except ValueError as error:
            raise RequestRefused(str(error)) from error


class _Bucket:
    """A token bucket of requests: it fills at ``rate_hz``, up to ``_BURST_S`` seconds of it."""

    def __init__(self, rate_hz: float, now_ns: int) -> None:
        self._rate_hz = rate_hz
        self._tokens = rate_hz * _BURST_S
        self._updated_ns = now_ns

    def take(self, now_ns: int) -> bool:
        """Take a token; return whether there was one."""
        filled = self._tokens + (now_ns - self._updated_ns) / 1e9 * self._rate_hz
        self._tokens, self._updated_ns = min(self._rate_hz * _BURST_S, filled), now_ns
        is_allowed = self._tokens >= 1
        self._tokens -= is_allowed
        return is_allowed
