"""Why a daemon does not accept a client's connection: from the events of ZeroMQ's handshake.

Without this a client with a wrong key, or without one, would wait in silence.
"""

import logging
from typing import Final

import zmq
from zmq.utils.monitor import recv_monitor_message

from edge.access.keys import fingerprint
from edge.client.keys import ClientContext

log = logging.getLogger("affect_edge")

_EVENTS: Final = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)
_CLOSED_MIN: Final = 2  # a daemon that stops just now closes a connection in its handshake once


class HandshakeMonitor:
    """Watches the handshakes of a socket of a ``ClientContext``. For the thread of the socket.

    Made before the socket connects; closed before it, or with its context.

    Args:
        socket: to watch.
        endpoint: to which it will connect.
        logged: what was logged by the monitor of an earlier socket; gets what is logged now.

    Attributes:
        monitor: to poll for events.
    """

    def __init__(
        self, socket: "zmq.Socket[bytes]", endpoint: str, logged: set[str] | None = None
    ) -> None:
        self._socket = socket
        context = socket.context  # libzmq gives a socket's keys back, pyzmq does not
        keys = context.keys if isinstance(context, ClientContext) else None
        self._public = None if keys is None else keys.public
        self._server = None if keys is None else keys.server_of(endpoint)
        self._closed: dict[str, int] = {}  # handshakes cut short, by endpoint
        self._logged = set() if logged is None else logged
        self.monitor: zmq.Socket[bytes] = socket.get_monitor_socket(_EVENTS)

    def problem(self) -> str:
        """Return what is wrong with the keys of client or daemon; empty if nothing is known."""
        while self.monitor.poll(0):
            event = recv_monitor_message(self.monitor)
            endpoint = event["endpoint"].decode(errors="replace")
            if event["event"] == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                return f"{endpoint}: {self._refused()}"
            if event["event"] == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                return f"{endpoint}: {self._other_security()}"
            self._closed[endpoint] = self._closed.get(endpoint, 0) + 1
            if self._closed[endpoint] >= _CLOSED_MIN:
                return f"{endpoint}: {self._other_security()}"
        return ""

    def log_problem(self) -> None:
        """Log a problem once."""
        if (text := self.problem()) and text not in self._logged:
            self._logged.add(text)
            log.warning("%s", text)

    def close(self) -> None:
        """Stop watching."""
        self._socket.disable_monitor()
        self.monitor.close(linger=0)

    def _refused(self) -> str:
        mark = fingerprint(self._public) if self._public else "none"
        return (
            f"the daemon refuses this client's key ({mark}); expected its public file in the folder"
            " security.allowed_keys of the daemon, and a reload (systemctl reload affect-edge)"
        )

    def _other_security(self) -> str:
        if self._server is None:
            return (
                "the daemon closes the connection; if it uses keys, name them with --secret-key and"
                " --server-key"
            )
        return (
            "the daemon closes the connection; expected its public key as --server-key (received"
            f" {fingerprint(self._server)}), and a daemon that uses keys"
        )
