"""Binding of the hub's sockets, with the limits on what a peer may send."""

import contextlib
import errno
import fcntl
import os
import select
import socket as sockets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import zmq

from edge import clock
from edge.config import is_local
from edge.errors import ConfigError
from edge.hub.security import Security

PART_BYTES_MAX: Final = 4096
"""Of what peers send: subscriptions and requests, nothing larger."""

HANDSHAKE_MS: Final = 5000
"""Connections that have not shaken hands by then are closed."""

_REMEDIES: Final = {
    errno.EADDRINUSE: "stop the process that uses it, or ",
    errno.ENOENT: "make the folder it is in, or ",
    errno.EEXIST: "move away what is there and is no socket, or ",
}

_LOCK_MS: Final = 1000.0  # how long another daemon may take to bind in the same folder


def bind(
    socket: "zmq.Socket[bytes]",
    endpoint: str,
    *,
    key: str,
    high_water: int,
    alternative: str = "",
    security: Security | None = None,
) -> str:
    """Bind ``socket``; return its endpoint, with the port the system chose for ``tcp://...:*``.

    Args:
        socket: with the options of its own kind already set; closed where it cannot be bound.
        endpoint: where to bind it.
        key: configuration key of the endpoint, for the error message.
        high_water: messages that may wait for one peer.
        alternative: what else the user may do, appended to the error message.
        security: admits only peers with an allowed key; None: everybody who can connect.

    Raises:
        ConfigError: the endpoint is in use or cannot be bound.
    """
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, high_water)
    socket.setsockopt(zmq.MAXMSGSIZE, PART_BYTES_MAX)
    socket.setsockopt(zmq.RCVBUF, PART_BYTES_MAX)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    # No heartbeats: libzmq 4.3.5 aborts the process if it sends one to a peer that has gone while
    # the queue of messages from it was full.
    if not is_local(endpoint):
        # a peer that has lost its power is noticed after 25 s, not after two hours
        socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 10)
        socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 5)
        socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)
    if security is not None:
        security.protect(socket)
    # only for a literal address: otherwise the endpoint reads as ::ffff:127.0.0.1
    socket.setsockopt(zmq.IPV6, int("[" in endpoint))
    try:
        with _free_path(endpoint):
            socket.bind(endpoint)
    except (zmq.ZMQError, OSError) as error:
        socket.close()
        number = error.errno or 0
        # not error.strerror: pyzmq appends the endpoint to it
        raise ConfigError(
            f"{key} {endpoint!r}: {zmq.strerror(number)}; {_REMEDIES.get(number, '')}"
            f"choose another endpoint{alternative}"
        ) from error
    bound = socket.getsockopt_string(zmq.LAST_ENDPOINT)
    if security is not None:
        security.note_endpoint(bound)
    return bound


@contextlib.contextmanager
def _free_path(endpoint: str) -> Iterator[None]:
    """Hold the folder of an ipc endpoint while its path is bound; without effect for others.

    libzmq deletes whatever is at the path before it binds, also the socket of a running daemon.

    Raises:
        OSError: something listens at the path, or it is no socket.
    """
    path = Path(endpoint.removeprefix("ipc://"))
    if not endpoint.startswith("ipc://") or str(path) == "*" or str(path).startswith("@"):
        yield  # a path that the system chooses, or an abstract one, which nothing can delete
        return
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield  # binding fails, too, and says why
        return
    try:
        _lock(folder)
        _refuse_used(path)
        yield
    finally:
        os.close(folder)


def _lock(folder: int) -> None:
    """Lock a folder against another daemon that starts now; go on without if that takes long."""
    start_ns = clock.monotonic_ns()
    while clock.elapsed_ms(start_ns) < _LOCK_MS:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        select.select([], [], [], 0.005)


def _refuse_used(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise FileExistsError(errno.EEXIST, "expected a socket")
    except FileNotFoundError:
        return
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full queue of connections is in use, too
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return  # left behind by a process that was killed
        except OSError as error:
            raise OSError(errno.EADDRINUSE, "in use") from error
    raise OSError(errno.EADDRINUSE, "in use")
