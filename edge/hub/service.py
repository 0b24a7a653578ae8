"""The ROUTER side: small strict requests in, one reply each.

What a peer sends costs a bounded amount of work: 4 KiB a request, so many a second of one peer and
of all, a few milliseconds a turn of the loop, replies only as far as there is room. What it cannot
bound is the memory of a message of endlessly many parts, which ZeroMQ gathers before anybody is
asked: a program on this machine can have the daemon ended that way, for ``MemoryMax`` and systemd
to mend. Nothing is served but to this machine, until there are keys; an ipc endpoint in a closed
folder serves its owner alone.
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
"""Requests a second of one peer, on average."""

TOTAL_RATE_HZ: Final = 100.0
"""Of all together: a peer that connects anew is another one."""

PEERS_MAX: Final = 256
"""Peers whose rates are remembered."""

_HIGH_WATER: Final = 64  # messages that may wait for one peer, or of one
_BURST_S: Final = 2.0  # what was not asked for so long may be asked at once
_TURN_MS: Final = 5.0  # the loop has other things to see to
_PARTS_MAX: Final = 3  # identity, an empty delimiter where the peer is a REQ socket, the request

Answer = Callable[[AnyRequest, int], dict[str, Any]]
"""A request and the monotonic time of its receipt, ns -> what the reply says besides ``ok``.

Raises ``RequestRefused`` for what cannot be done."""


class Service:
    """RequestHandlers requests on one endpoint. For the hub's one loop.

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
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # a peer that is gone shows
        self._buckets: dict[bytes, _Bucket] = {}  # of the peers, the newest last
        self._total = _Bucket(TOTAL_RATE_HZ, clock.monotonic_ns())
        self.endpoint = bind(
            self._socket,
            endpoint,
            key="publish.service_endpoint",
            high_water=_HIGH_WATER,
            otherwise=", or an empty string for no service",
        )

    @property
    def socket(self) -> "zmq.Socket[bytes]":
        """The socket, to poll for requests."""
        return self._socket

    def serve(self, answer: Answer, count: Callable[[str], None]) -> None:
        """Answer what has been asked, for some milliseconds; call when the socket is readable.

        Args:
            answer: meets a request.
            count: told the outcome of each: ``answered``, ``refused``, or ``unheard`` where the
                peer is gone or takes no more.
        """
        begun_ns = clock.monotonic_ns()
        while clock.elapsed_ms(begun_ns) < _TURN_MS:
            try:
                peer, *parts = self._receive()
            except zmq.Again:
                return
            received_ns = clock.monotonic_ns()
            try:
                said = answer(self._request(peer, parts, received_ns), received_ns)
                reply, outcome = {"ok": True, **said}, "answered"
            except RequestRefused as refusal:
                reply, outcome = {"ok": False, "error": str(refusal)}, "refused"
            body = json.dumps(reply, ensure_ascii=False, allow_nan=False).encode()
            try:
                self._socket.send_multipart([peer, *parts[:-1][:1], body], zmq.NOBLOCK)
            except zmq.ZMQError as error:
                if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                    raise
                outcome = "unheard"  # nobody is there to read it
            count(outcome)

    def close(self) -> None:
        """Close at once: who still waits for a reply will ask again."""
        self._socket.close(linger=0)

    def _receive(self) -> list[bytes]:
        """Return the first parts of a message, as many as tell whether it is one of ours.

        Raises:
            zmq.Again: there is none.
        """
        parts = [self._socket.recv(zmq.NOBLOCK)]
        while self._socket.getsockopt(zmq.RCVMORE):
            part = self._socket.recv(zmq.NOBLOCK)  # parts of a message come together
            if len(parts) <= _PARTS_MAX:
                parts.append(part)
        return parts

    def _request(self, peer: bytes, parts: list[bytes], now_ns: int) -> AnyRequest:
        """Return the request in ``parts``; raise ``RequestRefused`` for what is none."""
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
    """Requests that may still be made; it fills at ``rate_hz``, up to ``_BURST_S`` of it."""

    def __init__(self, rate_hz: float, now_ns: int) -> None:
        self._rate_hz = rate_hz
        self._left = rate_hz * _BURST_S
        self._since_ns = now_ns

    def take(self, now_ns: int) -> bool:
        """Take one; return whether there was one."""
        filled = self._left + (now_ns - self._since_ns) / 1e9 * self._rate_hz
        self._left, self._since_ns = min(self._rate_hz * _BURST_S, filled), now_ns
        has_one = self._left >= 1
        self._left -= has_one
        return has_one
