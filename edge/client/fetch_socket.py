"""The DEALER socket on one service: a request at a time; a new socket where no reply comes.

This is the pattern Lazy Pirate of the ZeroMQ guide. ``fetch`` may be repeated, so a lost request or
reply costs only time.
"""

from typing import Final

import zmq

from edge.client.endpoints import connect
from edge.client.live import PART_BYTES_MAX
from edge.protocol.requests import FETCH_BYTES_MAX, FETCH_MAX, FetchRequest

_TIMEOUT_S: Final = 3.0  # doubled at each time-out: 512 KiB take long on a poor link
_TIMEOUT_MAX_S: Final = 24.0
_RETRY_S: Final = 10.0  # ZeroMQ gives up on a daemon that refused the client's key
_BACK_OFF_S: Final = 0.25  # doubled at each time-out
_BACK_OFF_MAX_S: Final = 5.0
_PAGE_MIN: Final = 8
_NEAR_NS: Final = 1_000_000_000
_LAST_MS: Final = 200  # for a last request to be sent


class FetchSocket:
    """Asks one service. Not thread-safe.

    Args:
        context: of the socket.
        endpoint: address of the service.

    Attributes:
        endpoint: address of the service.
        socket: to poll for replies; another one after a time-out.
        page_max: how many messages to ask for: fewer after time-outs.
        is_waiting: a request has been sent, and no reply has come yet.
        sent_ns: monotonic time of the last request.

    Raises:
        ConfigError: ``endpoint`` is not a valid ZeroMQ address.
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str) -> None:
        self.endpoint = endpoint
        self.page_max = FETCH_MAX
        self.is_waiting = False
        self.sent_ns = 0
        self._context = context
        self._timeouts = 0
        self._pause_until_ns = 0
        self._unsent_ns = 0  # since when requests cannot be sent
        self.socket = self._open()

    def send(self, request: FetchRequest, now_ns: int) -> bool:
        """Send a request; return False if that is not possible now: try again later."""
        if self.is_waiting or now_ns < self._pause_until_ns:
            return False
        try:
            self.socket.send_multipart([b"", request.model_dump_json().encode()], zmq.NOBLOCK)
        except zmq.Again:  # not connected
            self._unsent_ns = self._unsent_ns or now_ns
            if now_ns - self._unsent_ns > _RETRY_S * 1e9:
                self._replace()
            return False
        self._unsent_ns = 0
        self.is_waiting, self.sent_ns = True, now_ns
        return True

    def take(self) -> bytes | None:
        """Return a reply that is waiting, also one that was not expected; None: there is none."""
        try:
            *_, reply = self.socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None
        self.is_waiting = False
        self._timeouts = 0
        self.page_max = min(FETCH_MAX, self.page_max * 2)
        return reply

    def is_reply_near(self, now_ns: int) -> bool:
        """Whether a reply is likely to come soon: not from a service that has been slow."""
        is_young = now_ns - self.sent_ns < _NEAR_NS
        return self.is_waiting and is_young and not self._timeouts

    def give_up_if_late(self, now_ns: int) -> None:
        """Replace the socket if the reply has not come in time."""
        timeout_s = min(_TIMEOUT_MAX_S, _TIMEOUT_S * 2**self._timeouts)
        if not self.is_waiting or now_ns - self.sent_ns < timeout_s * 1e9:
            return
        back_off_s = min(_BACK_OFF_MAX_S, _BACK_OFF_S * 2**self._timeouts)
        self._pause_until_ns = now_ns + int(back_off_s * 1e9)
        self._timeouts += 1
        self.page_max = max(_PAGE_MIN, self.page_max // 2)
        self.is_waiting = False
        self._replace()

    def _replace(self) -> None:
        self._unsent_ns = 0
        self.socket.close(linger=0)
        self.socket = self._open()

    def close(self, last: FetchRequest | None, now_ns: int) -> None:
        """Send a last request without waiting for its reply, and close the socket."""
        self.is_waiting = False
        if last is not None:
            self.socket.setsockopt(zmq.LINGER, _LAST_MS)
            self.send(last, now_ns)
        self.socket.close()

    def _open(self) -> "zmq.Socket[bytes]":
        socket = self._context.socket(zmq.DEALER)
        for option, value in {
            zmq.LINGER: 0,
            zmq.IMMEDIATE: 1,  # queue no request for a service that is not there
            zmq.SNDHWM: 4,
            zmq.RCVHWM: 4,
            zmq.MAXMSGSIZE: FETCH_BYTES_MAX + PART_BYTES_MAX,  # one message may exceed the page
            zmq.HEARTBEAT_IVL: 2000,
            zmq.HEARTBEAT_TIMEOUT: 6000,
            zmq.HEARTBEAT_TTL: 6000,
            zmq.RECONNECT_IVL: 100,
            zmq.RECONNECT_IVL_MAX: 2000,
            zmq.HANDSHAKE_IVL: 3000,
            zmq.CONNECT_TIMEOUT: 3000,
        }.items():
            socket.setsockopt(option, value)
        connect(socket, self.endpoint, "service")
        return socket
