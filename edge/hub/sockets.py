"""Binding of the hub's sockets, with the limits on what a peer may send."""

from typing import Final

import zmq

from edge.errors import ConfigError

PART_BYTES_MAX: Final = 4096
"""Of what peers send: subscriptions and requests, nothing larger."""


def bind(
    socket: "zmq.Socket[bytes]",
    endpoint: str,
    *,
    key: str,
    high_water: int,
    heartbeats: bool = True,
    alternative: str = "",
) -> str:
    """Bind ``socket``; return its endpoint, with the port the system chose for ``tcp://...:*``.

    Args:
        socket: with the options of its own kind already set; closed where it cannot be bound.
        endpoint: where to bind it.
        key: configuration key of the endpoint, for the error message.
        high_water: messages that may wait for one peer.
        heartbeats: disconnect a peer that does not answer heartbeats for 6 s.
        alternative: what else the user may do, appended to the error message.

    Raises:
        ConfigError: the endpoint is in use or cannot be bound.
    """
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, high_water)
    socket.setsockopt(zmq.MAXMSGSIZE, PART_BYTES_MAX)
    socket.setsockopt(zmq.HANDSHAKE_IVL, 5000)
    if heartbeats:
        socket.setsockopt(zmq.HEARTBEAT_IVL, 2000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 6000)
        socket.setsockopt(zmq.HEARTBEAT_TTL, 6000)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        socket.close()
        raise ConfigError(
            f"{key} {endpoint!r}: {error.strerror}; stop the process that uses it,"
            f" make the folder it is in, or choose another endpoint{alternative}"
        ) from error
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)
