"""The network part of ``affect-edge check``: can the configured addresses be bound, and the clock.

Every socket made here is closed at once; nothing is sent.
"""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from edge.check.machine import Line
from edge.clock import wall_clock_health
from edge.config import Config

_IN_USE: Final = "in use; expected a free address, or the daemon is running already"


def endpoint_lines(config: Config) -> Iterator[Line]:
    """Yield one line for each address that the daemon would bind."""
    publish = config.publish
    for key, endpoint in (
        ("publish.endpoint", publish.endpoint),
        ("publish.service_endpoint", publish.service_endpoint),
    ):
        if not endpoint:
            yield "ok", f"{key}: none"
        elif endpoint.startswith("ipc://"):
            level, text = _ipc(endpoint.removeprefix("ipc://"))
            yield level, f"{key} {endpoint}: {text}"
        else:
            level, text = _tcp(endpoint.removeprefix("tcp://"))
            yield level, f"{key} {endpoint}: {text}"
    if config.metrics.address:
        level, text = _tcp(config.metrics.address)
        yield level, f"metrics.address {config.metrics.address}: {text}"


def clock_line() -> Line:
    """Report whether the wall clock is synchronized."""
    if wall_clock_health().synchronized:
        return "ok", "clock: synchronized"
    return "WARN", (
        "clock: not synchronized, so that times of day may be wrong (intervals are not); see"
        " timedatectl"
    )


def _tcp(address: str) -> Line:
    host, _, port = address.rpartition(":")
    if host == "*":
        host = "0.0.0.0"
    if host in (name for _, name in socket.if_nameindex()):  # ZeroMQ binds to an interface's name
        return "ok", "an interface of this machine"
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host.strip("[]"), 0 if port == "*" else int(port), type=socket.SOCK_STREAM
        )[0]
        with closing(socket.socket(family, kind, protocol)) as probe:
            # as ZeroMQ does: a connection that has just ended does not keep the port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
            probe.listen()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return "WARN", _IN_USE
        return "WRONG", f"cannot be bound: {error.strerror}; expected an address of this machine"
    return "ok", "can be bound"


def _ipc(name: str) -> Line:
    path = Path(name)
    expected = "expected a path in a folder that the daemon can write"
    if name.startswith("@"):
        return "ok", "an abstract address"
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = 0
    except OSError as error:
        return "WRONG", f"{error.strerror}; {expected}"
    if mode and not stat.S_ISSOCK(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a file that is no socket"
        return "WRONG", f"{kind}; {expected}"
    if mode and _is_listening(path):
        return "WARN", _IN_USE
    return _ipc_folder(path.absolute().parent, expected)


def _is_listening(path: Path) -> bool:
    with closing(socket.socket(socket.AF_UNIX)) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False  # left behind by a daemon that was killed
    return True


def _ipc_folder(folder: Path, expected: str) -> Line:
    if not folder.is_dir():
        return "WRONG", f"{folder} does not exist; {expected}"
    if not os.access(folder, os.W_OK | os.X_OK):
        return "WARN", (
            f"this user cannot write to {folder}; {expected}: run check as the user who will run"
            " the daemon"
        )
    return "ok", "can be bound"
