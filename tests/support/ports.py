"""Ports of TCP for a test."""

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_FIRST: Final = 10_000
_OF_A_PROCESS: Final = 64
_EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


def _own_ports() -> Iterator[int]:
    """Yield ports that neither the system nor another process of the tests gives to anybody.

    The system gives its ephemeral ports to every outgoing connection: one that is free now may be
    in use before the daemon under test has bound it.
    """
    shares = (int(_EPHEMERAL.read_text().split()[0]) - _FIRST) // _OF_A_PROCESS
    first = _FIRST + os.getpid() % max(shares, 1) * _OF_A_PROCESS
    while True:
        yield from range(first, first + _OF_A_PROCESS)


_ports = _own_ports()


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port of ``host``, a loopback address, that stays free until it is used."""
    for port in _ports:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            return port
    raise AssertionError  # they never end
