"""The ROUTER side: receives requests and sends one reply to each.

The work that peers can cause is bounded: 4 KiB per request, a rate per peer and for all together,
a few milliseconds per turn of the loop, and no reply to a peer whose queue is full. ``fetch`` has
limits of its own (``edge.hub.fetch``). What ZeroMQ gathers in memory before the hub receives it is
bounded by ``edge.hub.guard``, which also counts the connections that ZeroMQ cannot close.
"""

import json
import logging
import select
from collections.abc import Callable
from typing import Any, Final

import zmq

from edge import clock
from edge.errors import AffectEdgeError, ConfigError, RequestRefused
from edge.hub.fetch import Fetcher, Reply, encode_refusal
from edge.hub.guard import Guard
from edge.hub.security import Security
from edge.hub.sockets import bind
from edge.hub.token_bucket import TokenBucket
from edge.protocol.requests import AnyRequest, FetchRequest, decode_request

log = logging.getLogger("affect_edge")

RATE_HZ: Final = 20.0
"""Mean requests per second of one peer."""

TOTAL_RATE_HZ: Final = 100.0
"""Of all peers together: a client that reconnects counts as another peer."""

PEERS_MAX: Final = 256
"""Peers whose rates are kept."""

STUCK_MAX: Final = 16
"""Connections that stay without a peer, from which on the socket is opened anew."""

_RENEW_MS: Final = 1000.0
_RECEIVE_HIGH_WATER: Final = 16  # requests queued from a peer, each of up to some parts of 4 KiB
_SEND_HIGH_WATER: Final = 8  # replies queued for a peer, each of up to 512 KiB
_BURST_S: Final = 2.0  # unused requests of this time may be sent at once
_TURN_MS: Final = 5.0  # then the loop attends to the link and the timers
_FETCH: Final = b'"fetch"'  # in every request of that kind, unless it escapes letters for no reason
_PARTS_MAX: Final = 3  # identity, an empty delimiter where the peer is a REQ socket, the request

Handler = Callable[[AnyRequest, int], dict[str, Any]]
"""A request and the monotonic time of its receipt, ns -> fields of the reply besides ``ok``.

Raises ``RequestRefused`` for what cannot be done."""


class Service:
    """Receives requests on one endpoint and replies. Only for the hub's main loop.

    Args:
        context: makes the socket.
        endpoint: where to bind it.
        fetcher: answers ``fetch``; None: ``handle`` does. The caller closes it.
        guard: watches the connections.
        security: admits only allowed keys, and knows their rights.

    Attributes:
        endpoint: where it is bound, with the port the system chose for ``tcp://...:*``.

    Raises:
        ConfigError: the endpoint is in use or cannot be bound.
    """

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        endpoint: str,
        fetcher: Fetcher | None = None,
        guard: Guard | None = None,
        security: Security | None = None,
    ) -> None:
        self._fetcher = fetcher
        self._security = security
        self._client: str | None = None  # name of the key of the peer whose message is received
        self._parts: list[bytes] = []  # of a message that is not received completely
        self._buckets: dict[bytes, TokenBucket] = {}  # by peer, the newest last
        self._total = _request_bucket(TOTAL_RATE_HZ, clock.monotonic_ns())
        self._context = context
        self._guard = guard
        self._socket, self.endpoint = self._open(endpoint)

    def _open(self, endpoint: str) -> tuple["zmq.Socket[bytes]", str]:
        """Return a socket, and where it is bound.

        Raises:
            ConfigError: the endpoint is in use or cannot be bound.
        """
        socket = self._context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.RCVHWM, _RECEIVE_HIGH_WATER)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # sending to a peer that has gone fails
        # A client that comes back under its own identity gets it, even if the connection that it
        # lost is not closed yet. libzmq makes those of our clients.
        socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        if self._guard is not None:
            self._guard.watch("service", socket)
        bound = bind(
            socket,
            endpoint,
            key="publish.service_endpoint",
            high_water=_SEND_HIGH_WATER,
            alternative=", or an empty string for no service",
            security=self._security,
        )
        return socket, bound

    def _renew(self, stuck: int) -> None:
        """Close the socket with all its connections, and open another one; clients ask again.

        Raises:
            AffectEdgeError: another process has taken the endpoint.
        """
        log.warning("%d connections to the service stayed without a peer; it is reopened", stuck)
        self._socket.close(linger=0)
        self._parts = []
        start_ns = clock.monotonic_ns()
        while True:  # libzmq's own thread frees the endpoint
            try:
                self._socket, self.endpoint = self._open(self.endpoint)
                return
            except ConfigError as error:
                if clock.elapsed_ms(start_ns) > _RENEW_MS:
                    raise AffectEdgeError(str(error)) from error  # a new start may help
                select.select([], [], [], 0.001)

    @property
    def socket(self) -> "zmq.Socket[bytes]":
        """The socket, to poll for requests."""
        return self._socket

    @property
    def inputs(self) -> "list[zmq.Socket[bytes] | Fetcher]":
        """What to poll: each is readable when ``serve`` has something to do."""
        return [self._socket] if self._fetcher is None else [self._socket, self._fetcher]

    def serve(self, handle: Handler, count: Callable[[str], None]) -> None:
        """Send replies of the fetcher, then reply to waiting requests for a few milliseconds.

        Call it in each turn of the loop, so that requests that wait for a message are answered.

        Args:
            handle: handles one request.
            count: called with the outcome of each: ``answered``, ``refused``, or ``unheard`` where
                the peer has gone or its queue is full.
        """
        if self._guard is not None and (stuck := self._guard.stuck["service"]) >= STUCK_MAX:
            self._guard.stuck.clear()
            self._renew(stuck)
        start_ns = clock.monotonic_ns()
        if self._fetcher is not None:
            self._fetcher.note_published()
            for ready in self._fetcher.take():
                self._send(ready, count)
        while clock.elapsed_ms(start_ns) < _TURN_MS:
            try:
                parts = self._receive(start_ns)
            except zmq.Again:
                return
            if parts is None:
                return
            reply = self._handle(parts, handle)
            if reply is not None:
                self._send(reply, count)

    def close(self) -> None:
        """Close at once, without sending queued replies: their peers will ask again."""
        self._socket.close(linger=0)

    def _receive(self, start_ns: int) -> list[bytes] | None:
        """Return the first parts of a message, enough of them to recognise a malformed one.

        None if the turn is over before the last part; a later call receives the others.

        Raises:
            zmq.Again: there is none.
        """
        while True:
            if self._parts or self._security is None:
                part = self._socket.recv(zmq.NOBLOCK)  # all parts of a message arrive together
            else:
                frame = self._socket.recv(zmq.NOBLOCK, copy=False)
                part, self._client = frame.bytes, self._security.client_of(frame)
            if len(self._parts) <= _PARTS_MAX:
                self._parts.append(part)
            if not self._socket.getsockopt(zmq.RCVMORE):
                parts, self._parts = self._parts, []
                if self._security is None or self._client is not None:
                    return parts
            if clock.elapsed_ms(start_ns) >= _TURN_MS:
                return None

    def _handle(self, parts: list[bytes], handle: Handler) -> Reply | None:
        """Handle a message of ``parts``; return the reply, or None if the fetcher will give it."""
        received_ns = clock.monotonic_ns()
        peer, *parts = parts
        envelope = [peer, *parts[:-1][:1]]
        try:
            request = self._request(peer, parts, received_ns)
            if self._security is not None and self._client is not None:
                self._security.check_right(self._client, request)
                request = as_client(self._client, request)
            if isinstance(request, FetchRequest) and self._fetcher is not None:
                self._fetcher.submit(envelope, request, received_ns)
                return None
            fields = {"ok": True, **handle(request, received_ns)}
        except RequestRefused as refusal:
            return encode_refusal(envelope, refusal)
        body = json.dumps(fields, ensure_ascii=False, allow_nan=False).encode()
        return Reply(envelope, body, is_refusal=False)

    def _send(self, reply: Reply, count: Callable[[str], None]) -> None:
        outcome = "refused" if reply.is_refusal else "answered"
        try:
            self._socket.send_multipart([*reply.envelope, reply.body], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                raise
            outcome = "unheard"
        count(outcome)

    def _request(self, peer: bytes, parts: list[bytes], now_ns: int) -> AnyRequest:
        """Return the request in ``parts``; raise ``RequestRefused`` if malformed or over a rate."""
        is_fetch = self._fetcher is not None and bool(parts) and _FETCH in parts[-1]
        if is_fetch and self._fetcher is not None:
            self._fetcher.check_room(peer)  # before the work of decoding
        else:
            self._spend(peer, now_ns)
        if not 0 < len(parts) < _PARTS_MAX or (len(parts) > 1 and parts[0]):
            raise RequestRefused("expected one request, of one part", code="bad_request")
        try:
            request = decode_request(parts[-1])
        except RequestRefused:
            if is_fetch:
                self._spend(peer, now_ns)
            raise
        if is_fetch and not isinstance(request, FetchRequest):
            self._spend(peer, now_ns)  # a mark with that word
        return request

    def _spend(self, peer: bytes, now_ns: int) -> None:
        """Count a request of ``peer``; raise ``RequestRefused`` if it is over a rate."""
        bucket = self._buckets.pop(peer, None) or _request_bucket(RATE_HZ, now_ns)
        self._buckets[peer] = bucket
        if len(self._buckets) > PEERS_MAX:
            del self._buckets[next(iter(self._buckets))]
        if not bucket.take(now_ns):
            raise RequestRefused(f"more than {RATE_HZ:g} requests a second", code="busy")
        if not self._total.take(now_ns):
            raise RequestRefused(
                f"more than {TOTAL_RATE_HZ:g} requests a second, of all together", code="busy"
            )


def as_client(client: str, request: AnyRequest) -> AnyRequest:
    """Return ``request`` with the consumer's name as ``KEY/NAME``.

    So a client can acknowledge nothing for the clients with other keys. No name that a request may
    have contains the slash.
    """
    if not isinstance(request, FetchRequest) or request.name is None:
        return request
    return request.model_copy(update={"name": f"{client}/{request.name}"})


def _request_bucket(rate_hz: float, now_ns: int) -> TokenBucket:
    return TokenBucket(rate_hz, rate_hz * _BURST_S, now_ns)
