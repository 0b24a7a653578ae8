"""The ROUTER side: small strict requests in, one reply each.

Whatever a peer sends costs a bounded amount of work and memory: 4 KiB a request, so many a second
and a peer, replies only as far as there is room. Nothing is served but to this machine, until there
are keys.
"""

import json
from collections.abc import Callable
from typing import Any, Final

import zmq

from edge import clock
from edge.errors import ConfigError, RequestRefused
from edge.requests import REQUEST_BYTES_MAX, AnyRequest, decode_request

RATE_HZ: Final = 20.0
"""Requests a second of one peer, on average."""

_BURST: Final = 40.0
_PEERS_MAX: Final = 256
_BATCH: Final = 32  # requests served before the loop sees to the rest
_FRAMES_MAX: Final = 3  # identity, an empty delimiter where the peer is a REQ socket, the request

Answer = Callable[[AnyRequest, int], dict[str, Any]]
"""A request and the monotonic time of its receipt, ns -> what the reply says besides ``ok``.

Raises ``RequestRefused`` for what cannot be done."""


class Service:
    """Answers requests on one endpoint. For the hub's one loop.

    Attributes:
        endpoint: where it is bound, with the port the system chose for ``tcp://...:*``.
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str) -> None:
        """Bind.

        Raises:
            ConfigError: the endpoint is in use or cannot be bound.
        """
        self._socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, 64)
        self._socket.setsockopt(zmq.RCVHWM, 64)
        self._socket.setsockopt(zmq.MAXMSGSIZE, REQUEST_BYTES_MAX)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # a peer that is gone shows
        self._socket.setsockopt(zmq.HANDSHAKE_IVL, 5000)
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, 2000)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 6000)
        self._socket.setsockopt(zmq.HEARTBEAT_TTL, 6000)
        self._buckets: dict[bytes, tuple[float, int]] = {}  # peer -> requests left, when
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self._socket.close()
            raise ConfigError(
                f"publish.service_endpoint {endpoint!r}: {error.strerror}; stop the process that"
                " uses it, make the folder it is in, choose another endpoint, or an empty string"
                " for no service"
            ) from error
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    @property
    def socket(self) -> "zmq.Socket[bytes]":
        """The socket, to poll for requests."""
        return self._socket

    def serve(self, answer: Answer, count: Callable[[str], None]) -> None:
        """Answer what has been asked, up to a batch; call when the socket is readable.

        Args:
            answer: meets a request.
            count: told the outcome of each: ``answered``, ``refused``, or ``unheard`` where the
                peer is gone or takes no more.
        """
        for _ in range(_BATCH):
            try:
                peer, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            received_ns = clock.monotonic_ns()
            try:
                said = answer(self._request(peer, frames, received_ns), received_ns)
                reply, outcome = {"ok": True, **said}, "answered"
            except RequestRefused as refusal:
                reply, outcome = {"ok": False, "error": str(refusal)}, "refused"
            body = json.dumps(reply, ensure_ascii=False, allow_nan=False).encode()
            try:
                self._socket.send_multipart([peer, *frames[:-1][:1], body], zmq.NOBLOCK)
            except zmq.ZMQError:  # EAGAIN, EHOSTUNREACH: nobody is there to read it
                outcome = "unheard"
            count(outcome)

    def close(self) -> None:
        """Close at once: who still waits for a reply will ask again."""
        self._socket.close(linger=0)

    def _request(self, peer: bytes, frames: list[bytes], now_ns: int) -> AnyRequest:
        """Return the request in ``frames``; raise ``RequestRefused`` for what is none."""
        if not self._has_turn(peer, now_ns):
            raise RequestRefused(f"more than {RATE_HZ:g} requests a second")
        if not 0 < len(frames) < _FRAMES_MAX or (len(frames) > 1 and frames[0]):
            raise RequestRefused("expected one request, of one part")
        try:
            return decode_request(frames[-1])
        except ValueError as error:
            raise RequestRefused(str(error)) from error

    def _has_turn(self, peer: bytes, now_ns: int) -> bool:
        """Take a request out of the peer's bucket; return whether there was one."""
        left, since_ns = self._buckets.pop(peer, (_BURST, now_ns))
        left = min(_BURST, left + (now_ns - since_ns) / 1e9 * RATE_HZ)
        has_turn = left >= 1
        self._buckets[peer] = (left - has_turn, now_ns)  # the newest last
        if len(self._buckets) > _PEERS_MAX:
            del self._buckets[next(iter(self._buckets))]
        return has_turn
