"""Connects sockets to the addresses of daemons, and checks these: ZeroMQ accepts any port."""

import re
from typing import Final

import zmq

from edge.client.keys import ClientContext, apply_client_keys
from edge.errors import ConfigError

_TCP: Final = re.compile(r"tcp://.*:(\d+)")


def check_endpoint(endpoint: str, name: str = "endpoint") -> None:
    """Check the port of a ``tcp://`` address.

    Args:
        endpoint: ``tcp://HOST:PORT`` or any other address of ZeroMQ.
        name: of the option or argument, for the message.

    Raises:
        ConfigError: the port is not from 1 to 65535.
    """
    match = _TCP.fullmatch(endpoint)
    if match and not 0 < int(match[1]) < 65536:
        raise ConfigError(f"{name} {endpoint!r}: expected a port from 1 to 65535")


def connect(socket: "zmq.Socket[bytes]", endpoint: str, name: str = "endpoint") -> None:
    """Connect ``socket``, whose options are already set: most have no effect afterwards.

    Args:
        socket: of any type; of a ``ClientContext`` where the daemon may have keys.
        endpoint: ``tcp://HOST:PORT`` or ``ipc://PATH``.
        name: of the option or argument, for the message.

    Raises:
        ConfigError: ``endpoint`` is not a valid address, or the public key of its daemon is not
            known.
    """
    check_endpoint(endpoint, name)
    # only for a literal address: with IPv6 on, "localhost" may resolve to ::1, while the daemon
    # listens on 127.0.0.1
    socket.setsockopt(zmq.IPV6, int("[" in endpoint))
    if isinstance(socket.context, ClientContext):
        apply_client_keys(socket, socket.context.keys, endpoint)
    try:
        socket.connect(endpoint)
    except (zmq.ZMQError, ValueError, TypeError) as error:
        # not the text of a ZMQError: pyzmq appends the endpoint to it
        reason = zmq.strerror(error.errno or 0) if isinstance(error, zmq.ZMQError) else "no text"
        raise ConfigError(
            f"{name} {endpoint!r}: {reason}; expected tcp://HOST:PORT or ipc://PATH"
        ) from error
