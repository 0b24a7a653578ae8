"""Measures a daemon's monotonic clock against this machine's, over its service socket.

As NTP and LSL do: of several exchanges the one with the shortest round trip counts, and half of
that is the bound of the error.
"""

from typing import Annotated, Any, Final

import zmq
from pydantic import Field, ValidationError

from edge.client.ask import decode_reply
from edge.client.endpoints import connect
from edge.client.keys import ClientContext, default_keys
from edge.clock import elapsed_ms, monotonic_ns
from edge.errors import RequestRefused, ServiceUnavailable
from edge.protocol.requests import StatusRequest, TimeRequest
from edge.protocol.wire import Wire

DRIFT: Final = 50e-6
"""Largest difference in rate between two crystals that is allowed for."""

_KEPT_NS: Final = 60_000_000_000
_FIRST: Final = 8  # exchanges in a row, at first
_REPLY_MS: Final = 300
_EACH_NS: Final = 5_000_000_000

_Name = Annotated[str, Field(max_length=64)]
_Nanoseconds = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class _Device(Wire):
    device: _Name


class _Known(Wire):
    """What is used of a reply to a request for the status."""

    status: _Device
    seats: Annotated[dict[_Name, Any], Field(max_length=1000)]


class _Read(Wire):
    monotonic_ns: _Nanoseconds
    unix_ns: _Nanoseconds


class _Clocks(Wire):
    """A reply to a request for the time: the daemon's clocks when it received and answered it."""

    received: _Read
    sent: _Read


class ServiceClock:
    """Asks one service for its clocks. Not thread-safe; a context manager.

    Args:
        endpoint: address of the service.

    Attributes:
        device: that answers there; None: nobody has answered yet.
        seats: names of its seats.
        unanswered: how often nobody answered so far.
        wall_minus_monotonic_ns: of its machine, at the newest exchange.
    """

    def __init__(self, endpoint: str) -> None:
        self.device: str | None = None
        self.seats: tuple[str, ...] = ()
        self.unanswered = 0
        self.wall_minus_monotonic_ns = 0
        self._endpoint = endpoint
        self._exchanges: list[tuple[int, int, int]] = []  # when, offset, half of the round trip
        self._next_ns = 0
        self._context = ClientContext.of(default_keys())
        self._socket = self._open()

    def __enter__(self) -> "ServiceClock":
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)

    @property
    def endpoint(self) -> str:
        """Address of the service."""
        return self._endpoint

    def turn(self) -> None:
        """Ask if it is time to: eight times at first, then every five seconds.

        Takes a round trip each, 0.3 s if nobody answers.
        """
        if monotonic_ns() < self._next_ns:
            return
        self._next_ns = monotonic_ns() + _EACH_NS
        if self.device is None:
            try:
                known = _Known.model_validate(self._ask(StatusRequest().model_dump_json()))
            except ValidationError:
                self._next_ns = monotonic_ns() + _EACH_NS // 5
                self.unanswered += 1
                return
            self.device = known.status.device
            self.seats = tuple(known.seats)
        for _ in range(1 if self._exchanges else _FIRST):
            self._exchange()

    def restart(self) -> None:
        """Measure anew: the daemon was restarted, and perhaps its machine."""
        self._exchanges.clear()
        self._next_ns = 0
        self.turn()

    def offset_ns(self) -> tuple[int, int] | None:
        """Return the daemon's monotonic clock minus this machine's, and the bound of the error.

        Both in ns; None: not measured yet.
        """
        now_ns = monotonic_ns()
        bounds = [
            (half_ns + round((now_ns - at_ns) * DRIFT), offset_ns)
            for at_ns, offset_ns, half_ns in self._exchanges
        ]
        if not bounds:
            return None
        bound_ns, offset_ns = min(bounds)
        return offset_ns, bound_ns

    def is_ours(self) -> bool:
        """Return whether the daemon's clock can be that of this machine: its offset may be 0."""
        offset = self.offset_ns()
        return offset is not None and abs(offset[0]) <= offset[1]

    def _exchange(self) -> None:
        sent_ns = monotonic_ns()
        reply = self._ask(TimeRequest().model_dump_json())
        received_ns = monotonic_ns()
        try:
            clocks = _Clocks.model_validate(reply)
        except ValidationError:
            return
        there_ns, back_ns = clocks.received.monotonic_ns, clocks.sent.monotonic_ns
        offset_ns = ((there_ns - sent_ns) + (back_ns - received_ns)) // 2
        half_ns = ((received_ns - sent_ns) - (back_ns - there_ns)) // 2 + 1
        self._exchanges = [each for each in self._exchanges if received_ns - each[0] <= _KEPT_NS]
        self.wall_minus_monotonic_ns = clocks.sent.unix_ns - back_ns
        self._exchanges.append((received_ns, offset_ns, half_ns))

    def _ask(self, request: str) -> dict[str, Any] | None:
        """Return the reply; None: there is none in time, or it is no reply of a daemon."""
        start_ns = monotonic_ns()
        if not self._socket.poll(_REPLY_MS, zmq.POLLOUT):
            return None  # nobody is connected
        self._socket.send_multipart([b"", request.encode()])
        if not self._socket.poll(max(1, _REPLY_MS - int(elapsed_ms(start_ns)))):
            # a late reply would be taken for that of the next request
            self._socket.close()
            self._socket = self._open()
            return None
        try:
            return decode_reply(self._socket.recv_multipart()[-1], self._endpoint)
        except (RequestRefused, ServiceUnavailable):
            return None

    def _open(self) -> "zmq.Socket[bytes]":
        opened = self._context.socket(zmq.DEALER)
        opened.setsockopt(zmq.LINGER, 0)
        opened.setsockopt(zmq.IMMEDIATE, 1)  # nothing is queued for a daemon that is away
        opened.setsockopt(zmq.RECONNECT_IVL, 100)
        opened.setsockopt(zmq.RECONNECT_IVL_MAX, 2000)
        connect(opened, self._endpoint, "--service")
        return opened
