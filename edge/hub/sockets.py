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
    silence_ms: int = 6000,
    alternative: str = "",
) -> str:
    """Bind ``socket``; return its endpoint, with the port the system chose for ``tcp://...:*``.

    Args:
        socket: with the options of its own kind already set; closed where it cannot be bound.
        endpoint: where to bind it.
        key: configuration key of the endpoint, for the error message.
        high_water: messages that may wait for one peer.
        silence_ms: a peer that sends nothing for so long, not even a heartbeat, is disconnected.
        alternative: what else the user may do, appended to the error message.

    Raises:
        ConfigError: the endpoint is in use or cannot be bound.
    """
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, high_water)
    socket.setsockopt(zmq.MAXMSGSIZE, PART_BYTES_MAX)
    socket.setsockopt(zmq.HANDSHAKE_IVL, 5000)
    socket.setsockopt(zmq.HEARTBEAT_IVL, 2000)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, silence_ms)
    socket.setsockopt(zmq.HEARTBEAT_TTL, silence_ms)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        socket.close()
        raise ConfigError(
            f"{key} {endpoint!r}: {error.strerror}; stop the process that uses it,"
            f" make the folder it is in, or choose another endpoint{alternative}"
        ) from error
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)
